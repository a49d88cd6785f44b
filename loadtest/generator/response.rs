//! Reads one HTTP/1.1 response from whatever pieces it arrives in; counts SSE frames and hashes the payload.

use aws_lc_rs::digest;

#[cfg(test)]
mod tests;

/// Largest response head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Longest chunk-size or trailer line.
const LINE_BYTES_MAX: usize = 4 << 10;
/// What the last frame of a whole stream ends with.
const LAST_FRAME: &[u8] = b"\"type\":\"message_stop\"}\n\n";

/// Why a response is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadFraming(pub &'static str);

/// What is awaited next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Awaits {
    Head,
    Length(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailer,
    Close,
    Nothing,
}

/// A response as far as it has arrived.
pub struct Response {
    awaits: Awaits,
    /// Head or line under construction.
    line: Vec<u8>,
    digest: Option<digest::Context>,
    /// Last payload bytes, to see frames across pieces and the last one.
    tail: Vec<u8>,
    /// Status of the final head.
    pub status: u16,
    /// The `request-id` header.
    pub request_id: String,
    /// Whether the connection ends with this response.
    pub close: bool,
    /// SSE frames so far.
    pub frames: u64,
    /// Payload bytes so far.
    pub payload_bytes: u64,
}

impl Response {
    /// A response of which nothing has arrived.
    pub fn new(digests: bool) -> Response {
        Response {
            awaits: Awaits::Head,
            line: Vec::new(),
            digest: digests.then(|| digest::Context::new(&digest::SHA256)),
            tail: Vec::with_capacity(64),
            status: 0,
            request_id: String::new(),
            close: false,
            frames: 0,
            payload_bytes: 0,
        }
    }

    /// Whether the response is complete.
    pub fn is_done(&self) -> bool {
        self.awaits == Awaits::Nothing
    }

    /// Whether its head has arrived.
    pub fn has_head(&self) -> bool {
        self.awaits != Awaits::Head
    }

    /// Whether the payload ends with a whole `message_stop` frame.
    pub fn ends_with_stop(&self) -> bool {
        self.tail.ends_with(LAST_FRAME)
    }

    /// SHA-256 of the payload, if it was asked for.
    pub fn take_sha256(&mut self) -> Option<digest::Digest> {
        self.digest.take().map(digest::Context::finish)
    }

