//! The current first-party models, for `GET /v1/models` (contract.md §1.3 and §6.4; dates and sizes from the provider's
//! model pages). Mythos models are by invitation and therefore not offered unasked.

use super::pricing::canonical;

/// One model as the list shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CatalogueEntry {
    /// The id as the API lists it.
    pub id: &'static str,
    /// The name people know.
    pub display_name: &'static str,
    /// When it was released, RFC 3339.
    pub created_at: &'static str,
    /// The longest prompt. Tokens.
    pub max_input_tokens: u64,
    /// The longest answer. Tokens.
    pub max_tokens: u64,
}

const fn million(id: &'static str, display_name: &'static str, created_at: &'static str) -> CatalogueEntry {
    CatalogueEntry { id, display_name, created_at, max_input_tokens: 1_000_000, max_tokens: 128_000 }
}

const fn classic(id: &'static str, display_name: &'static str, created_at: &'static str) -> CatalogueEntry {
    CatalogueEntry { id, display_name, created_at, max_input_tokens: 200_000, max_tokens: 64_000 }
}

/// The models, newest first.
pub const CATALOGUE: &[CatalogueEntry] = &[
    million("claude-fable-5-2", "Claude Fable 5.2", "2026-11-09T00:00:00Z"),
    million("claude-haiku-5-5", "Claude Haiku 5.5", "2026-10-07T00:00:00Z"),
    million("claude-sonnet-5-5", "Claude Sonnet 5.5", "2026-09-28T00:00:00Z"),
    million("claude-opus-5-5", "Claude Opus 5.5", "2026-09-22T00:00:00Z"),
    million("claude-fable-5-1", "Claude Fable 5.1", "2026-09-01T00:00:00Z"),
    million("claude-opus-5", "Claude Opus 5", "2026-07-24T00:00:00Z"),
    million("claude-sonnet-5", "Claude Sonnet 5", "2026-06-30T00:00:00Z"),
    million("claude-fable-5", "Claude Fable 5", "2026-06-09T00:00:00Z"),
    million("claude-opus-4-8", "Claude Opus 4.8", "2026-05-28T00:00:00Z"),
    million("claude-opus-4-7", "Claude Opus 4.7", "2026-04-16T00:00:00Z"),
    million("claude-sonnet-4-6", "Claude Sonnet 4.6", "2026-02-17T00:00:00Z"),
    million("claude-opus-4-6", "Claude Opus 4.6", "2026-02-05T00:00:00Z"),
    classic("claude-opus-4-5-20251101", "Claude Opus 4.5", "2025-11-24T00:00:00Z"),
    classic("claude-haiku-4-5-20251001", "Claude Haiku 4.5", "2025-10-15T00:00:00Z"),
    classic("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5", "2025-09-29T00:00:00Z"),
];

/// What is known of a model, under any platform's spelling of its id.
pub fn find(id: &str) -> Option<&'static CatalogueEntry> {
    let plain = canonical(id);
    CATALOGUE.iter().find(|entry| canonical(entry.id) == plain)
}

#[cfg(test)]
mod tests {
    use super::{super::pricing::PriceBook, *};

    #[test]
    fn a_model_on_offer_has_a_price_a_date_and_an_id_that_clients_keep() {
        for entry in CATALOGUE {
            assert!(PriceBook::knows(entry.id), "{}", entry.id);
            assert!(entry.created_at.parse::<jiff::Timestamp>().is_ok(), "{}", entry.id);
            assert!(entry.id.contains("claude"), "{}", entry.id);
            let rates = PriceBook::built_in().rates("", entry.id, "");
            assert_eq!(rates.output_tokens_max(), entry.max_tokens, "{}", entry.id);
        }
        assert!(CATALOGUE.is_sorted_by(|newer, older| newer.created_at >= older.created_at));
    }

    #[test]
    fn a_model_is_found_under_its_alias_but_never_by_its_beginning() {
        assert_eq!(find("claude-haiku-4-5").map(|e| e.id), Some("claude-haiku-4-5-20251001"));
        assert_eq!(find("us.anthropic.claude-opus-5").map(|e| e.id), Some("claude-opus-5"));
        assert_eq!(find("claude-opus"), None);
    }
}
