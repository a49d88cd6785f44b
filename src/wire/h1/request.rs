//! Request heads: parsed in place into offsets, checked, and framed.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::error::HeadError;
use super::framing::{Framing, collect};
use super::header::{Headers, header_all};
use super::known::Known;
use super::lines::{HEADERS_MAX, HeadLimits, Last, LineWalk, Progress, Rules, Walked, is_token_byte};
use super::span::Span;
use super::start::{is_target_byte, request_line};

/// Longest method name that is waited for; the longest in the IANA registry has 17 bytes.
const METHOD_BYTES_MAX: usize = 32;

/// Request methods. CONNECT and TRACE never get here: they are refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// GET
    #[default]
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// PATCH
    Patch,
    /// OPTIONS
    Options,
    /// Any other token; its name is in [`RequestHead::method_name`].
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Result<Self, HeadError> {
        Ok(match name {
            b"POST" => Self::Post,
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"PATCH" => Self::Patch,
            b"OPTIONS" => Self::Options,
            b"CONNECT" | b"TRACE" => return Err(HeadError::MethodRefused),
            _ => Self::Other,
        })
    }
}

/// How the end of a request's body is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestBody {
    /// No length was stated: the next byte belongs to the next request.
    #[default]
    None,
    /// `Content-Length` in bytes; may be 0.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
}

/// One request's head, as offsets into the buffer it was parsed from. Meant to be reused for every request of a
/// connection: the header list keeps its capacity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The method as sent.
    pub method_name: Span,
    /// The request target as sent.
    pub target: Span,
    /// The raw, undecoded path. Starts with `/`, or is `*` for OPTIONS.
    pub path: Span,
    /// What follows the `?`; empty when there is none.
    pub query: Span,
    /// 1 for HTTP/1.1, 0 for HTTP/1.0.
    pub minor_version: u8,
    /// All headers, in order.
    pub headers: Headers,
    /// How long the body is.
    pub body: RequestBody,
    /// Whether the client wants the connection to go on.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body.
    pub expect_continue: bool,
    /// Bytes of the head: the body starts here.
    pub head_len: usize,
}

/// Parses one request head from a buffer that grows until the head is complete.
#[derive(Clone, Debug)]
pub struct RequestParser {
    limits: HeadLimits,
    walk: LineWalk,
    plain: bool,
}

impl RequestParser {
    /// A parser with these caps.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, walk: LineWalk::default(), plain: false }
    }

    /// Forgets a head that was begun. A complete head does this by itself.
    pub fn reset(&mut self) {
        self.walk = LineWalk::default();
    }

    /// Makes ready for a head that may begin as the last one of this connection did: `head`, as a parser has filled it from `last`
    /// that was [plain](Self::was_plain). The answers of `parse` are the same, only sooner. To be called before it.
    pub fn follow(&mut self, buf: &[u8], last: &[u8], head: &mut RequestHead) {
        let last = Last { bytes: last, start: head.method_name.start as usize };
        self.walk.follow(buf, last, self.limits.headers_max, &mut head.headers);
    }

    /// Was the last head that got complete written as nearly all are, so that the next one can follow it?
    pub fn was_plain(&self) -> bool {
        self.plain
    }

    /// Looks for a head at the start of `buf`: everything received since the message began, whatever follows it.
    /// Bytes seen by an earlier call are not searched again. One leading CRLF is skipped and counts into `head_len`.
    ///
    /// # Errors
    /// [`HeadError`] as soon as the head can no longer become valid; `head` is then not to be used.
    pub fn parse(&mut self, buf: &[u8], head: &mut RequestHead) -> Result<Progress, HeadError> {
        if self.walk.is_stale(buf) {
            self.reset();
        }
        let rules = Rules { limits: &self.limits, leading_crlf: true };
        let walked = self.walk.advance(buf, rules, &mut head.headers);
        check_start(self.walk.start_line(buf), &self.limits)?;
        let Some(walked) = walked? else { return Ok(Progress::Partial) };
        self.reset();
        self.plain = walked.plain;
        fill(buf.get(..walked.end).unwrap_or_default(), walked, head)?;
        Ok(Progress::Complete)
    }
}

/// Checks what is there of the request line, so that a hopeless one is refused before it is complete.
fn check_start(line: &[u8], limits: &HeadLimits) -> Result<(), HeadError> {
    match line.first() {
        Some(b'\r') | None => return Ok(()),
        Some(byte) if !is_token_byte(*byte) => return Err(HeadError::RequestLine),
        Some(_) => {}
    }
    let method = line.get(..METHOD_BYTES_MAX + 1).unwrap_or(line);
    let Some(space) = method.iter().position(|byte| !is_token_byte(*byte)) else {
        return if line.len() > METHOD_BYTES_MAX { Err(HeadError::MethodName) } else { Ok(()) };
    };
    if line.get(space) != Some(&b' ') {
        return Err(HeadError::RequestLine);
    }
    let target = line.get(space + 1..).unwrap_or_default();
    if target.len() > limits.target_bytes_max {
        let end = memchr::memchr3(b' ', b'\r', b'\n', target).unwrap_or(target.len());
        if end > limits.target_bytes_max {
            return Err(HeadError::TargetTooLong);
        }
    }
    Ok(())
}

