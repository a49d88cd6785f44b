//! What the provider needs to know of a request body, and Anthropic's complaints when it is not there.

use std::borrow::Cow;

use aws_lc_rs::digest;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) model: String,
    pub(super) stream: bool,
    pub(super) max_tokens: Option<u64>,
    /// Name of the first tool offered.
    pub(super) first_tool: Option<String>,
    pub(super) body_bytes: u64,
    /// The container to go on in; empty for a new one.
    pub(super) container: Option<String>,
    /// The message whose thread goes on; empty for a new thread.
    pub(super) thread: Option<String>,
    /// Identifies the body: the first half of its SHA-256, or of its length for a lean request.
    pub(super) mark: u64,
}

#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(default)]
    stream: Option<bool>,
    max_tokens: Option<u64>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
    container: Option<Value>,
    thread: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

impl Ask {
    /// Reads and checks a whole body.
    ///
    /// # Errors
    /// The message of the 400 that Anthropic would answer.
    pub(super) fn parse(body: &[u8], counting: bool, sha256: &[u8]) -> Result<Ask, String> {
        let parsed: Body<'_> =
            serde_json::from_slice(body).map_err(|e| format!("The request body is not valid JSON: {e}"))?;
        let model = parsed.model.filter(|model| !model.is_empty()).ok_or("model: Field required")?;
        let is_list = parsed.messages.is_some_and(|messages| messages.get().starts_with('['));
        if !is_list {
            return Err("messages: Field required".to_owned());
        }
        if parsed.max_tokens.is_none_or(|max| max == 0) && !counting {
            return Err("max_tokens: Field required".to_owned());
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let container = |value: Value| if value.is_string() { text(&value) } else { text(&value["id"]) };
        Ok(Ask {
            container: parsed.container.map(container),
            thread: parsed.thread.map(|thread| text(&thread["previous_message_id"])),
            model: model.into_owned(),
            stream: parsed.stream.unwrap_or(false) && !counting,
            max_tokens: parsed.max_tokens,
            first_tool: parsed.tools.and_then(|tools| tools.into_iter().find_map(|t| t.name)).map(Cow::into_owned),
            body_bytes: body.len() as u64,
            mark: sha256.first_chunk().copied().map_or(0, u64::from_be_bytes),
        })
    }

    /// Looks for `model` at the start and `stream` at either end of a body, without reading the rest.
    pub(super) fn glance(body: &[u8]) -> Ask {
        let front = &body[..body.len().min(512)];
        let back = &body[body.len().saturating_sub(256)..];
        let streams = |part| memchr::memmem::find(part, br#""stream":true"#).is_some();
        let quoted = |part: &[u8]| {
            let end = memchr::memchr(b'"', part)?;
            String::from_utf8(part[..end].to_vec()).ok()
        };
        let at = memchr::memmem::find(front, br#""model":""#);
        Ask {
            model: at.and_then(|at| quoted(&front[at + br#""model":""#.len()..])).unwrap_or_default(),
            stream: streams(front) || streams(back),
            max_tokens: None,
            container: None,
            thread: None,
            first_tool: None,
            body_bytes: body.len() as u64,
            mark: body.len() as u64,
        }
    }
}

/// Lower-case hex of `bytes`.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// First eight hex digits of a credential's SHA-256: tells keys apart without holding one.
pub fn fingerprint(credential: &[u8]) -> String {
    hex(&digest::digest(&digest::SHA256, credential).as_ref()[..4])
}
