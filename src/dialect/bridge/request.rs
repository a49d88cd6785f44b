//! A request of one format, edited until it says the same in another.

use super::{
    Edit, betas, count,
    fields::{DROPPED_BY_BEDROCK, DROPPED_BY_CLOUDS, REFUSED_BY_CLOUDS, header_for, is_plain_user, version_for},
    members::{self, Span},
    text::Text,
};
use crate::{
    kernel::record::{Format, Operation},
    wire::json::{JsonError, TopLevelScanner, Wanted, unescape_string},
};
use aws_lc_rs::digest;
use serde_json::Value;
use std::fmt::Write;

const fn key(key: &'static str, capture_bytes_max: usize) -> Wanted {
    Wanted { key, capture_bytes_max }
}

/// A list of betas in a body, at most. Bytes.
const BETAS_BYTES_MAX: usize = 16 * 1024;
/// `metadata.user_id`, at most. Bytes.
const USER_BYTES_MAX: usize = 4 * 1024;

const MODEL: usize = 0;
const STREAM: usize = 1;
const VERSION: usize = 2;
const BETAS: usize = 3;
const METADATA: usize = 4;
const OUTPUT: usize = 5;
const MAX_TOKENS: usize = 6;
const SPEED: usize = 7;
const DROPPED: usize = 8;
const REFUSED: usize = DROPPED + DROPPED_BY_CLOUDS.len();
const KEYS: usize = REFUSED + REFUSED_BY_CLOUDS.len();

static WANTED: [Wanted; KEYS] = {
    let mut wanted = [key("model", 0); KEYS];
    wanted[STREAM] = key("stream", 8);
    wanted[VERSION] = key("anthropic_version", 64);
    wanted[BETAS] = key("anthropic_beta", BETAS_BYTES_MAX);
    wanted[METADATA] = key("metadata", 0);
    wanted[OUTPUT] = key("output_config", 0);
    wanted[MAX_TOKENS] = key("max_tokens", 0);
    wanted[SPEED] = key(DROPPED_BY_BEDROCK, 0);
    let mut at = 0;
    while at < DROPPED_BY_CLOUDS.len() {
        wanted[DROPPED + at] = key(DROPPED_BY_CLOUDS[at], 0);
        at += 1;
    }
    at = 0;
    while at < REFUSED_BY_CLOUDS.len() {
        wanted[REFUSED + at] = key(REFUSED_BY_CLOUDS[at], 0);
        at += 1;
    }
    wanted
};
static USER: [Wanted; 1] = [key("user_id", USER_BYTES_MAX)];
static FORMAT: [Wanted; 1] = [key("format", 0)];

/// What is to be said, and where.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The client's format.
    pub from: Format,
    /// The upstream's.
    pub to: Format,
    /// What is asked.
    pub operation: Operation,
    /// The upstream's name for the model.
    pub model: &'a str,
    /// Whether the answer is to be a stream, where the client's path says so.
    pub stream: Option<bool>,
    /// The client's `anthropic-version` header.
    pub version: Option<&'a [u8]>,
    /// The client's `anthropic-beta` headers.
    pub betas: &'a [&'a [u8]],
}

/// What to do to the body, and what to say beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridged {
    /// Replacements, in order of their places, none over another.
    pub edits: Vec<Edit>,
    /// Header lines, in place of the client's `anthropic-version` and `anthropic-beta`.
    pub lines: Vec<u8>,
    /// The answer is to be a stream.
    pub stream: bool,
    /// What was left out because the upstream has no word for it.
    pub dropped: Vec<String>,
}

/// Why a request cannot be said in another format. The text is for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeError(pub String);

impl From<JsonError> for BridgeError {
    fn from(error: JsonError) -> Self {
        Self(error.to_string())
    }
}

/// Says a request in another format.
///
/// # Errors
/// [`BridgeError`] where the body is no JSON object, says something twice, or asks for what the upstream does not have.
pub fn bridge(text: Text<'_>, ask: &Ask<'_>) -> Result<Bridged, BridgeError> {
    let counting = ask.operation == Operation::CountTokens;
    if counting && ask.from == Format::Bedrock {
        // The body proper is inside; what comes out of it stands in for the whole.
        let inner = count::unwrap(text)?;
        let mut bridged = Body::new(Text(&[&inner]), ask)?.said()?;
        let body = applied(&inner, &bridged.edits);
        bridged.edits = vec![Edit { from: 0, to: text.len(), text: body }];
        return Ok(bridged);
    }
    let mut bridged = Body::new(text, ask)?.said()?;
    if counting && ask.to == Format::Bedrock {
        let body = applied(&text.copy(0..text.len()), &bridged.edits);
        bridged.edits = vec![Edit { from: 0, to: text.len(), text: count::wrap(&body) }];
    }
    Ok(bridged)
}

