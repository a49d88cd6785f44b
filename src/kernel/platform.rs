//! Model ids of the platforms (contract.md §6.4): what a model is called where it is to be asked for. An id of a platform's own
//! form is never touched; one that no row knows has no translation, and the operator gives one (`targets = [{ model = … }]`).

use super::{pricing::canonical, snapshot::Provider};
use std::borrow::Cow;

/// One model's ids. Empty where the platform does not have it.
struct Row {
    anthropic: &'static str,
    bedrock: &'static str,
    vertex: &'static str,
    foundry: &'static str,
}

/// From 4.6 on ids are the same everywhere, but for Bedrock's prefix.
const fn plain(anthropic: &'static str, bedrock: &'static str) -> Row {
    Row { anthropic, bedrock, vertex: anthropic, foundry: anthropic }
}

const fn dated(anthropic: &'static str, bedrock: &'static str, vertex: &'static str, foundry: &'static str) -> Row {
    Row { anthropic, bedrock, vertex, foundry }
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    plain("claude-fable-5-2", "anthropic.claude-fable-5-2"),
    plain("claude-mythos-5-2", "anthropic.claude-mythos-5-2"),
    plain("claude-fable-5-1", "anthropic.claude-fable-5-1"),
    plain("claude-mythos-5-1", "anthropic.claude-mythos-5-1"),
    plain("claude-fable-5", "anthropic.claude-fable-5"),
    plain("claude-mythos-5", "anthropic.claude-mythos-5"),
    plain("claude-mythos-preview", "anthropic.claude-mythos-preview"),
    plain("claude-opus-5-5", "anthropic.claude-opus-5-5"),
    plain("claude-opus-5", "anthropic.claude-opus-5"),
    plain("claude-opus-4-8", "anthropic.claude-opus-4-8"),
    plain("claude-opus-4-7", "anthropic.claude-opus-4-7"),
    plain("claude-opus-4-6", "anthropic.claude-opus-4-6-v1"),
    plain("claude-sonnet-5-5", "anthropic.claude-sonnet-5-5"),
    plain("claude-sonnet-5", "anthropic.claude-sonnet-5"),
    plain("claude-sonnet-4-6", "anthropic.claude-sonnet-4-6"),
    plain("claude-haiku-5-5", "anthropic.claude-haiku-5-5"),
    dated("claude-opus-4-5-20251101", "anthropic.claude-opus-4-5-20251101-v1:0", "claude-opus-4-5@20251101", "claude-opus-4-5"),
    dated("claude-opus-4-1-20250805", "anthropic.claude-opus-4-1-20250805-v1:0", "claude-opus-4-1@20250805", "claude-opus-4-1"),
    dated("claude-sonnet-4-5-20250929", "anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
    dated("claude-sonnet-4-20250514", "anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4@20250514", ""),
    dated("claude-haiku-4-5-20251001", "anthropic.claude-haiku-4-5-20251001-v1:0", "claude-haiku-4-5@20251001", "claude-haiku-4-5"),
    dated("claude-3-5-haiku-20241022", "anthropic.claude-3-5-haiku-20241022-v1:0", "claude-3-5-haiku@20241022", ""),
];

/// What a model is called at a provider, by what it is called anywhere. Bedrock's inference profiles begin with the geography of
/// the upstream's region. `None`: no row has it.
pub fn id_at(provider: Provider, region: &str, id: &str) -> Option<String> {
    let plain = canonical(id);
    let row = ROWS.iter().find(|row| canonical(row.anthropic) == plain)?;
    let there = match provider {
        Provider::Anthropic | Provider::AnthropicAws => row.anthropic.to_owned(),
        Provider::Bedrock | Provider::BedrockMessages => format!("{}{}", geography(region), row.bedrock),
        Provider::BedrockMantle => format!("anthropic.{plain}"),
        Provider::Vertex => row.vertex.to_owned(),
        Provider::Foundry => row.foundry.to_owned(),
    };
    Some(there).filter(|id| !id.is_empty())
}

/// What an upstream calls the model that a client wrote, whose format is the upstream's `own` or not. An id that the upstream's platform
/// would write stays as it is. `None`: nobody has said.
pub fn name_at<'a>(provider: Provider, region: &str, id: &'a str, own: bool) -> Option<Cow<'a, str>> {
    let there = || id_at(provider, region, id).map(Cow::Owned);
    match (provider.speaks_bedrock_ids(), is_bedrock(id)) {
        (true, true) => Some(Cow::Borrowed(id)),
        (true, false) => there(),
        // Clients of Bedrock's native Messages write its ids in the Messages format, and they mean nothing elsewhere.
        (false, true) if own => there().or(Some(Cow::Borrowed(id))),
        (false, false) if own => Some(Cow::Borrowed(id)),
        _ => there(),
    }
}

/// What Bedrock calls a model itself, without a geography: there, tokens are counted for it and not for a profile.
pub fn base_at_bedrock(id: &str) -> Option<&'static str> {
    let plain = canonical(id);
    ROWS.iter().find(|row| canonical(row.anthropic) == plain).map(|row| row.bedrock)
}

