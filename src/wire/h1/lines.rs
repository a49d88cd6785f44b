//! The walk over a growing head, line by line, until the empty line that ends it.
//!
//! It sees every line end once, however slowly the head arrives, and refuses what httparse would tolerate: bare LF and
//! folded lines. It also keeps the size limits, so that an endless head is cut off before it is complete. Header lines that are
//! written as nearly all are it takes apart on the way; those that a connection's last head began with it need not look at again.

use super::block::{BLOCK_BYTES, Block, Blocks, look, name_len};
use super::error::HeadError;
use super::fields::plain_field;
use super::header::Headers;
use fearless_simd::Level;

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
    seen: usize,
    /// 1 if the last byte seen is a control character.
    control: u64,
    /// Where the current line starts.
    line_start: usize,
    /// Non-empty lines that are complete.
    lines: usize,
    /// Where the start line starts: 2 after a leading CRLF, else 0.
    message_start: usize,
    /// Where the first header line starts, once the start line is complete.
    fields_start: usize,
    /// Every header line so far was plain `name: value` and has been taken apart, and there was no control character but tabs and
    /// the ends of lines.
    plain: bool,
}

/// A head that is all there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walked {
    /// Where its start line starts.
    pub(super) start: usize,
    /// Where its first header line starts.
    pub(super) fields_start: usize,
    /// The offset behind its empty line.
    pub(super) end: usize,
    /// All header lines have been taken apart, and there is no control character but tabs and the ends of lines.
    pub(super) plain: bool,
}

/// What a walk holds a head to.
#[derive(Clone, Copy)]
pub(super) struct Rules<'l> {
    pub(super) limits: &'l HeadLimits,
    /// One empty line may come first.
    pub(super) leading_crlf: bool,
}

/// An earlier head, whole.
#[derive(Clone, Copy)]
pub(super) struct Last<'b> {
    pub(super) bytes: &'b [u8],
    /// Where its start line starts.
    pub(super) start: usize,
}

impl Default for LineWalk {
    fn default() -> Self {
        Self {
            level: Level::new(),
            seen: 0,
            control: 0,
            line_start: 0,
            lines: 0,
            message_start: 0,
            fields_start: 0,
            plain: true,
        }
    }
}

impl LineWalk {
    /// Begins behind the lines that `buf` has in common with an earlier head, and keeps what they were taken apart into: a client
    /// says nearly the same in front of each of its requests. `headers` must be what such a walk has made of `last`, with
    /// nothing left to another parser.
    pub(super) fn follow(&mut self, buf: &[u8], last: Last<'_>, headers_max: usize, headers: &mut Headers) {
        if self.seen > 0 {
            return;
        }
        let same = common_bytes(buf, last.bytes);
        // All lines in front of one that begins within what is the same are the same.
        let Some(place) = headers.iter().rposition(|header| header.name.start as usize <= same) else { return };
        if place > HEADERS_MAX.min(headers_max) {
            return;
        }
        let (begin, first) = (headers[place].name.start as usize, headers[0].name.start as usize);
        headers.keep_first(place);
        *self = Self {
            seen: begin,
            line_start: begin,
            lines: place + 1,
            message_start: last.start,
            fields_start: first,
            ..*self
        };
    }

    /// Looks at the new bytes of `buf`. Returns what was found once the empty line is there; until then `headers` must be the
    /// same every time, for it is filled on the way.
    pub(super) fn advance(
        &mut self,
        buf: &[u8],
        rules: Rules<'_>,
        headers: &mut Headers,
    ) -> Result<Option<Walked>, HeadError> {
        if self.seen == 0 {
            headers.clear();
        }
        // Another list than last time: what has been taken apart is not in it.
        self.plain &= headers.len() == self.lines.saturating_sub(1);
        while let Some(new @ [_, ..]) = buf.get(self.seen..) {
            let mut blocks = Blocks::new();
            self.control = look(self.level, new, self.control, &mut blocks);
            if let Some(end) = self.ends(buf, &blocks, rules, headers)? {
                let (start, fields_start, plain) = (self.message_start, self.fields_start, self.plain);
                return Ok(Some(Walked { start, fields_start, end, plain }));
            }
        }
        if buf.len() >= rules.limits.head_bytes_max { Err(HeadError::HeadTooLong) } else { Ok(None) }
    }