/// A body with its edits.
pub(super) fn applied(body: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 256);
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(body.get(at..edit.from as usize).unwrap_or_default());
        out.extend_from_slice(&edit.text);
        at = edit.to as usize;
    }
    out.extend_from_slice(body.get(at..).unwrap_or_default());
    out
}

struct Body<'a> {
    text: Text<'a>,
    ask: &'a Ask<'a>,
    members: TopLevelScanner,
    open: u64,
    cut: Vec<Span>,
    inserted: Vec<Vec<u8>>,
    /// Replacements inside members that stay.
    inside: Vec<Edit>,
    out: Bridged,
}

impl<'a> Body<'a> {
    fn new(text: Text<'a>, ask: &'a Ask<'a>) -> Result<Self, BridgeError> {
        let members = text.scan(0..text.len(), &WANTED)?;
        if !members.is_complete() {
            return Err(BridgeError("the request body is not a whole JSON object".to_owned()));
        }
        for (place, wanted) in WANTED.iter().enumerate() {
            if members.seen(place) > 1 {
                return Err(BridgeError(format!("{}: is given twice", wanted.key)));
            }
        }
        let open = text.next_solid(0).map_or(0, |(at, _)| at);
        let (cut, inserted, inside) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { text, ask, members, open, cut, inserted, inside, out: Bridged::default() })
    }

    fn said(mut self) -> Result<Bridged, BridgeError> {
        self.version()?;
        self.betas()?;
        self.model();
        self.stream();
        if self.ask.from == Format::Anthropic {
            self.first_party_only()?;
        }
        if self.ask.to == Format::Bedrock {
            self.user()?;
            self.structured_output()?;
        }
        self.counting();
        let wrong = || BridgeError("the request body is not a whole JSON object".to_owned());
        let mut edits = members::edits(self.text, self.open, self.cut, &self.inserted).ok_or_else(wrong)?;
        edits.append(&mut self.inside);
        // Stable: what is put in at the beginning comes before what is cut there.
        edits.sort_by_key(|edit| edit.from);
        Ok(Bridged { edits, ..self.out })
    }

    fn has(&self, key: usize) -> bool {
        self.members.value(key).is_some()
    }

    fn cut(&mut self, key: usize) {
        if let Some(value) = self.members.value(key) {
            self.cut.push((value.key_start, value.end));
        }
    }

    fn insert(&mut self, key: &str, value: &str) {
        self.inserted.push(format!("\"{key}\":{value}").into_bytes());
    }

    fn text_of(&self, key: usize) -> Option<String> {
        let value = self.members.value(key).filter(|value| !value.truncated)?;
        unescape_string(value.raw).map(Into::into)
    }

    fn version(&mut self) -> Result<(), BridgeError> {
        let said = self.text_of(VERSION);
        self.cut(VERSION);
        if self.ask.to == Format::Anthropic {
            let _ok = write!(Lines(&mut self.out.lines), "anthropic-version: {}\r\n", header_for(said.as_deref()));
            return Ok(());
        }
        let asked = said.as_deref().map(str::as_bytes).or(self.ask.version);
        let version = version_for(self.ask.to, self.ask.model, asked);
        self.insert("anthropic_version", &Value::from(version).to_string());
        Ok(())
    }

    fn betas(&mut self) -> Result<(), BridgeError> {
        let listed: Vec<String> = match self.members.value(BETAS) {
            Some(value) if !value.truncated => serde_json::from_slice(value.raw)
                .map_err(|_| BridgeError("anthropic_beta: must be a list of strings".to_owned()))?,
            Some(_) => return Err(BridgeError("anthropic_beta: is too long".to_owned())),
            None => Vec::new(),
        };
        self.cut(BETAS);
        let (going, staying): (Vec<&str>, Vec<&str>) =
            betas::merged(self.ask.betas, &listed).into_iter().partition(|beta| betas::goes_to(self.ask.to, beta));
        self.out.dropped.extend(staying.iter().map(|beta| (*beta).to_owned()));
        if going.is_empty() {
            return Ok(());
        }
        if self.ask.to == Format::Bedrock {
            self.insert("anthropic_beta", &Value::from(going).to_string());
            return Ok(());
        }
        if !going.iter().all(|beta| betas::fits_header(beta)) {
            return Err(BridgeError("anthropic_beta: holds what cannot be a beta".to_owned()));
        }
        let _ok = write!(Lines(&mut self.out.lines), "anthropic-beta: {}\r\n", going.join(","));
        Ok(())
    }

    /// Whether the upstream reads the model off the body.
    fn model(&mut self) {
        let counting = self.ask.operation == Operation::CountTokens;
        let in_body = match self.ask.to {
            Format::Anthropic => true,
            Format::Vertex => counting,
            Format::Bedrock => false,
        };
        self.cut(MODEL);
        if in_body {
            self.insert("model", &Value::from(self.ask.model).to_string());
        }
    }

    fn stream(&mut self) {
        let raw = self.members.value(STREAM).map(|value| value.raw == b"true");
        self.out.stream = self.ask.stream.unwrap_or(raw == Some(true)) && self.ask.operation != Operation::CountTokens;
        let wanted = (self.ask.to != Format::Bedrock && self.out.stream).then_some(true);
        if raw.filter(|streams| *streams) != wanted || (self.ask.to == Format::Bedrock && raw.is_some()) {
            self.cut(STREAM);
            if wanted == Some(true) {
                self.insert("stream", "true");
            }
        }
    }

    /// Fields that only the first party knows.
    fn first_party_only(&mut self) -> Result<(), BridgeError> {
        if let Some(at) = (REFUSED..KEYS).find(|key| self.has(*key)) {
            let name = WANTED.get(at).map_or("", |wanted| wanted.key);
            return Err(BridgeError(match name {
                "thread" => "thread: thread_unsupported_request: this model is served by an upstream without message \
                             threads; send the whole conversation"
                    .to_owned(),
                name => format!("{name}: this model is served by an upstream that does not have it"),
            }));
        }
        let speed = (self.ask.to == Format::Bedrock).then_some(SPEED);
        for key in (DROPPED..REFUSED).chain(speed).filter(|key| self.has(*key)).collect::<Vec<_>>() {
            self.cut(key);
            self.out.dropped.extend(WANTED.get(key).map(|wanted| wanted.key.to_owned()));
        }
        Ok(())
    }

    /// Bedrock refuses the JSON that Claude Code sends as the user; a hash still tells users apart.
    fn user(&mut self) -> Result<(), BridgeError> {
        let Some((start, end)) = self.members.value(METADATA).map(|value| (value.start, value.end)) else {
            return Ok(());
        };
        if self.text.next_solid(start).is_none_or(|(_, byte)| byte != b'{') {
            return Ok(());
        }
        let inner = self.text.scan(start..end, &USER)?;
        let Some(user) = inner.value(0) else { return Ok(()) };
        let raw = self.text.copy(start + user.start..start + user.end);
        if let Some(id) = unescape_string(&raw).filter(|id| !is_plain_user(id)) {
            let hash = digest::digest(&digest::SHA256, id.as_bytes());
            let mut text = String::with_capacity(66);
            text.push('"');
            for byte in hash.as_ref() {
                let _ok = write!(text, "{byte:02x}");
            }
            text.push('"');
            self.inside.push(Edit { from: start + user.start, to: start + user.end, text: text.into_bytes() });
        }
        Ok(())
    }

    /// Bedrock refuses `output_config.format`; what else stands there stays, and nothing goes as nothing.
    fn structured_output(&mut self) -> Result<(), BridgeError> {
        let Some((start, end)) = self.members.value(OUTPUT).map(|value| (value.start, value.end)) else {
            return Ok(());
        };
        if self.text.next_solid(start).is_none_or(|(_, byte)| byte != b'{') {
            return Ok(());
        }
        let inner = self.text.scan(start..end, &FORMAT)?;
        let Some(format) = inner.value(0) else { return Ok(()) };
        let span = (start + format.key_start, start + format.end);
        let first = self.text.next_solid(start + 1).is_some_and(|(at, _)| at == span.0);
        let last = self.text.next_solid(span.1).is_some_and(|(_, byte)| byte == b'}');
        if first && last {
            self.cut(OUTPUT);
        } else {
            let edits = members::edits(self.text, start, vec![span], &[]);
            self.inside.append(&mut edits.unwrap_or_default());
        }
        self.out.dropped.push("output_config.format".to_owned());
        Ok(())
    }

    /// Counting knows less than asking does, and on Bedrock it wants what asking needs.
    fn counting(&mut self) {
        if self.ask.operation != Operation::CountTokens {
            return;
        }
        match self.ask.to {
            Format::Bedrock if !self.has(MAX_TOKENS) => self.insert("max_tokens", "1"),
            Format::Bedrock => {}
            Format::Anthropic | Format::Vertex => self.cut(MAX_TOKENS),
        }
    }
}

/// Header lines being written; writing to memory does not fail.
struct Lines<'a>(&'a mut Vec<u8>);

impl Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
