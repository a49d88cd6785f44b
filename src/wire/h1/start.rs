//! Start lines read where they are written as nearly all are; anything else is httparse's to judge. Lines come with their CRLF.

use super::lines::is_token_byte;
use std::ops::Range;

/// The parts of a request line, as places in it.
pub(super) struct RequestLine {
    pub(super) method: Range<usize>,
    pub(super) target: Range<usize>,
    pub(super) minor_version: u8,
}

/// The parts of a status line; the reason phrase as a place in it.
pub(super) struct StatusLine {
    pub(super) minor_version: u8,
    pub(super) status: u16,
    pub(super) reason: Range<usize>,
}

/// `method SP target SP version`, with no byte in the target that no target has.
pub(super) fn request_line(line: &[u8]) -> Option<RequestLine> {
    let (rest, minor_version) = match line.split_last_chunk()? {
        (rest, b" HTTP/1.1\r\n") => (rest, 1),
        (rest, b" HTTP/1.0\r\n") => (rest, 0),
        _ => return None,
    };
    let method = rest.iter().position(|byte| !is_token_byte(*byte))?;
    let target = rest.get(method..)?.strip_prefix(b" ")?;
    // All bytes, without a look at each on its way: nearly none is unsound.
    let sound = target.iter().fold(method > 0 && !target.is_empty(), |sound, byte| sound & is_target_byte(*byte));
    sound.then_some(RequestLine { method: 0..method, target: method + 1..rest.len(), minor_version })
}

/// `version SP 3DIGIT`, with or without a space and a reason phrase of ASCII.
pub(super) fn status_line(line: &[u8]) -> Option<StatusLine> {
    let (minor_version, rest) = match line.split_first_chunk()? {
        (b"HTTP/1.1 ", rest) => (1, rest),
        (b"HTTP/1.0 ", rest) => (0, rest),
        _ => return None,
    };
    let (code, rest) = rest.split_first_chunk::<3>()?;
    if !code.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let status = code.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'));
    let reason = match rest.strip_suffix(b"\r\n")? {
        [] => &[],
        [b' ', reason @ ..] => reason,
        _ => return None,
    };
    let end = line.len() - 2;
    let sound = reason.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    sound.then_some(StatusLine { minor_version, status, reason: end - reason.len()..end })
}

/// Whether `byte` may occur in a request target: what is visible, but no fragment.
#[inline]
pub(super) fn is_target_byte(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'#'
}