    /// Takes the lines that end in the next blocks. Returns the offset behind the head if one of them is its last.
    fn ends(
        &mut self,
        buf: &[u8],
        blocks: &[Block],
        rules: Rules<'_>,
        headers: &mut Headers,
    ) -> Result<Option<usize>, HeadError> {
        let base = self.seen;
        let mut start = self.line_start;
        for (at, block) in (base..).step_by(BLOCK_BYTES).zip(blocks) {
            let mut feeds = block.feeds;
            while feeds != 0 {
                let bit = feeds.trailing_zeros();
                feeds &= feeds - 1;
                let feed = at + bit as usize;
                let Some([line @ .., b'\r']) = buf.get(start..feed) else { return Err(HeadError::BareLineFeed) };
                if line.is_empty() {
                    if self.empty_line(feed + 1, rules)? {
                        self.plain &= block.faults << (BLOCK_BYTES as u32 - 1 - bit) == 0;
                        return Ok(Some(feed + 1));
                    }
                } else {
                    // Of a line that began in bytes seen earlier, the name is looked at again.
                    let name_len = start.checked_sub(base).and_then(|from| name_len(blocks, from)).unwrap_or(0);
                    self.line(line, start, name_len, rules, headers)?;
                }
                start = feed + 1;
            }
            self.plain &= block.faults == 0;
        }
        self.line_start = start;
        self.seen = buf.len().min(base + BLOCK_BYTES * blocks.len());
        Ok(None)
    }

    /// A line that is not empty is complete; it stands at `start`.
    #[inline]
    fn line(
        &mut self,
        line: &[u8],
        start: usize,
        name_len: usize,
        rules: Rules<'_>,
        headers: &mut Headers,
    ) -> Result<(), HeadError> {
        self.lines += 1;
        if self.lines == 1 {
            self.fields_start = start + line.len() + 2;
        } else if name_len == 0 && matches!(line.first(), Some(b' ' | b'\t')) {
            return Err(HeadError::FoldedHeader);
        } else if self.lines > rules.limits.headers_max.min(HEADERS_MAX) + 1 {
            return Err(HeadError::TooManyHeaders);
        } else if self.plain {
            self.plain = plain_field(line, start, name_len, headers);
        }
        Ok(())
    }

    /// Whether the empty line before `end` ends the head; it may also come before it.
    #[cold]
    fn empty_line(&mut self, end: usize, rules: Rules<'_>) -> Result<bool, HeadError> {
        if self.lines > 0 {
            return if end > rules.limits.head_bytes_max { Err(HeadError::HeadTooLong) } else { Ok(true) };
        }
        if !rules.leading_crlf || self.message_start > 0 {
            return Err(HeadError::RequestLine);
        }
        self.message_start = end;
        Ok(false)
    }

    /// What is there of the start line. Only meaningful before the second line is complete: later it still begins
    /// with the start line.
    pub(super) fn start_line<'b>(&self, buf: &'b [u8]) -> &'b [u8] {
        buf.get(self.message_start..).unwrap_or_default()
    }

    /// Whether this walk cannot have been over `buf`: the caller began a new message without a reset.
    pub(super) fn is_stale(&self, buf: &[u8]) -> bool {
        buf.len() < self.seen
    }
}

/// How many bytes two texts begin with in common, in whole steps.
fn common_bytes(one: &[u8], other: &[u8]) -> usize {
    const STEP_BYTES: usize = 32;
    let (one, _) = one.as_chunks::<STEP_BYTES>();
    let (other, _) = other.as_chunks::<STEP_BYTES>();
    STEP_BYTES * one.iter().zip(other).take_while(|(one, other)| one == other).count()
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
