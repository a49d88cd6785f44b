//! Response heads of an upstream, as strict as request heads: a smuggled answer would reach another client.

use std::mem::MaybeUninit;

use super::error::HeadError;
use super::framing::{Framing, collect};
use super::header::Headers;
use super::lines::{HEADERS_MAX, HeadLimits, LineWalk, Progress, Rules, Walked};
use super::request::Method;
use super::span::Span;
use super::start::status_line;

/// One response's head, as offsets into the buffer it was parsed from; reusable like a request's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseHead {
    /// Status code, 100..=599. Codes below 200 are interim: another head follows.
    pub status: u16,
    /// Reason phrase; may be empty, and is when it holds bytes beyond ASCII.
    pub reason: Span,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// All headers, in order.
    pub headers: Headers,
    /// `Content-Length` in bytes, where there is one.
    pub content_length: Option<u64>,
    /// Whether `Transfer-Encoding: chunked` was said.
    pub chunked: bool,
    /// Whether the upstream lets the connection go on, as far as its head says.
    pub keep_alive: bool,
    /// Bytes of the head: the body starts here.
    pub head_len: usize,
}

/// How the end of a response's body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// No body follows, whatever the headers say.
    None,
    /// This many bytes; may be 0.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Everything until the upstream closes; such a connection cannot be reused.
    UntilClose,
}

impl ResponseHead {
    /// How the body ends, given what was asked (RFC 9112 6.3).
    pub fn body(&self, request_method: Method) -> ResponseBody {
        if request_method == Method::Head || matches!(self.status, 100..=199 | 204 | 304) {
            return ResponseBody::None;
        }
        match (self.chunked, self.content_length) {
            (true, _) => ResponseBody::Chunked,
            (false, Some(length)) => ResponseBody::Length(length),
            (false, None) => ResponseBody::UntilClose,
        }
    }
}

/// Parses one response head from a buffer that grows until the head is complete.
#[derive(Clone, Debug)]
pub struct ResponseParser {
    limits: HeadLimits,
    walk: LineWalk,
}

impl ResponseParser {
    /// A parser with these caps; the target's has no meaning here.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, walk: LineWalk::default() }
    }

    /// Forgets a head that was begun. A complete head does this by itself.
    pub fn reset(&mut self) {
        self.walk = LineWalk::default();
    }

    /// Looks for a head at the start of `buf`, as [`super::RequestParser::parse`] does. No leading CRLF is tolerated.
    ///
    /// # Errors
    /// [`HeadError`] when the head breaks a rule; the connection must not be used again.
    pub fn parse(&mut self, buf: &[u8], head: &mut ResponseHead) -> Result<Progress, HeadError> {
        if self.walk.is_stale(buf) {
            self.reset();
        }
        let rules = Rules { limits: &self.limits, leading_crlf: false };
        let walked = self.walk.advance(buf, rules, &mut head.headers)?;
        if !could_be_http(buf) {
            return Err(HeadError::StatusLine);
        }
        let Some(walked) = walked else { return Ok(Progress::Partial) };
        self.reset();
        fill(buf.get(..walked.end).unwrap_or_default(), walked, head)?;
        Ok(Progress::Complete)
    }
}

/// Whether the first bytes can start a status line: an upstream that speaks something else is found out at once.
fn could_be_http(buf: &[u8]) -> bool {
    buf.iter().zip(b"HTTP/").all(|(byte, expected)| byte == expected)
}

/// Reads a whole head whose lines have been walked.
pub(super) fn fill(buf: &[u8], walked: Walked, head: &mut ResponseHead) -> Result<(), HeadError> {
    let line = buf.get(..walked.fields_start).unwrap_or_default();
    match status_line(line).filter(|_| walked.plain) {
        Some(line) => {
            head.status = line.status;
            head.minor_version = line.minor_version;
            head.reason = Span::new(line.reason.start, line.reason.end);
        }
        None => judge(buf, head)?,
    }
    if !matches!(head.status, 100..=599) {
        return Err(HeadError::StatusLine);
    }
    let framing = Framing::decide(buf, &head.headers, head.minor_version)?;
    head.content_length = framing.content_length;
    head.chunked = framing.chunked;
    head.keep_alive = framing.keep_alive;
    head.head_len = buf.len();
    Ok(())
}

/// Lets httparse read a head that is not written as nearly all are.
#[cold]
fn judge(buf: &[u8], head: &mut ResponseHead) -> Result<(), HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, buf, &mut slots) {
        Ok(httparse::Status::Complete(len)) if len == buf.len() => {}
        Ok(_) => return Err(HeadError::StatusLine),
        Err(error) => return Err(error.into()),
    }
    let (Some(status), Some(minor_version)) = (parsed.code, parsed.version) else {
        return Err(HeadError::StatusLine);
    };
    head.status = status;
    head.minor_version = minor_version;
    head.reason = Span::locate(buf, parsed.reason.unwrap_or_default().as_bytes());
    collect(buf, parsed.headers, &mut head.headers);
    Ok(())
}