/// Reads a whole head whose lines have been walked.
pub(super) fn fill(buf: &[u8], walked: Walked, head: &mut RequestHead) -> Result<(), HeadError> {
    let line = buf.get(walked.start..walked.fields_start).unwrap_or_default();
    let line = request_line(line).filter(|_| walked.plain);
    let is_sound = line.is_some();
    match line {
        Some(line) => {
            let place = |part: Range<usize>| Span::new(walked.start + part.start, walked.start + part.end);
            head.method_name = place(line.method);
            head.target = place(line.target);
            head.minor_version = line.minor_version;
        }
        None => judge(buf, walked.start, head)?,
    }
    head.method = Method::of(head.method_name.of(buf))?;
    if !is_sound && !head.target.of(buf).iter().all(|byte| is_target_byte(*byte)) {
        return Err(HeadError::Target);
    }
    (head.path, head.query) = split_target(buf, head.target, head.method)?;
    check_host(buf, &head.headers, head.minor_version)?;
    let framing = Framing::decide(buf, &head.headers, head.minor_version)?;
    head.body = match (framing.chunked, framing.content_length) {
        (true, _) => RequestBody::Chunked,
        (false, Some(length)) => RequestBody::Length(length),
        (false, None) => RequestBody::None,
    };
    head.keep_alive = framing.keep_alive;
    head.expect_continue = expects_continue(buf, head)?;
    head.head_len = buf.len();
    Ok(())
}

/// Lets httparse read a head that is not written as nearly all are.
#[cold]
fn judge(buf: &[u8], start: usize, head: &mut RequestHead) -> Result<(), HeadError> {
    let message = buf.get(start..).unwrap_or_default();
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(message, &mut slots) {
        Ok(httparse::Status::Complete(len)) if len == message.len() => {}
        Ok(_) => return Err(HeadError::RequestLine),
        Err(httparse::Error::Version) => return Err(version_error(message)),
        Err(error) => return Err(error.into()),
    }
    let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(version_error(message));
    };
    head.method_name = Span::locate(buf, method.as_bytes());
    head.target = Span::locate(buf, target.as_bytes());
    head.minor_version = minor_version;
    collect(buf, parsed.headers, &mut head.headers);
    Ok(())
}

/// A version of another number is a 505; anything else in its place is a malformed line.
fn version_error(message: &[u8]) -> HeadError {
    let line = message.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    match version.strip_prefix(b"HTTP/") {
        // The right version in the wrong place, as after two spaces.
        Some(b"1.0" | b"1.1") => HeadError::RequestLine,
        Some([b'0'..=b'9'] | [b'0'..=b'9', b'.', b'0'..=b'9']) => HeadError::Version,
        _ => HeadError::RequestLine,
    }
}

/// Splits the raw target, which holds bytes of targets only, into path and query, without decoding anything (RFC 9112 3.2).
fn split_target(buf: &[u8], target: Span, method: Method) -> Result<(Span, Span), HeadError> {
    let bytes = target.of(buf);
    if bytes == b"*" && method == Method::Options {
        return Ok((target, Span::default()));
    }
    let (path_start, absent_path) = match bytes {
        [b'/', ..] => (0, None),
        _ => absolute_path(bytes)?,
    };
    let rest = bytes.get(path_start..).unwrap_or_default();
    let base = target.start as usize + path_start;
    let question = memchr::memchr(b'?', rest);
    let path_len = question.unwrap_or(rest.len());
    let path = match absent_path {
        Some(slash) => Span::new(target.start as usize + slash, target.start as usize + slash + 1),
        None => Span::new(base, base + path_len),
    };
    let query = question.map_or(Span::default(), |at| Span::new(base + at + 1, base + rest.len()));
    Ok((path, query))
}

/// Where the path of `http://authority/path` starts. `http://authority` stands for the path `/`: the second offset
/// then names a slash of the `://` to serve as that path.
fn absolute_path(target: &[u8]) -> Result<(usize, Option<usize>), HeadError> {
    let colon = memchr::memchr(b':', target).ok_or(HeadError::Target)?;
    let scheme = target.get(..colon).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case(b"http") && !scheme.eq_ignore_ascii_case(b"https") {
        return Err(HeadError::Target);
    }
    let rest = target.get(colon + 1..).and_then(|rest| rest.strip_prefix(b"//")).ok_or(HeadError::Target)?;
    let authority_len = memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let authority = rest.get(..authority_len).unwrap_or_default();
    if authority.is_empty() || !authority.iter().all(|byte| is_host_byte(*byte)) {
        return Err(HeadError::Target);
    }
    let absent = rest.get(authority_len) != Some(&b'/');
    Ok((colon + 3 + authority_len, absent.then_some(colon + 2)))
}

/// Exactly one `Host` (HTTP/1.0 may go without), and nothing in it that no host name has. An empty one is legal.
fn check_host(buf: &[u8], headers: &Headers, minor_version: u8) -> Result<(), HeadError> {
    let mut hosts = header_all(buf, headers, Known::Host);
    match hosts.next() {
        None if minor_version >= 1 => return Err(HeadError::HostMissing),
        Some(host) if !host.iter().all(|byte| is_host_byte(*byte)) => return Err(HeadError::HostInvalid),
        _ => {}
    }
    if hosts.next().is_some() { Err(HeadError::HostRepeated) } else { Ok(()) }
}

/// `uri-host [ ":" port ]` without user information and lists (RFC 3986 3.2.2).
fn is_host_byte(byte: u8) -> bool {
    const HOST_BYTES: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"-._~%!$&'()*+;=:[]";
        let mut place = 0;
        while place < others.len() {
            table[others[place] as usize] = true;
            place += 1;
        }
        table
    };
    HOST_BYTES[usize::from(byte)]
}

/// Whether to answer 100 before the body. HTTP/1.0 clients do not know it, and without a body nobody waits for it.
fn expects_continue(buf: &[u8], head: &RequestHead) -> Result<bool, HeadError> {
    let mut expected = false;
    for value in header_all(buf, &head.headers, Known::Expect) {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(HeadError::Expectation);
        }
        expected = true;
    }
    Ok(expected && head.minor_version >= 1 && !matches!(head.body, RequestBody::None | RequestBody::Length(0)))
}
