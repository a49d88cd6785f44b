//! The one framing decision of a message: how long its body is and whether the connection goes on after it.
//!
//! Requests and upstream answers obey the same rules (RFC 9112 6.1, 6.3), only stricter: two statements about the
//! length are refused even where they agree, because the next hop may know only one of them.

use super::error::HeadError;
use super::header::{Header, Known, list};
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
    pub(super) fn decide(buf: &[u8], headers: &[Header], minor_version: u8) -> Result<Self, HeadError> {
        let (mut coding, mut length, mut codings, mut lengths) = (None, None, 0, 0);
        let (mut closes, mut keeps) = (false, minor_version >= 1);
        for header in headers {
            match header.known {
                Known::TransferEncoding => {
                    codings += 1;
                    coding.get_or_insert(header.value.of(buf));
                }
                Known::ContentLength => {
                    lengths += 1;
                    length.get_or_insert(header.value.of(buf));
                }
                // `close` beats `keep-alive` (RFC 9112 9.3).
                Known::Connection => list(header.value.of(buf)).for_each(|option| {
                    closes |= option.eq_ignore_ascii_case(b"close");
                    keeps |= option.eq_ignore_ascii_case(b"keep-alive");
                }),
                _ => {}
            }
        }
        if coding.is_some() && length.is_some() {
            return Err(HeadError::LengthWithCoding);
        }
        if codings > 1 {
            return Err(HeadError::CodingAmbiguous);
        }
        if lengths > 1 {
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
            keep_alive: keeps && !closes,
        })
    }
}

/// Accepts exactly one `chunked`, in any case of letters.
fn only_chunked(value: &[u8]) -> Result<(), HeadError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let is_chunked = |element: &[u8]| element.eq_ignore_ascii_case(b"chunked");
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
pub(super) fn collect(buf: &[u8], parsed: &[httparse::Header<'_>], headers: &mut Vec<Header>) {
    headers.clear();
    headers.extend(parsed.iter().map(|header| Header {
        name: Span::locate(buf, header.name.as_bytes()),
        value: Span::locate(buf, header.value),
        known: Known::of(header.name.as_bytes()),
    }));
}
