//! The behaviour script: `key=value` words that tell the provider how to answer one request.
//!
//! It is read from the request header `anthropic-sim`, else from the first `[[sim …]]` in the body bytes, else all
//! defaults hold. Words are separated by spaces or commas; a flag takes `1` or `0`. "N events" counts whole SSE events
//! from `message_start` on, pings, comments and unknown events left out. `then` between words begins the behaviour of the next
//! request with this very script: `status=529 then tool=auto then events=3`; the last one holds from there on.

use std::fmt;
use std::str::FromStr;

#[cfg(test)]
mod tests;
mod turns;

/// Largest accepted `events`.
pub const EVENTS_MAX: u32 = 1_000_000;
/// Largest accepted `event_bytes`.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Largest accepted `body_bytes`.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Every key, for error messages and help.
pub const KEYS: &str = "events event_bytes gap_ms first_ms pings first_ping thinking tool tool_command body_bytes model stop_reason \
    comments unknown_events crlf lean stream caches stamp input_tokens cache_read cache_5m cache_1h output_tokens web_search speed geo tier \
    miscounts status retry_after should_retry error_code message exception google wrapped code early early_close hundred error_at reset_at close_at stall_at \
    ping_at reset_before silent p_fail fail after chunk flush trickle gzip length until_close trailers";

/// What is wrong with a script, in words for its author.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError(String);

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScriptError {}

/// A whole script.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Script {
    /// What the answer contains.
    pub content: ContentScript,
    /// What the answer says it cost.
    pub usage: UsageScript,
    /// An error instead of an answer.
    pub status: StatusScript,
    /// What breaks.
    pub fault: FaultScript,
    /// How the bytes are cut.
    pub framing: FramingScript,
}

/// What the answer contains.
#[derive(Debug, Clone, PartialEq)]
pub struct ContentScript {
    /// Text deltas.
    pub events: u32,
    /// Bytes of (JSON-escaped) text in each delta.
    pub event_bytes: usize,
    /// Milliseconds from one text delta to the next.
    pub gap_ms: u64,
    /// Milliseconds before the response head.
    pub first_ms: u64,
    /// Milliseconds between pings while the stream is idle.
    pub pings: Option<u64>,
    /// The ping that Anthropic sends after the first `content_block_start`; on by default.
    pub first_ping: bool,
    /// A thinking block with a signature before the text.
    pub thinking: bool,
    /// A `tool_use` block of this name after the text, if the request offers tools; `auto` takes the first one offered.
    pub tool: Option<String>,
    /// The one argument `command` of that tool, with `_` for spaces.
    pub tool_command: Option<String>,
    /// Exact size of a JSON answer, where the text can be that long.
    pub body_bytes: Option<usize>,
    /// Served model, if it is not the one asked for.
    pub model: Option<String>,
    /// Stop reason, if it is not the natural one.
    pub stop_reason: Option<String>,
    /// SSE comments between events.
    pub comments: bool,
    /// Events with unknown names and events without a name.
    pub unknown_events: bool,
    /// CRLF line ends in SSE.
    pub crlf: bool,
    /// No digests, no entry in the books, no check of the body's JSON: for measurements.
    pub lean: bool,
    /// Prompt caches by session and model: what the session's turn before had is read, the rest written.
    pub caches: bool,
    /// Each text delta says when it was sent: the host's clock in nanoseconds, 16 hexadecimal digits at the start of its text.
    pub stamp: bool,
    /// With `early=1 status=200`: answers with a stream, as the body is not known yet.
    pub stream: bool,
}

impl Default for ContentScript {
    fn default() -> Self {
        ContentScript {
            events: 8,
            event_bytes: 24,
            gap_ms: 0,
            first_ms: 0,
            pings: None,
            first_ping: true,
            thinking: false,
            tool: None,
            tool_command: None,
            body_bytes: None,
            model: None,
            stop_reason: None,
            comments: false,
            unknown_events: false,
            crlf: false,
            lean: false,
            caches: false,
            stamp: false,
            stream: false,
        }
    }
}

