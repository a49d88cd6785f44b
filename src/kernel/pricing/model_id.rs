//! Model ids as the platforms write them, and the one name a price table knows (contract.md §6.4).

/// Prefixes that gateways and SDKs put in front of an id.
const PROVIDERS: [&str; 3] = ["vertex_ai/", "bedrock/", "anthropic/"];
/// Bedrock inference profiles.
const GEOS: [&str; 7] = ["us-gov.", "us.", "eu.", "apac.", "global.", "jp.", "au."];

/// Strips what a platform adds to a model id: ARN head, provider and geo prefixes, version and date suffixes, `[1m]`.
/// The rest is compared whole; no id is ever matched by its beginning. Does not allocate.
pub fn canonical(id: &str) -> &str {
    let mut id = id.trim();
    if id.starts_with("arn:") || id.starts_with("projects/") {
        id = id.rsplit_once('/').map_or(id, |(_, name)| name);
    }
    while let Some(rest) = PROVIDERS.iter().find_map(|prefix| id.strip_prefix(prefix)) {
        id = rest;
    }
    id = GEOS.iter().find_map(|prefix| id.strip_prefix(prefix)).unwrap_or(id);
    id = id.strip_prefix("anthropic.").unwrap_or(id);
    id = id.strip_suffix("[1m]").or_else(|| id.strip_suffix("[1M]")).unwrap_or(id);
    strip_date(strip_version(id))
}

/// Takes `-v1` or `-v1:0` off.
fn strip_version(id: &str) -> &str {
    let Some((head, tail)) = id.rsplit_once("-v") else { return id };
    let (major, minor) = tail.split_once(':').unwrap_or((tail, "0"));
    if is_number(major) && is_number(minor) { head } else { id }
}

/// Takes `@20250929` or `-20250929` off.
fn strip_date(id: &str) -> &str {
    match id.rsplit_once(['@', '-']) {
        Some((head, date)) if date.len() == 8 && is_number(date) => head,
        _ => id,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platforms_spelling_means_the_same_model() {
        for (written, meant) in [
            ("claude-opus-5-5", "claude-opus-5-5"),
            ("claude-opus-5", "claude-opus-5"),
            ("claude-opus-5[1m]", "claude-opus-5"),
            ("anthropic.claude-opus-4-6-v1", "claude-opus-4-6"),
            ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
            ("us-gov.anthropic.claude-sonnet-5", "claude-sonnet-5"),
            ("apac.anthropic.claude-haiku-4-5-20251001-v1:0[1m]", "claude-haiku-4-5"),
            ("claude-haiku-4-5@20251001", "claude-haiku-4-5"),
            ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("vertex_ai/claude-sonnet-4@20250514", "claude-sonnet-4"),
            ("bedrock/global.anthropic.claude-sonnet-5-5", "claude-sonnet-5-5"),
            ("anthropic/claude-opus-4-20250514", "claude-opus-4"),
            (
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/eu.anthropic.claude-opus-4-5-20251101-v1:0",
                "claude-opus-4-5",
            ),
            ("claude-3-5-haiku-20241022", "claude-3-5-haiku"),
        ] {
            assert_eq!(canonical(written), meant, "{written}");
        }
    }

    #[test]
    fn a_suffix_that_is_no_date_or_version_stays() {
        for id in ["claude-opus-5-2025", "claude-opus-5-vx", "claude-opus-5-v1:x", "claude-opus-5@latest", "", "-", "@"]
        {
            assert_eq!(canonical(id), id);
        }
    }
}
