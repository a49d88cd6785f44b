//! Refusals that name what they refuse (contract.md §3.5, §3.6, §6.2), read off an error answer. Only what a request can do without
//! is ever named: betas, and members of the body that do not change what is asked. Everything else is the client's to see, which
//! knows how to recover, and so is a refusal in other words.

use crate::kernel::repairs::Named;
use serde_json::Value;

/// Members of a body that may be left out: wishes about how a request is run. Never what is asked, and neither where data is
/// processed, nor who pays or is checked.
pub const DROPPABLE: [&str; 9] = [
    "context_management",
    "service_tier",
    "metadata",
    "speed",
    "diagnostics",
    "tags",
    "fallbacks",
    "betas",
    "cache_control",
];
/// Betas that stay: Claude Code recovers by itself from a refused context window, and without the last a login is worth nothing.
const KEPT: [&str; 2] = ["context-1m-", "oauth-"];
/// Betas without which a member of the body is refused next.
const PAIRED: [(&str, &str); 3] =
    [("context-management-", "context_management"), ("request-tags-", "tags"), ("server-side-fallback-", "fallbacks")];
/// A beta's name, at most. Bytes.
const NAME_BYTES_MAX: usize = 128;
/// Names in one refusal, at most.
const NAMES_MAX: usize = 8;

/// What the body of a 400 says the upstream does not take. Empty where it says something else, or names a single thing that must
/// not be left out.
pub fn named(body: &[u8]) -> Vec<Named> {
    let Ok(value) = serde_json::from_slice::<Value>(body) else { return Vec::new() };
    // Google puts some errors in a list of one.
    let said = value.get(0).unwrap_or(&value);
    let message = said.pointer("/error/message").or_else(|| said.get("message")).and_then(Value::as_str);
    message.and_then(|message| betas(message).or_else(|| field(message))).unwrap_or_default()
}

/// The members that go with what was refused, by the contract's pairs.
pub fn paired(named: &[Named]) -> Vec<Named> {
    let of = |named: &Named| match named {
        Named::Beta(name) => PAIRED.iter().find(|(start, _)| name.starts_with(start)).map(|(_, field)| *field),
        Named::Field(_) => None,
    };
    named.iter().filter_map(of).map(Named::Field).collect()
}

/// `` Unexpected value(s) `a`, `b` for the `anthropic-beta` header ``
fn betas(message: &str) -> Option<Vec<Named>> {
    let list = message.strip_prefix("Unexpected value(s) ")?;
    let (list, _) = list.split_once(" for the `anthropic-beta` header")?;
    let names: Option<Vec<Named>> = list.split(',').take(NAMES_MAX + 1).map(|item| beta(item.trim())).collect();
    names.filter(|names| names.len() <= NAMES_MAX)
}

fn beta(item: &str) -> Option<Named> {
    let name = item.strip_prefix('`')?.strip_suffix('`')?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let sound = !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain);
    (sound && !KEPT.iter().any(|start| name.starts_with(start))).then(|| Named::Beta(name.into()))
}

/// `context_management: Extra inputs are not permitted`
fn field(message: &str) -> Option<Vec<Named>> {
    let name = message.strip_suffix(": Extra inputs are not permitted")?;
    DROPPABLE.iter().find(|known| **known == name).map(|known| vec![Named::Field(known)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(message: &str) -> Vec<(&'static str, String)> {
        let bodies = [
            json!({ "type": "error", "error": { "type": "invalid_request_error", "message": message } }),
            json!({ "message": message }),
            json!([{ "error": { "code": 400, "message": message, "status": "INVALID_ARGUMENT" } }]),
        ];
        let all: Vec<_> = bodies.iter().map(|body| named(body.to_string().as_bytes())).collect();
        assert!(all.windows(2).all(|two| two[0] == two[1]), "the envelope decides: {all:?}");
        all[0].iter().map(|named| (named.kind(), named.name().to_owned())).collect()
    }

    #[test]
    fn a_refusal_that_names_a_beta_or_a_field_is_not_understood() {
        let one = "Unexpected value(s) `files-api-2025-04-14` for the `anthropic-beta` header. Please consult our \
                   documentation at docs.anthropic.com or try again without the header.";
        assert_eq!(said(one), [("beta", "files-api-2025-04-14".to_owned())]);
        let two = "Unexpected value(s) `a-1`, `b_2.0` for the `anthropic-beta` header";
        assert_eq!(said(two), [("beta", "a-1".to_owned()), ("beta", "b_2.0".to_owned())]);
        for field in DROPPABLE {
            assert_eq!(said(&format!("{field}: Extra inputs are not permitted")), [("field", field.to_owned())]);
        }
    }

    #[test]
    fn what_changes_the_request_or_is_no_plain_name_is_dropped() {
        let long = format!("Unexpected value(s) `{}` for the `anthropic-beta` header", "x".repeat(129));
        let many = format!("Unexpected value(s) {} for the `anthropic-beta` header", ["`a`"; 9].join(", "));
        for message in [
            "messages: Extra inputs are not permitted",
            "system: Extra inputs are not permitted",
            "tools: Extra inputs are not permitted",
            "tool_choice: Extra inputs are not permitted",
            "thinking: Extra inputs are not permitted",
            "output_config: Extra inputs are not permitted",
            "output_config.effort: Extra inputs are not permitted",
            "inference_geo: Extra inputs are not permitted",
            "metadata.user_id: Extra inputs are not permitted",
            "messages.0.content.0.cache_control: Extra inputs are not permitted",
            "tools.0.custom.speed: Extra inputs are not permitted",
            " speed: Extra inputs are not permitted",
            "speed: Extra inputs are not permitted. And: messages",
            "the user wrote `speed: Extra inputs are not permitted`",
            "speed: Input should be 'fast'",
            "invalid beta flag",
            "Unexpected value(s)  for the `anthropic-beta` header",
            "Unexpected value(s) `` for the `anthropic-beta` header",
            "Unexpected value(s) a for the `anthropic-beta` header",
            "Unexpected value(s) `a\r\nx-evil: 1` for the `anthropic-beta` header",
            "Unexpected value(s) `a`b` for the `anthropic-beta` header",
            "Unexpected value(s) `a`, for the `anthropic-beta` header",
            "Unexpected value(s) `a` for the `anthropic-version` header",
            "Unexpected value(s) `context-1m-2025-08-07` for the `anthropic-beta` header",
            "Unexpected value(s) `a`, `oauth-2025-04-20` for the `anthropic-beta` header",
            &long,
            &many,
            "",
        ] {
            assert!(said(message).is_empty(), "{message}");
        }
        let deep = "[".repeat(100_000);
        let odd: [&[u8]; 7] =
            [b"", b"null", b"[]", b"{\"message\":7}", b"{\"error\":\"speed\"}", b"\xff\xfe", deep.as_bytes()];
        for body in odd {
            assert!(named(body).is_empty());
        }
    }

    #[test]
    fn a_field_is_refused_next_for_want_of_the_beta_that_was_left_out() {
        let named = ["context-management-2025-06-27", "files-api-2025-04-14"].map(|name| Named::Beta(name.into()));
        assert_eq!(paired(&named), [Named::Field("context_management")]);
        assert!(paired(&[Named::Field("speed")]).is_empty());
    }
}