/// What the answer says it cost; what is `None` is derived from body and answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageScript {
    /// Uncached input tokens; derived: request body bytes / 4, rounded up.
    pub input_tokens: Option<u64>,
    /// Cache read tokens.
    pub cache_read: u64,
    /// Five-minute cache writes.
    pub cache_5m: u64,
    /// One-hour cache writes.
    pub cache_1h: u64,
    /// Output tokens; derived: text bytes / 4, rounded up, no more than the request's `max_tokens`.
    pub output_tokens: Option<u64>,
    /// Web searches.
    pub web_search: u64,
    /// `usage.speed`.
    pub speed: Option<String>,
    /// `usage.inference_geo`.
    pub geo: Option<String>,
    /// `usage.service_tier`.
    pub tier: Option<String>,
    /// Bedrock's second count says one output token more than `usage`.
    pub miscounts: bool,
}

/// An error instead of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusScript {
    /// Status of the answer; 200 is no error.
    pub status: Option<u16>,
    /// `retry-after` in seconds.
    pub retry_after: Option<u64>,
    /// `x-should-retry`.
    pub should_retry: Option<bool>,
    /// `error.details.error_code`.
    pub error_code: Option<String>,
    /// `error.message`, with `_` for spaces.
    pub message: Option<String>,
    /// AWS's name for the error; with `error_at`, that of the exception in a stream of frames.
    pub exception: Option<String>,
    /// Google's name for it, and whether it comes in a list.
    pub google: Option<String>,
    /// See `google`.
    pub wrapped: bool,
    /// The code of a platform layer in front of the model, as Azure writes it.
    pub code: Option<String>,
    /// Answers before reading the body (429 unless `status` says otherwise), then reads on. Header scripts only.
    pub early: bool,
    /// As `early`, then closes with the body unread. Header scripts only.
    pub early_close: bool,
    /// Status of an informational head before the real one.
    pub hundred: Option<u16>,
}

/// Where a stream breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// An SSE `error` event, then a regular end.
    Error,
    /// TCP reset.
    Reset,
    /// FIN without the end of the body.
    Close,
    /// Silence until the client leaves.
    Stall,
    /// Nothing but pings until the client leaves.
    PingOnly,
}

/// A random failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fail {
    /// Reset after two events; before the head of a JSON answer.
    Reset,
    /// Status 529.
    Overloaded,
    /// FIN after two events, or half way through a JSON answer.
    Close,
    /// Error event after two events; status 500 instead of a JSON answer.
    Error,
}

/// A broken promise to keep the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterWhole {
    /// FIN.
    Close,
    /// TCP reset.
    Reset,
}

/// What breaks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultScript {
    /// Break after this many events. A JSON answer breaks after its head for 0, after half its body otherwise.
    pub cut: Option<(Cut, u32)>,
    /// TCP reset before any byte of the answer.
    pub reset_before: bool,
    /// Never answers.
    pub silent: bool,
    /// Probability of `fail`, drawn per request from the seed.
    pub p_fail: f64,
    /// What fails then; reset unless said.
    pub fail: Option<Fail>,
    /// How the connection ends after a whole answer that promised to keep it.
    pub after: Option<AfterWhole>,
}

/// How SSE events become HTTP chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChunkMode {
    /// One event a chunk.
    #[default]
    Event,
    /// Irregular boundaries inside events.
    Split,
    /// Eight events a chunk.
    Merged,
    /// One event a chunk, with a chunk extension.
    Extension,
}

/// How the bytes are cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FramingScript {
    /// Chunk boundaries; naming one makes JSON answers chunked too.
    pub chunk: Option<ChunkMode>,
    /// One write for many events while no gap asks for a pause.
    pub batch: bool,
    /// Bytes per write, with one millisecond between writes.
    pub trickle: Option<usize>,
    /// `content-encoding: gzip` if the request accepts it.
    pub gzip: bool,
    /// SSE with `content-length`.
    pub length: bool,
    /// Neither length nor chunks: the close ends the body.
    pub until_close: bool,
    /// Trailers after the last chunk.
    pub trailers: bool,
}

