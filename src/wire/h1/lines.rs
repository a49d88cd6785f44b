//! The walk over a growing head, line by line, until the empty line that ends it.
//!
//! It sees every line end once, however slowly the head arrives, and refuses what httparse would tolerate: bare LF and
//! folded lines. It also keeps the size limits, so that an endless head is cut off before it is complete.

use super::error::HeadError;
use fearless_simd::{Level, dispatch, prelude::*, u8x64};

/// Bytes looked at together.
const BLOCK_BYTES: usize = 64;

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
#[derive(Clone, Copy, Debug)]
pub(super) struct LineWalk {
    /// The vectors this machine has.
    level: Level,
    /// Every byte before this one has been seen.
    scanned: usize,
    /// Where the current line starts.
    line_start: usize,
    /// Non-empty lines that are complete.
    lines: usize,
    /// Where the start line starts: 2 after a leading CRLF, else 0.
    pub(super) message_start: usize,
    /// Control characters, tabs left out, up to what has been seen.
    controls: usize,
}

impl Default for LineWalk {
    fn default() -> Self {
        Self { level: Level::new(), scanned: 0, line_start: 0, lines: 0, message_start: 0, controls: 0 }
    }
}

impl LineWalk {
    /// Looks at the new bytes of `buf`. Returns the offset behind the head once the empty line is there.
    pub(super) fn advance(
        &mut self,
        buf: &[u8],
        limits: &HeadLimits,
        leading_crlf: bool,
    ) -> Result<Option<usize>, HeadError> {
        let base = self.scanned;
        let found = dispatch!(self.level, simd => self.walk(simd, buf, limits, leading_crlf, base))?;
        if found.is_some() {
            return Ok(found);
        }
        self.scanned = buf.len();
        if buf.len() >= limits.head_bytes_max { Err(HeadError::HeadTooLong) } else { Ok(None) }
    }

    /// Every line end from `base` on, in order: heads have short lines, so that looking for each on its own costs more than
    /// looking at all bytes in blocks.
    #[inline(always)]
    fn walk<S: Simd>(
        &mut self,
        simd: S,
        buf: &[u8],
        limits: &HeadLimits,
        leading_crlf: bool,
        base: usize,
    ) -> Result<Option<usize>, HeadError> {
        let (blocks, rest) = buf.get(base..).unwrap_or_default().as_chunks::<BLOCK_BYTES>();
        let mut last = [b' '; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        let mut at = base;
        for block in blocks.iter().chain([&last]) {
            let bytes = u8x64::simd_from(simd, *block);
            let below = bytes.simd_lt(b' ').to_bitmask() & !bytes.simd_eq(b'\t').to_bitmask();
            let controls = below | bytes.simd_eq(0x7f).to_bitmask();
            let mut feeds = bytes.simd_eq(b'\n').to_bitmask();
            while feeds != 0 {
                let bit = feeds.trailing_zeros();
                feeds &= feeds - 1;
                if let Some(end) = self.line_end(buf, at + bit as usize, limits, leading_crlf)? {
                    self.controls += (controls << (63 - bit)).count_ones() as usize;
                    return Ok(Some(end));
                }
            }
            self.controls += controls.count_ones() as usize;
            at += BLOCK_BYTES;
        }
        Ok(None)
    }

    /// A line ends at `feed`. Returns the offset behind the head if it was the empty one.
    #[inline(always)]
    fn line_end(
        &mut self,
        buf: &[u8],
        feed: usize,
        limits: &HeadLimits,
        leading_crlf: bool,
    ) -> Result<Option<usize>, HeadError> {
        let line = buf.get(self.line_start..feed).unwrap_or_default();
        let Some((b'\r', line)) = line.split_last() else { return Err(HeadError::BareLineFeed) };
        self.scanned = feed + 1;
        self.line_start = feed + 1;
        let Some(first) = line.first() else {
            if self.lines > 0 {
                let too_long = self.scanned > limits.head_bytes_max;
                return if too_long { Err(HeadError::HeadTooLong) } else { Ok(Some(self.scanned)) };
            }
            if !leading_crlf || self.message_start > 0 {
                return Err(HeadError::RequestLine);
            }
            self.message_start = self.scanned;
            return Ok(None);
        };
        if self.lines > 0 && matches!(first, b' ' | b'\t') {
            return Err(HeadError::FoldedHeader);
        }
        self.lines += 1;
        if self.lines > limits.headers_max.min(HEADERS_MAX) + 1 {
            return Err(HeadError::TooManyHeaders);
        }
        Ok(None)
    }

    /// What is there of the start line. Only meaningful before the second line is complete: later it still begins
    /// with the start line.
    pub(super) fn start_line<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(self.message_start..).unwrap_or_default()
    }

    /// Whether the head that has been walked holds no control character but tabs and the ends of its lines.
    pub(super) fn is_clean(&self) -> bool {
        self.controls == self.message_start + 2 * (self.lines + 1)
    }

    /// Whether this walk cannot have been over `buf`: the caller began a new message without a reset.
    pub(super) fn is_stale(&self, buf: &[u8]) -> bool {
        buf.len() < self.scanned
    }
}

/// Whether `byte` may occur in a token (RFC 9110 5.6.2): methods, header names, transfer codings.
#[inline]
pub(super) fn is_token_byte(byte: u8) -> bool {
    const TOKEN_BYTES: [bool; 256] = {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"!#$%&'*+-.^_`|~";
        let mut place = 0;
        while place < others.len() {
            table[others[place] as usize] = true;
            place += 1;
        }
        table
    };
    TOKEN_BYTES[usize::from(byte)]
}
