//! The walk over a growing head, line by line, until the empty line that ends it.
//!
//! It sees every line end once, however slowly the head arrives, and refuses what httparse would tolerate: bare LF and
//! folded lines. It also keeps the size limits, so that an endless head is cut off before it is complete.

use super::error::HeadError;

/// Most header lines a parser can be configured to accept.
pub const HEADERS_MAX: usize = 128;

/// Caps on one message head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Longest head, from the first byte to the empty line and its CRLF.
    pub head_bytes_max: usize,
    /// Longest request target.
    pub target_bytes_max: usize,
    /// Most header lines; values above [`HEADERS_MAX`] mean [`HEADERS_MAX`].
    pub headers_max: usize,
}

/// Whether the head is all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed; the head's fields are not filled yet.
    Partial,
    /// The head is filled.
    Complete,
}

/// How far the search for the head's end has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LineWalk {
    /// Every byte before this one has been seen.
    scanned: usize,
    /// Where the current line starts.
    line_start: usize,
    /// Non-empty lines that are complete.
    lines: usize,
    /// Where the start line starts: 2 after a leading CRLF, else 0.
    pub(super) message_start: usize,
}

impl LineWalk {
    /// Looks at the new bytes of `buf`. Returns the offset behind the head once the empty line is there.
    pub(super) fn advance(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        leading_crlf: bool,
    ) -> Result<Option<usize>, HeadError> {
        let headers_max = limits.headers_max.min(HEADERS_MAX);
        let base = self.scanned;
        for found in memchr::memchr_iter(b'\n', buf.get(base..).unwrap_or_default()) {
            let feed = base + found;
            let line = buf.get(self.line_start..feed).unwrap_or_default();
            let Some((b'\r', line)) = line.split_last() else { return Err(HeadError::BareLineFeed) };
            self.scanned = feed + 1;
            self.line_start = feed + 1;
            if line.is_empty() {
                if self.lines > 0 {
                    return if self.scanned > limits.head_bytes_max {
                        Err(HeadError::HeadTooLong)
                    } else {
                        Ok(Some(self.scanned))
                    };
                }
                if !leading_crlf || self.message_start > 0 {
                    return Err(HeadError::RequestLine);
                }
                self.message_start = self.scanned;
                continue;
            }
            if self.lines > 0 && matches!(line[0], b' ' | b'\t') {
                return Err(HeadError::FoldedHeader);
            }
            self.lines += 1;
            if self.lines > headers_max + 1 {
                return Err(HeadError::TooManyHeaders);
            }
        }
        self.scanned = buf.len();
        if buf.len() >= limits.head_bytes_max { Err(HeadError::HeadTooLong) } else { Ok(None) }
    }

    /// What is there of the start line. Only meaningful before the second line is complete: later it still begins
    /// with the start line.
    pub(super) fn start_line<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(self.message_start..).unwrap_or_default()
    }

    /// Whether this walk cannot have been over `buf`: the caller began a new message without a reset.
    pub(super) fn is_stale(&self, buf: &[u8]) -> bool {
        buf.len() < self.scanned
    }
}

/// Whether `byte` may occur in a token (RFC 9110 5.6.2): methods, header names, transfer codings.
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
