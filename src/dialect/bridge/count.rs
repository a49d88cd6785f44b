//! Counting tokens: Bedrock wraps the body that is to be counted, and has a word of its own for the answer (contract.md §1.7).

use super::{request::BridgeError, text::Text};
use crate::{
    kernel::{platform, record::Format, snapshot::Provider},
    wire::json::{TopLevelScanner, Wanted},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use std::borrow::Cow;

static INPUT: [Wanted; 1] = [Wanted { key: "input", capture_bytes_max: 0 }];
static INVOKE: [Wanted; 1] = [Wanted { key: "invokeModel", capture_bytes_max: 0 }];
static BODY: [Wanted; 1] = [Wanted { key: "body", capture_bytes_max: 0 }];
static BEDROCK: [Wanted; 1] = [Wanted { key: "inputTokens", capture_bytes_max: 24 }];
static ANTHROPIC: [Wanted; 1] = [Wanted { key: "input_tokens", capture_bytes_max: 24 }];

/// A body as Bedrock wants to have it counted.
pub(super) fn wrap(body: &[u8]) -> Vec<u8> {
    let mut out = String::with_capacity(body.len() * 4 / 3 + 48);
    out.push_str(r#"{"input":{"invokeModel":{"body":""#);
    STANDARD.encode_string(body, &mut out);
    out.push_str(r#""}}}"#);
    out.into_bytes()
}

/// The body that a client of Bedrock wants to have counted.
pub(super) fn unwrap(text: Text<'_>) -> Result<Vec<u8>, BridgeError> {
    let wrong = || BridgeError("input.invokeModel.body: must be a message in base64".to_owned());
    let mut range = 0..text.len();
    for wanted in [&INPUT, &INVOKE, &BODY] {
        let scanner = text.scan(range.clone(), wanted).map_err(|_| wrong())?;
        let value = scanner.value(0).ok_or_else(wrong)?;
        range = range.start + value.start..range.start + value.end;
    }
    let raw = text.copy(range);
    let encoded = raw.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).ok_or_else(wrong)?;
    STANDARD.decode(encoded).map_err(|_| wrong())
}

/// The answer to a count, in another format. `None` where it is none.
pub fn answer(from: Format, to: Format, body: &[u8]) -> Option<Vec<u8>> {
    let mut scanner = TopLevelScanner::new(if from == Format::Bedrock { &BEDROCK } else { &ANTHROPIC });
    scanner.feed(body).ok()?;
    let tokens: u64 = std::str::from_utf8(scanner.value(0)?.raw).ok()?.parse().ok()?;
    let name = if to == Format::Bedrock { "inputTokens" } else { "input_tokens" };
    Some(format!("{{\"{name}\":{tokens}}}").into_bytes())
}

/// The model to count for: Bedrock counts for base models only, not for profiles.
pub fn model<'a>(provider: Provider, model: &'a str) -> Cow<'a, str> {
    if provider != Provider::Bedrock {
        return Cow::Borrowed(model);
    }
    platform::base_at_bedrock(model).map_or(Cow::Borrowed(model), Cow::Borrowed)
}