impl Script {
    fn check(&self) -> Result<(), ScriptError> {
        let framing = &self.framing;
        if framing.length && (framing.gzip || framing.trailers || framing.until_close || framing.chunk.is_some()) {
            return Err(fault("length=1 does not go with gzip, trailers, until_close or chunk"));
        }
        if framing.length && (self.content.pings.is_some() || self.content.stamp) {
            return Err(fault("length=1 does not go with pings or stamp: what they add is not known beforehand"));
        }
        if framing.length && matches!(self.fault.cut, Some((Cut::Error | Cut::PingOnly, _))) {
            return Err(fault("length=1 does not go with error_at or ping_at: the length is promised beforehand"));
        }
        if framing.until_close && (framing.chunk.is_some() || framing.trailers) {
            return Err(fault("until_close=1 does not go with chunk or trailers"));
        }
        if self.fault.fail.is_some() && self.fault.p_fail == 0.0 {
            return Err(fault("fail= needs p_fail=0.NN"));
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Script, ScriptError> {
        let mut script = Script::default();
        for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
            let (key, value) =
                word.split_once('=').ok_or_else(|| fault(format!("`{word}` is not key=value; known keys: {KEYS}")))?;
            let known = script.content.set(key, value)?
                || script.usage.set(key, value)?
                || script.status.set(key, value)?
                || script.fault.set(key, value)?
                || script.framing.set(key, value)?;
            if !known {
                return Err(fault(format!("unknown key `{key}`; known keys: {KEYS}")));
            }
        }
        script.check()?;
        Ok(script)
    }
}

impl ContentScript {
    fn set(&mut self, key: &str, value: &str) -> Result<bool, ScriptError> {
        match key {
            "events" => self.events = at_most(key, value, EVENTS_MAX)?,
            "event_bytes" => self.event_bytes = at_most(key, value, EVENT_BYTES_MAX)?,
            "gap_ms" => self.gap_ms = number(key, value)?,
            "first_ms" => self.first_ms = number(key, value)?,
            "pings" => self.pings = Some(number::<u64>(key, value)?).filter(|every| *every > 0),
            "first_ping" => self.first_ping = flag(key, value)?,
            "thinking" => self.thinking = flag(key, value)?,
            "tool" => self.tool = Some(word(key, value)?),
            "tool_command" => self.tool_command = Some(value.replace('_', " ")),
            "body_bytes" => self.body_bytes = Some(at_most(key, value, BODY_BYTES_MAX)?),
            "model" => self.model = Some(word(key, value)?),
            "stop_reason" => self.stop_reason = Some(word(key, value)?),
            "comments" => self.comments = flag(key, value)?,
            "unknown_events" => self.unknown_events = flag(key, value)?,
            "crlf" => self.crlf = flag(key, value)?,
            "lean" => self.lean = flag(key, value)?,
            "caches" => self.caches = flag(key, value)?,
            "stamp" => self.stamp = flag(key, value)?,
            "stream" => self.stream = flag(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl UsageScript {
    fn set(&mut self, key: &str, value: &str) -> Result<bool, ScriptError> {
        match key {
            "input_tokens" => self.input_tokens = Some(tokens(key, value)?),
            "cache_read" => self.cache_read = tokens(key, value)?,
            "cache_5m" => self.cache_5m = tokens(key, value)?,
            "cache_1h" => self.cache_1h = tokens(key, value)?,
            "output_tokens" => self.output_tokens = Some(tokens(key, value)?),
            "web_search" => self.web_search = tokens(key, value)?,
            "speed" => self.speed = Some(word(key, value)?),
            "geo" => self.geo = Some(word(key, value)?),
            "miscounts" => self.miscounts = flag(key, value)?,
            "tier" => self.tier = Some(word(key, value)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl StatusScript {
    fn set(&mut self, key: &str, value: &str) -> Result<bool, ScriptError> {
        match key {
            "status" => self.status = Some(status(key, value, 200..=599)?),
            "retry_after" => self.retry_after = Some(number(key, value)?),
            "should_retry" => self.should_retry = Some(number(key, value)?),
            "error_code" => self.error_code = Some(word(key, value)?),
            "message" => self.message = Some(word(key, value)?.replace('_', " ")),
            "exception" => self.exception = Some(word(key, value)?),
            "google" => self.google = Some(word(key, value)?),
            "wrapped" => self.wrapped = flag(key, value)?,
            "code" => self.code = Some(word(key, value)?),
            "early" => self.early = flag(key, value)?,
            "early_close" => self.early_close = flag(key, value)?,
            "hundred" => self.hundred = Some(status(key, value, 100..=199)?),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl FaultScript {
    fn set(&mut self, key: &str, value: &str) -> Result<bool, ScriptError> {
        match key {
            "error_at" => self.cut_at(Cut::Error, number(key, value)?)?,
            "reset_at" => self.cut_at(Cut::Reset, number(key, value)?)?,
            "close_at" => self.cut_at(Cut::Close, number(key, value)?)?,
            "stall_at" => self.cut_at(Cut::Stall, number(key, value)?)?,
            "ping_at" => self.cut_at(Cut::PingOnly, number(key, value)?)?,
            "reset_before" => self.reset_before = flag(key, value)?,
            "silent" => self.silent = flag(key, value)?,
            "p_fail" => {
                self.p_fail = number(key, value)?;
                if !(0.0..=1.0).contains(&self.p_fail) {
                    return Err(fault("p_fail must lie between 0 and 1"));
                }
            }
            "fail" => {
                self.fail = Some(match value {
                    "reset" => Fail::Reset,
                    "529" => Fail::Overloaded,
                    "close" => Fail::Close,
                    "error" => Fail::Error,
                    _ => return Err(fault(format!("fail={value}: use reset, 529, close or error"))),
                });
            }
            "after" => {
                self.after = Some(match value {
                    "close" => AfterWhole::Close,
                    "reset" => AfterWhole::Reset,
                    _ => return Err(fault(format!("after={value}: use close or reset"))),
                });
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn cut_at(&mut self, cut: Cut, events: u32) -> Result<(), ScriptError> {
        if self.cut.is_some() {
            return Err(fault("use only one of error_at, reset_at, close_at, stall_at and ping_at"));
        }
        self.cut = Some((cut, events));
        Ok(())
    }
}

impl FramingScript {
    fn set(&mut self, key: &str, value: &str) -> Result<bool, ScriptError> {
        match key {
            "chunk" => {
                self.chunk = Some(match value {
                    "event" => ChunkMode::Event,
                    "split" => ChunkMode::Split,
                    "merged" => ChunkMode::Merged,
                    "ext" => ChunkMode::Extension,
                    _ => return Err(fault(format!("chunk={value}: use event, split, merged or ext"))),
                });
            }
            "flush" => {
                self.batch = match value {
                    "event" => false,
                    "batch" => true,
                    _ => return Err(fault(format!("flush={value}: use event or batch"))),
                }
            }
            "trickle" => self.trickle = Some(number::<usize>(key, value)?).filter(|bytes| *bytes > 0),
            "gzip" => self.gzip = flag(key, value)?,
            "length" => self.length = flag(key, value)?,
            "until_close" => self.until_close = flag(key, value)?,
            "trailers" => self.trailers = flag(key, value)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn fault(message: impl Into<String>) -> ScriptError {
    ScriptError(message.into())
}

fn number<T: FromStr>(key: &str, value: &str) -> Result<T, ScriptError> {
    value.parse().map_err(|_| fault(format!("{key}={value}: not a value that {key} can take")))
}

fn at_most<T: FromStr + PartialOrd + fmt::Display>(key: &str, value: &str, max: T) -> Result<T, ScriptError> {
    let parsed: T = number(key, value)?;
    if parsed > max { Err(fault(format!("{key}={value}: at most {max}"))) } else { Ok(parsed) }
}

/// Token counts stay far below what sums of them could overflow.
fn tokens(key: &str, value: &str) -> Result<u64, ScriptError> {
    at_most(key, value, 1_000_000_000_000)
}

fn flag(key: &str, value: &str) -> Result<bool, ScriptError> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(fault(format!("{key}={value}: use 1 or 0"))),
    }
}

fn status(key: &str, value: &str, range: std::ops::RangeInclusive<u16>) -> Result<u16, ScriptError> {
    let (parsed, known) = (number(key, value)?, &range);
    let wrong = || fault(format!("{key}={value}: use {} to {}", known.start(), known.end()));
    Some(parsed).filter(|status| known.contains(status)).ok_or_else(wrong)
}

/// Values reach JSON strings and header lines as they are, so only harmless bytes are taken.
fn word(key: &str, value: &str) -> Result<String, ScriptError> {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.:@/[]%".contains(&b);
    if !value.is_empty() && value.bytes().all(harmless) {
        Ok(value.to_owned())
    } else {
        Err(fault(format!("{key}={value}: use letters, digits and -_.:@/[]%")))
    }
}