    /// Takes bytes as they arrived; returns how many belong to this response.
    ///
    /// # Errors
    /// When they cannot be part of a response.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<usize, BadFraming> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_done() {
            rest = match self.awaits {
                Awaits::Head => self.head(rest)?,
                Awaits::Length(left) => {
                    let (rest, left) = self.take(rest, left);
                    self.awaits = if left == 0 { Awaits::Nothing } else { Awaits::Length(left) };
                    rest
                }
                Awaits::ChunkData(left) => {
                    let (rest, left) = self.take(rest, left);
                    self.awaits = if left == 0 { Awaits::ChunkEnd } else { Awaits::ChunkData(left) };
                    rest
                }
                Awaits::ChunkSize | Awaits::ChunkEnd | Awaits::Trailer => self.line(rest)?,
                Awaits::Close => self.take(rest, u64::MAX).0,
                Awaits::Nothing => rest,
            };
        }
        Ok(bytes.len() - rest.len())
    }

    /// The peer has closed; says whether that completes the response.
    pub fn closed(&mut self) -> bool {
        if self.awaits == Awaits::Close {
            self.awaits = Awaits::Nothing;
        }
        self.is_done()
    }

    fn take<'b>(&mut self, bytes: &'b [u8], left: u64) -> (&'b [u8], u64) {
        let (payload, rest) = bytes.split_at(left.min(bytes.len() as u64) as usize);
        if let Some(digest) = &mut self.digest {
            digest.update(payload);
        }
        self.payload_bytes += payload.len() as u64;
        let across = self.tail.last() == Some(&b'\n') && payload.first() == Some(&b'\n');
        self.frames += u64::from(across) + memchr::memmem::find_iter(payload, b"\n\n").count() as u64;
        let keep = LAST_FRAME.len();
        if payload.len() >= keep {
            self.tail.clear();
            self.tail.extend_from_slice(&payload[payload.len() - keep..]);
        } else {
            let drop = (self.tail.len() + payload.len()).saturating_sub(keep);
            self.tail.drain(..drop);
            self.tail.extend_from_slice(payload);
        }
        (rest, left - payload.len() as u64)
    }

    fn head<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], BadFraming> {
        let held = self.line.len();
        self.line.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(&self.line, b"\r\n\r\n").map(|at| at + 4) else {
            let fits = self.line.len() <= HEAD_BYTES_MAX;
            return if fits { Ok(&[]) } else { Err(BadFraming("head too large")) };
        };
        let head = std::mem::take(&mut self.line);
        self.parse_head(&head[..end])?;
        self.line = head;
        self.line.clear();
        Ok(&bytes[end - held..])
    }

    fn parse_head(&mut self, head: &[u8]) -> Result<(), BadFraming> {
        let mut headers = [httparse::EMPTY_HEADER; 96];
        let mut response = httparse::Response::new(&mut headers);
        if !response.parse(head).is_ok_and(|status| status.is_complete()) {
            return Err(BadFraming("malformed head"));
        }
        let status = response.code.unwrap_or_default();
        if (100..200).contains(&status) {
            return Ok(());
        }
        self.status = status;
        let (mut length, mut chunked) = (None, false);
        for header in response.headers.iter() {
            let value = std::str::from_utf8(header.value).unwrap_or_default();
            if header.name.eq_ignore_ascii_case("content-length") {
                if length.replace(value.parse().map_err(|_| BadFraming("bad content-length"))?).is_some() {
                    return Err(BadFraming("two content-lengths"));
                }
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                if chunked || !value.eq_ignore_ascii_case("chunked") {
                    return Err(BadFraming("transfer-encoding is not exactly chunked"));
                }
                chunked = true;
            } else if header.name.eq_ignore_ascii_case("connection") {
                self.close |= value.eq_ignore_ascii_case("close");
            } else if header.name.eq_ignore_ascii_case("request-id") {
                value.clone_into(&mut self.request_id);
            }
        }
        self.awaits = match (length, chunked) {
            (Some(_), true) => return Err(BadFraming("both length and chunks")),
            (Some(0), false) => Awaits::Nothing,
            (Some(length), false) => Awaits::Length(length),
            (None, true) => Awaits::ChunkSize,
            (None, false) => {
                self.close = true;
                Awaits::Close
            }
        };
        Ok(())
    }

    fn line<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], BadFraming> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            self.line.extend_from_slice(bytes);
            let fits = self.line.len() <= LINE_BYTES_MAX;
            return if fits { Ok(&[]) } else { Err(BadFraming("chunk line too long")) };
        };
        self.line.extend_from_slice(&bytes[..end]);
        if self.line.pop() != Some(b'\r') {
            return Err(BadFraming("bare LF in chunk framing"));
        }
        self.awaits = match (self.awaits, self.line.as_slice()) {
            (Awaits::ChunkEnd, []) => Awaits::ChunkSize,
            (Awaits::ChunkEnd, _) => return Err(BadFraming("chunk longer than its size")),
            (Awaits::Trailer, []) => Awaits::Nothing,
            (Awaits::Trailer, _) => Awaits::Trailer,
            (_, line) => match chunk_size(line).ok_or(BadFraming("bad chunk size"))? {
                0 => Awaits::Trailer,
                size => Awaits::ChunkData(size),
            },
        };
        self.line.clear();
        Ok(&bytes[end + 1..])
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|b| *b == b';').next()?;
    let valid = (1..=15).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    if valid { u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok() } else { None }
}
