//! What a body may say in one format and not in another (contract.md §6.2).

use crate::kernel::{pricing::canonical, record::Format};

/// Wishes about how the first party runs a request, which a cloud's API refuses as extra inputs. Without them the answer means
/// the same.
pub(super) const DROPPED_BY_CLOUDS: [&str; 9] = [
    "service_tier",
    "inference_geo",
    "diagnostics",
    "billing_policy",
    "user_profile_id",
    "tags",
    "fallbacks",
    "betas",
    "cache_control",
];
/// Dropped besides, by Bedrock alone: fast mode is offered on Vertex.
pub(super) const DROPPED_BY_BEDROCK: &str = "speed";
/// State at the first party, without which the request would be another one.
pub(super) const REFUSED_BY_CLOUDS: [&str; 3] = ["container", "mcp_servers", "thread"];

/// The version a cloud wants in the body, given the header of the client.
pub(super) fn version_for(to: Format, model: &str, header: Option<&[u8]>) -> String {
    let own = match to {
        Format::Bedrock => "bedrock-2023-05-31",
        _ => "vertex-2023-10-16",
    };
    let asked = header.and_then(|value| std::str::from_utf8(value).ok()).filter(|value| is_newer(value));
    match asked {
        Some(asked) if to != Format::Bedrock || takes_newer_versions(model) => asked.to_owned(),
        _ => own.to_owned(),
    }
}

/// The version header for an Anthropic-format upstream, given what a cloud's client said in its body.
pub(super) fn header_for(said: Option<&str>) -> String {
    said.filter(|value| is_newer(value)).unwrap_or("2023-06-01").to_owned()
}

/// A dated version after the first, 2023-06-01.
fn is_newer(version: &str) -> bool {
    let dated = version.len() == 10
        && version.bytes().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
    dated && version > "2023-06-01"
}

/// On Bedrock, models since 4.7 know API versions after the first (contract.md §1.8).
fn takes_newer_versions(model: &str) -> bool {
    const OLD: [&str; 12] = [
        "claude-opus-4-6",
        "claude-opus-4-5",
        "claude-opus-4-1",
        "claude-opus-4",
        "claude-sonnet-4-6",
        "claude-sonnet-4-5",
        "claude-sonnet-4",
        "claude-haiku-4-5",
        "claude-3-5-haiku",
        "claude-3-7-sonnet",
        "claude-3-5-sonnet",
        "claude-3-haiku",
    ];
    let plain = canonical(model);
    plain.starts_with("claude-") && !OLD.contains(&plain)
}

/// Bedrock takes as `metadata.user_id` only letters, digits and `_.@ -`.
pub(super) fn is_plain_user(id: &str) -> bool {
    id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '@' | ' ' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_goes_where_it_is_understood() {
        let new = Some(&b"2026-10-21"[..]);
        assert_eq!(version_for(Format::Bedrock, "us.anthropic.claude-opus-4-7", new), "2026-10-21");
        assert_eq!(version_for(Format::Bedrock, "us.anthropic.claude-opus-4-6-v1", new), "bedrock-2023-05-31");
        assert_eq!(
            version_for(Format::Bedrock, "arn:aws:bedrock:r:1:application-inference-profile/x", new),
            "bedrock-2023-05-31"
        );
        assert_eq!(version_for(Format::Vertex, "claude-opus-4-6", new), "2026-10-21");
        for old in [None, Some(&b"2023-06-01"[..]), Some(b"nonsense"), Some(b"9999-99-9x")] {
            assert_eq!(version_for(Format::Vertex, "claude-opus-5", old), "vertex-2023-10-16");
        }
        assert_eq!(header_for(Some("bedrock-2023-05-31")), "2023-06-01");
        assert_eq!(header_for(Some("2026-10-21")), "2026-10-21");
        assert_eq!(header_for(None), "2023-06-01");
    }
}
