//! Skipping what lies inside values: the hot loop of every upload.
//!
//! Prompts are source code, with an escape every few bytes. Looking for the next quote or backslash costs a call per
//! escape; blocks of 64 bytes cost nearly the same whatever strings stand in them. The widest vectors of the machine
//! are chosen at run time.
//!
//! Checked are strings and brackets, and that no backslash stands outside of strings. With one there, the masks would
//! see another quote than a walk byte by byte does; the first one is always seen, because all before it is right.

use fearless_simd::{Level, dispatch, prelude::*};

use super::block::{BLOCK_BYTES, Block, Carry};
use super::nesting::Nesting;

/// So many bytes of a string are looked at one by one before blocks are.
const SHORT_BYTES: usize = 24;

/// What a container may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// One container too many inside each other.
    TooDeep,
    /// A bracket closed by one of the other kind.
    Mismatched,
    /// A backslash outside of strings: readers disagree about a quote behind it.
    Backslash,
}

/// Where a walk stops: behind the byte that ends the value, or behind the one that is flawed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) len: usize,
    pub(super) flaw: Option<Flaw>,
}

impl Stop {
    #[inline(always)]
    fn behind(bit: u32, flaw: Option<Flaw>) -> Self {
        Self { len: bit as usize + 1, flaw }
    }
}

/// Where the walk stands inside one value, resumable at any byte.
#[derive(Clone, Debug)]
pub(super) struct Inside {
    /// The vectors this machine has.
    level: Level,
    carry: Carry,
    nesting: Nesting,
}

impl Inside {
    pub(super) fn new(level: Level) -> Self {
        Self { level, carry: Carry::default(), nesting: Nesting::default() }
    }

    /// Enters a string or a key, behind its quote.
    pub(super) fn enter_string(&mut self) {
        self.carry = Carry::IN_STRING;
    }

    /// Enters a container, behind its bracket.
    pub(super) fn enter_container(&mut self, is_object: bool) {
        self.carry = Carry::default();
        self.nesting = Nesting::of(is_object);
    }

    /// Walks to the quote that ends the string. `None` when it does not end in `bytes`.
    pub(super) fn string_end(&mut self, bytes: &[u8]) -> Option<usize> {
        // Keys and most values at the top level end before a block has been loaded.
        if !self.carry.escapes() {
            let first = bytes.iter().take(SHORT_BYTES).position(|byte| matches!(byte, b'"' | b'\\'));
            if let Some(len) = first.filter(|at| bytes.get(*at) == Some(&b'"')) {
                return Some(len + 1);
            }
        }
        let stop = dispatch!(self.level, simd => self.walk(bytes, #[inline(always)] |inside, block, len| {
            inside.string_block(simd, block, len)
        }));
        stop.map(|stop| stop.len)
    }

    /// Walks to the bracket that ends the outermost container, or to a flaw. `None` when neither is in `bytes`.
    pub(super) fn container_end(&mut self, bytes: &[u8]) -> Option<Stop> {
        dispatch!(self.level, simd => self.walk(bytes, #[inline(always)] |inside, block, len| {
            inside.container_block(simd, block, len)
        }))
    }

    /// Takes the bytes block by block, the last one filled up with spaces, until `step` stops.
    #[inline(always)]
    fn walk(
        &mut self,
        bytes: &[u8],
        mut step: impl FnMut(&mut Self, &[u8; BLOCK_BYTES], usize) -> Option<Stop>,
    ) -> Option<Stop> {
        let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
        for (n, block) in blocks.iter().enumerate() {
            if let Some(stop) = step(self, block, BLOCK_BYTES) {
                return Some(Stop { len: n * BLOCK_BYTES + stop.len, ..stop });
            }
        }
        if rest.is_empty() {
            return None;
        }
        let mut last = [b' '; BLOCK_BYTES];
        last.get_mut(..rest.len())?.copy_from_slice(rest);
        let stop = step(self, &last, rest.len())?;
        Some(Stop { len: blocks.len() * BLOCK_BYTES + stop.len, ..stop })
    }

    #[inline(always)]
    fn string_block<S: Simd>(&mut self, simd: S, bytes: &[u8; BLOCK_BYTES], len: usize) -> Option<Stop> {
        let quotes = self.carry.bare_quotes(&Block::look(simd, bytes), len);
        (quotes != 0).then(|| Stop::behind(quotes.trailing_zeros(), None))
    }

    #[inline(always)]
    fn container_block<S: Simd>(&mut self, simd: S, bytes: &[u8; BLOCK_BYTES], len: usize) -> Option<Stop> {
        let block = Block::look(simd, bytes);
        let quotes = self.carry.bare_quotes(&block, len);
        if quotes == 0 && self.carry.in_string() {
            return None;
        }
        let outside = !self.carry.strings(quotes);
        let mut marks = (block.opens | block.closes | block.backslashes) & outside;
        while marks != 0 {
            let bit = marks.trailing_zeros();
            marks &= marks - 1;
            let is_object = bytes.get(bit as usize).is_some_and(|byte| byte & b' ' != 0);
            let flaw = if block.opens >> bit & 1 == 1 {
                self.nesting.open(is_object).is_none().then_some(Flaw::TooDeep)
            } else if block.closes >> bit & 1 == 1 {
                self.nesting.close(is_object).is_none().then_some(Flaw::Mismatched)
            } else {
                Some(Flaw::Backslash)
            };
            if flaw.is_some() || self.nesting.is_closed() {
                return Some(Stop::behind(bit, flaw));
            }
        }
        None
    }
}
