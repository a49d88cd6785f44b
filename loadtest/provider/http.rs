//! HTTP/1.1 requests, read strictly: whatever two parsers could read in two ways is refused.

use std::ops::Range;

use super::conn::{Conn, Gone};

#[cfg(test)]
mod tests;

/// Largest request head.
const HEAD_BYTES_MAX: usize = 256 << 10;
/// Most request headers.
const HEADERS_MAX: usize = 128;
/// Largest request body (contract.md §1.5 says 32 MB for messages).
pub(super) const BODY_BYTES_MAX: u64 = 64 << 20;
/// Longest chunk-size or trailer line.
const LINE_BYTES_MAX: usize = 4 << 10;

/// How the request body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFraming {
    None,
    Length(u64),
    Chunked,
}

impl BodyFraming {
    pub(super) fn label(self) -> &'static str {
        match self {
            BodyFraming::None => "none",
            BodyFraming::Length(_) => "length",
            BodyFraming::Chunked => "chunked",
        }
    }
}

/// Why a request cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadError {
    Gone,
    Bad(&'static str),
    TooLarge,
}

impl From<Gone> for ReadError {
    fn from(_: Gone) -> Self {
        ReadError::Gone
    }
}

/// A request head: its bytes, and where its parts lie.
#[derive(Debug, Default)]
pub(super) struct Head {
    bytes: Vec<u8>,
    method: Range<usize>,
    target: Range<usize>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    http11: bool,
}

impl Head {
    /// Reads the next head, reusing this one's memory. `Gone` before the first byte is an orderly end.
    pub(super) async fn read(&mut self, conn: &mut Conn) -> Result<(), ReadError> {
        let length = loop {
            match memchr::memmem::find(conn.unread(), b"\r\n\r\n") {
                Some(end) => break end + 4,
                None if conn.unread().len() > HEAD_BYTES_MAX => return Err(ReadError::Bad("request head too large")),
                None => conn.fill().await?,
            }
        };
        self.bytes.clear();
        self.bytes.extend_from_slice(&conn.unread()[..length]);
        conn.consume(length);
        self.parse().map_err(ReadError::Bad)
    }

    fn parse(&mut self) -> Result<(), &'static str> {
        let bytes = &self.bytes[..];
        let bare = |at: usize| at == 0 || bytes[at - 1] != b'\r';
        if memchr::memchr_iter(b'\n', bytes).any(bare) {
            return Err("bare LF in the request head");
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
            Ok(_) => return Err("request head ends early"),
            Err(httparse::Error::TooManyHeaders) => return Err("too many request headers"),
            Err(_) => return Err("malformed request head"),
        }
        let range = |part: &[u8]| {
            let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
            start..start + part.len()
        };
        self.method = range(request.method.unwrap_or_default().as_bytes());
        self.target = range(request.path.unwrap_or_default().as_bytes());
        self.http11 = request.version == Some(1);
        self.fields.clear();
        self.fields.extend(request.headers.iter().map(|field| (range(field.name.as_bytes()), range(field.value))));
        Ok(())
    }

    pub(super) fn method(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.method.clone()]).unwrap_or_default()
    }

    pub(super) fn target(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.target.clone()]).unwrap_or_default()
    }

    /// Names and values in order, as received.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.raw_fields().map(|(name, value)| (std::str::from_utf8(name).unwrap_or_default(), value))
    }

    fn raw_fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }

    /// First value of a header, by its lower-case name.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.raw_fields().find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// First value of a header as text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    pub(super) fn expects_continue(&self) -> bool {
        self.text("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    pub(super) fn keeps_alive(&self) -> bool {
        let says = |token: &str| {
            self.raw_fields().filter(|(name, _)| name.eq_ignore_ascii_case(b"connection")).any(|(_, value)| {
                value.split(|b| *b == b',').any(|word| word.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
            })
        };
        if self.http11 { !says("close") } else { says("keep-alive") }
    }

    /// The one framing of the body.
    pub(super) fn framing(&self) -> Result<BodyFraming, ReadError> {
        let (mut length, mut chunked, mut hosts) = (None, false, 0);
        for (name, value) in self.raw_fields() {
            if name.eq_ignore_ascii_case(b"content-length") {
                if length.is_some() {
                    return Err(ReadError::Bad("more than one content-length"));
                }
                length = Some(digits(value).ok_or(ReadError::Bad("content-length is not a number"))?);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(ReadError::Bad("transfer-encoding is not exactly chunked"));
                }
                chunked = true;
            } else if name.eq_ignore_ascii_case(b"host") {
                hosts += 1;
            }
        }
        if self.http11 && hosts != 1 {
            return Err(ReadError::Bad("an HTTP/1.1 request needs exactly one host header"));
        }
        match (length, chunked) {
            (Some(_), true) => Err(ReadError::Bad("both content-length and transfer-encoding")),
            (Some(length), false) if length > BODY_BYTES_MAX => Err(ReadError::TooLarge),
            (Some(length), false) => Ok(BodyFraming::Length(length)),
            (None, true) => Ok(BodyFraming::Chunked),
            (None, false) => Ok(BodyFraming::None),
        }
    }
}

fn digits(value: &[u8]) -> Option<u64> {
    let all_digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    if all_digits { std::str::from_utf8(value).ok()?.parse().ok() } else { None }
}

/// Reads the whole body into `body`, chunk framing removed.
pub(super) async fn read_body(conn: &mut Conn, framing: BodyFraming, body: &mut Vec<u8>) -> Result<(), ReadError> {
    body.clear();
    match framing {
        BodyFraming::None => Ok(()),
        BodyFraming::Length(length) => {
            body.reserve(length.min(1 << 20) as usize);
            Ok(conn.take_into(body, length as usize).await?)
        }
        BodyFraming::Chunked => read_chunks(conn, body).await,
    }
}

async fn read_chunks(conn: &mut Conn, body: &mut Vec<u8>) -> Result<(), ReadError> {
    loop {
        let line = line_length(conn).await?;
        let size = chunk_size(&conn.unread()[..line]).ok_or(ReadError::Bad("bad chunk size"))?;
        conn.consume(line + 2);
        if size == 0 {
            break;
        }
        if body.len() as u64 + size > BODY_BYTES_MAX {
            return Err(ReadError::TooLarge);
        }
        conn.take_into(body, size as usize).await?;
        if line_length(conn).await? != 0 {
            return Err(ReadError::Bad("chunk longer than its size"));
        }
        conn.consume(2);
    }
    let mut trailer_bytes = 0;
    loop {
        let line = line_length(conn).await?;
        conn.consume(line + 2);
        trailer_bytes += line;
        if line == 0 {
            return Ok(());
        }
        if trailer_bytes > HEAD_BYTES_MAX {
            return Err(ReadError::Bad("trailers too large"));
        }
    }
}

/// Length of the next line without its CRLF.
async fn line_length(conn: &mut Conn) -> Result<usize, ReadError> {
    loop {
        if let Some(at) = memchr::memchr(b'\n', conn.unread()) {
            let crlf = at > 0 && conn.unread()[at - 1] == b'\r';
            return if crlf { Ok(at - 1) } else { Err(ReadError::Bad("bare LF in chunk framing")) };
        }
        if conn.unread().len() > LINE_BYTES_MAX {
            return Err(ReadError::Bad("chunk line too long"));
        }
        conn.fill().await?;
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?;
    let valid = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    if valid { u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok() } else { None }
}
