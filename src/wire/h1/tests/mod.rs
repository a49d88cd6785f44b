//! Tests of the HTTP/1.1 codecs, named after the failure they prevent.

mod attacks;
mod chunked;
mod known;
mod request;
mod response;
mod splits;

use super::*;

pub(super) const LIMITS: HeadLimits =
    HeadLimits { head_bytes_max: 32 * 1024, target_bytes_max: 8 * 1024, headers_max: 100 };

/// Parses a head that arrives at once.
pub(super) fn request(input: impl AsRef<[u8]>) -> Result<Option<RequestHead>, HeadError> {
    let mut head = RequestHead::default();
    let progress = RequestParser::new(LIMITS).parse(input.as_ref(), &mut head)?;
    Ok((progress == Progress::Complete).then_some(head))
}

/// Parses a response head that arrives at once.
pub(super) fn response(input: impl AsRef<[u8]>) -> Result<Option<ResponseHead>, HeadError> {
    let mut head = ResponseHead::default();
    let progress = ResponseParser::new(LIMITS).parse(input.as_ref(), &mut head)?;
    Ok((progress == Progress::Complete).then_some(head))
}

/// A POST with these header lines (each ended by CRLF) beside `Host`.
pub(super) fn post_with(lines: &str) -> Result<Option<RequestHead>, HeadError> {
    request(format!("POST /v1/messages HTTP/1.1\r\nHost: weir\r\n{lines}\r\n"))
}

/// A 200 with these header lines.
pub(super) fn ok_with(lines: &str) -> Result<Option<ResponseHead>, HeadError> {
    response(format!("HTTP/1.1 200 OK\r\n{lines}\r\n"))
}
