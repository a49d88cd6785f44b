//! The one framing decision of a message: how long its body is and whether the connection goes on after it.
//!
//! Requests and upstream answers obey the same rules (RFC 9112 6.1, 6.3), only stricter: two statements about the
//! length are refused even where they agree, because the next hop may know only one of them.

use super::error::HeadError;
use super::header::{Header, Headers, header_all, list};
use super::known::{Known, is_name};
use super::span::Span;

/// What the headers of one message say about its body and its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framing {
    pub(super) content_length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) keep_alive: bool,
}

impl Framing {
    /// Reads the framing of a message of version 1.`minor_version`.
    pub(super) fn decide(buf: &[u8], headers: &Headers, minor_version: u8) -> Result<Self, HeadError> {
        let mut codings = header_all(buf, headers, Known::TransferEncoding);
        let mut lengths = header_all(buf, headers, Known::ContentLength);
        let (coding, length) = (codings.next(), lengths.next());
        if coding.is_some() && length.is_some() {
            return Err(HeadError::LengthWithCoding);
        }
        if codings.next().is_some() {
            return Err(HeadError::CodingAmbiguous);
        }
        if lengths.next().is_some() {
            return Err(HeadError::LengthRepeated);
        }
        if let Some(coding) = coding {
            if minor_version == 0 {
                return Err(HeadError::CodingBeforeHttp11);
            }
            only_chunked(coding)?;
        }
        Ok(Self {
            content_length: length.map(decimal).transpose()?,
            chunked: coding.is_some(),
            keep_alive: keeps_alive(buf, headers, minor_version),
        })
    }
}

/// Whether the connection goes on: `close` beats `keep-alive` (RFC 9112 9.3).
fn keeps_alive(buf: &[u8], headers: &Headers, minor_version: u8) -> bool {
    let (mut closes, mut keeps) = (false, minor_version >= 1);
    for value in header_all(buf, headers, Known::Connection) {
        // Hardly any is a list.
        if is_name(value, b"keep-alive") {
            keeps = true;
            continue;
        }
        for option in list(value) {
            closes |= is_name(option, b"close");
            keeps |= is_name(option, b"keep-alive");
        }
    }
    keeps && !closes
}

/// Accepts exactly one `chunked`, in any case of letters.
fn only_chunked(value: &[u8]) -> Result<(), HeadError> {
    let is_chunked = |element: &[u8]| is_name(element, b"chunked");
    if is_chunked(value) {
        return Ok(());
    }
    let ends_chunked = value.rsplit(|byte| *byte == b',').next().is_some_and(|last| is_chunked(last.trim_ascii()));
    let well_formed = ends_chunked && list(value).filter(|element| is_chunked(element)).count() == 1;
    // `gzip, chunked` says clearly how long the body is; weir just does not know gzip as a transfer coding.
    Err(if well_formed { HeadError::CodingUnknown } else { HeadError::CodingAmbiguous })
}

/// Digits only: no sign, no space, no list.
fn decimal(value: &[u8]) -> Result<u64, HeadError> {
    if value.is_empty() {
        return Err(HeadError::LengthInvalid);
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return Err(HeadError::LengthInvalid);
        }
        length.checked_mul(10).and_then(|tens| tens.checked_add(u64::from(digit))).ok_or(HeadError::LengthInvalid)
    })
}

/// Fills `headers` from httparse's list, reusing its capacity.
pub(super) fn collect(buf: &[u8], parsed: &[httparse::Header<'_>], headers: &mut Headers) {
    headers.clear();
    for header in parsed {
        headers.push(Header {
            name: Span::locate(buf, header.name.as_bytes()),
            value: Span::locate(buf, header.value),
            known: Known::of(header.name.as_bytes()),
        });
    }
}