/// The geography that inference profiles of a region begin with, as Claude Code chooses it.
pub fn geography(region: &str) -> &'static str {
    const BY_REGION: [(&str, &str); 4] = [("us-gov-", "us-gov."), ("us-", "us."), ("eu-", "eu."), ("ap-", "apac.")];
    BY_REGION.iter().find(|(start, _)| region.starts_with(start)).map_or("global.", |(_, geography)| geography)
}

/// Is this an id of Bedrock's own form: an ARN, a profile or a base id?
pub fn is_bedrock(id: &str) -> bool {
    id.starts_with("arn:")
        || id.starts_with("anthropic.")
        || memchr::memchr(b'.', id.as_bytes()).is_some_and(|dot| {
            let (geography, rest) = id.as_bytes().split_at(dot);
            rest.starts_with(b".anthropic.") && geography.iter().all(|b| b.is_ascii_lowercase() || *b == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_has_one_row_and_every_spelling_leads_to_it() {
        for (place, row) in ROWS.iter().enumerate() {
            for id in [row.anthropic, row.bedrock, row.vertex, row.foundry] {
                if id.is_empty() {
                    continue;
                }
                let found = ROWS.iter().position(|other| canonical(other.anthropic) == canonical(id));
                assert_eq!(found, Some(place), "{id}");
            }
            assert!(is_bedrock(row.bedrock) && !is_bedrock(row.anthropic) && !is_bedrock(row.vertex));
        }
    }

    #[test]
    fn ids_are_translated_and_never_guessed() {
        for (provider, id, there) in [
            (Provider::Bedrock, "claude-opus-4-6", Some("eu.anthropic.claude-opus-4-6-v1")),
            (Provider::Bedrock, "claude-haiku-4-5", Some("eu.anthropic.claude-haiku-4-5-20251001-v1:0")),
            (Provider::BedrockMantle, "claude-haiku-4-5-20251001", Some("anthropic.claude-haiku-4-5")),
            (Provider::Vertex, "claude-haiku-4-5-20251001", Some("claude-haiku-4-5@20251001")),
            (Provider::Vertex, "us.anthropic.claude-sonnet-4-6", Some("claude-sonnet-4-6")),
            (Provider::Anthropic, "claude-haiku-4-5@20251001", Some("claude-haiku-4-5-20251001")),
            (Provider::Anthropic, "eu.anthropic.claude-opus-5", Some("claude-opus-5")),
            (Provider::Foundry, "claude-haiku-4-5-20251001", Some("claude-haiku-4-5")),
            (Provider::Foundry, "claude-3-5-haiku-20241022", None),
            (Provider::Bedrock, "claude-opus-5-9", None),
            (Provider::Vertex, "acme-large", None),
        ] {
            assert_eq!(id_at(provider, "eu-west-1", id).as_deref(), there, "{id}");
        }
    }

    #[test]
    fn an_id_of_bedrocks_reaches_an_upstream_that_does_not_know_it() {
        for (provider, id, own, there) in [
            (Provider::Anthropic, "anthropic.claude-sonnet-5", true, Some("claude-sonnet-5")),
            (Provider::Foundry, "anthropic.claude-haiku-4-5", true, Some("claude-haiku-4-5")),
            (Provider::Vertex, "us.anthropic.claude-opus-4-6-v1", true, Some("claude-opus-4-6")),
            (Provider::Anthropic, "anthropic.claude-new-1", true, Some("anthropic.claude-new-1")),
            (Provider::Anthropic, "claude-new-1", true, Some("claude-new-1")),
            (Provider::Anthropic, "us.anthropic.claude-new-1", false, None),
            (Provider::BedrockMantle, "anthropic.claude-haiku-4-5", true, Some("anthropic.claude-haiku-4-5")),
            (Provider::Bedrock, "eu.anthropic.claude-opus-5", false, Some("eu.anthropic.claude-opus-5")),
            (Provider::BedrockMessages, "claude-opus-5", true, Some("us.anthropic.claude-opus-5")),
        ] {
            assert_eq!(name_at(provider, "us-east-1", id, own).as_deref(), there, "{id}");
        }
    }

    #[test]
    fn a_region_chooses_the_geography_of_its_profiles() {
        for (region, geography_of) in [
            ("us-east-1", "us."),
            ("us-gov-west-1", "us-gov."),
            ("eu-central-1", "eu."),
            ("ap-south-1", "apac."),
            ("sa-east-1", "global."),
        ] {
            assert_eq!(geography(region), geography_of);
        }
        for id in
            ["arn:aws:bedrock:us-east-1:1:inference-profile/x", "us.anthropic.claude-opus-5", "us-gov.anthropic.x"]
        {
            assert!(is_bedrock(id), "{id}");
        }
        for id in ["claude-opus-5", "claude-opus-5@20260101", "acme.large"] {
            assert!(!is_bedrock(id), "{id}");
        }
    }
}
