//! Skipping what lies inside values: the hot loop of every upload.
//!
//! Prompts are source code, with an escape every few bytes. Looking for the next quote or backslash costs a call per
//! escape; blocks of 64 bytes cost nearly the same whatever strings stand in them. The widest vectors of the machine
//! are chosen at run time.
//!
//! Checked are strings and brackets, and that no backslash stands outside of strings. With one there, the masks would
//! see another quote than a walk byte by byte does; the first one is always seen, because all before it is right.

use fearless_simd::{Level, dispatch, prelude::*, u8x32};

use super::block::{BLOCK_BYTES, Block, Brackets, Carry};
use super::nesting::Nesting;

/// So many bytes of a string are looked at before blocks are.
const SHORT_BYTES: usize = 32;

/// So many blocks are walked before it is seen whether plain text goes on from here. Asking at each would cost dense text
/// more, by branches that cannot be foreseen, than it saves.
const BLOCKS_A_TURN: usize = 16;

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

    /// The same, counted from some blocks before.
    #[inline(always)]
    fn after(self, blocks: usize) -> Self {
        Self { len: blocks * BLOCK_BYTES + self.len, ..self }
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
        self.nesting.begin(is_object);
    }

    /// Walks to the quote that ends the string. `None` when it does not end in `bytes`.
    pub(super) fn string_end(&mut self, bytes: &[u8]) -> Option<usize> {
        if !self.carry.escapes()
            && let Some(len) = short_string_end(bytes)
        {
            return Some(len);
        }
        let Self { level, carry, .. } = self;
        let stop = dispatch!(*level, simd => walk(simd, carry, bytes, #[inline(always)] |carry, _, block, len| {
            string_block(carry, block, len)
        }));
        stop.map(|stop| stop.len)
    }

    /// Walks to the bracket that ends the outermost container, or to a flaw. `None` when neither is in `bytes`.
    pub(super) fn container_end(&mut self, bytes: &[u8]) -> Option<Stop> {
        let Self { level, carry, nesting } = self;
        dispatch!(*level, simd => walk(simd, carry, bytes, #[inline(always)] |carry, bytes, block, len| {
            container_block(simd, carry, nesting, bytes, block, len)
        }))
    }
}

/// Takes the bytes block by block, the last one filled up with spaces, until `step` stops.
#[inline(always)]
fn walk<S: Simd>(
    simd: S,
    carry: &mut Carry,
    bytes: &[u8],
    mut step: impl FnMut(&mut Carry, &[u8; BLOCK_BYTES], Block, usize) -> Option<Stop>,
) -> Option<Stop> {
    // A copy, which stays in registers.
    let mut at = *carry;
    let (blocks, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let mut left = blocks;
    while !left.is_empty() {
        if at.in_plain_string() {
            left = left.get(plain_blocks(simd, left)..).unwrap_or_default();
        }
        let (turn, after) = left.split_at(left.len().min(BLOCKS_A_TURN));
        for (n, bytes) in turn.iter().enumerate() {
            if let Some(stop) = step(&mut at, bytes, Block::look(simd, bytes), BLOCK_BYTES) {
                return Some(stop.after(blocks.len() - left.len() + n));
            }
        }
        left = after;
    }
    let mut stop = None;
    if !rest.is_empty() {
        let mut last = [b' '; BLOCK_BYTES];
        last.get_mut(..rest.len())?.copy_from_slice(rest);
        stop = step(&mut at, &last, Block::look(simd, &last), rest.len()).map(|stop| stop.after(blocks.len()));
    }
    *carry = at;
    stop
}

#[inline(always)]
fn string_block(carry: &mut Carry, block: Block, len: usize) -> Option<Stop> {
    let quotes = carry.bare_quotes(&block, len);
    (quotes != 0).then(|| Stop::behind(quotes.trailing_zeros(), None))
}

#[inline(always)]
fn container_block<S: Simd>(
    simd: S,
    carry: &mut Carry,
    nesting: &mut Nesting,
    bytes: &[u8; BLOCK_BYTES],
    block: Block,
    len: usize,
) -> Option<Stop> {
    let quotes = carry.bare_quotes(&block, len);
    if quotes == 0 && carry.in_string() {
        return None;
    }
    let brackets = Brackets::look(simd, bytes);
    let outside = !carry.strings(quotes);
    let mut marks = (brackets.opens | brackets.closes | block.backslashes) & outside;
    while marks != 0 {
        let bit = marks.trailing_zeros();
        marks &= marks - 1;
        let is_object = bytes.get(bit as usize).is_some_and(|byte| byte & b' ' != 0);
        let flaw = if brackets.opens >> bit & 1 == 1 {
            nesting.open(is_object).is_none().then_some(Flaw::TooDeep)
        } else if brackets.closes >> bit & 1 == 1 {
            nesting.close(is_object).is_none().then_some(Flaw::Mismatched)
        } else {
            Some(Flaw::Backslash)
        };
        if flaw.is_some() || nesting.is_closed() {
            return Some(Stop::behind(bit, flaw));
        }
    }
    None
}

/// How many blocks there are before one in which a string could end or something is escaped.
#[inline(always)]
fn plain_blocks<S: Simd>(simd: S, blocks: &[[u8; BLOCK_BYTES]]) -> usize {
    let mut plain = 0;
    for block in blocks {
        if !Block::look(simd, block).is_plain() {
            break;
        }
        plain += 1;
    }
    plain
}

/// The end of a string of a few bytes, as keys and most values at the top level are, with the vectors that every machine
/// has: choosing wider ones would take longer than looking. `None` if it is longer, escaped, or not all there.
#[inline]
pub(super) fn short_string_end(bytes: &[u8]) -> Option<usize> {
    let len = match bytes.first_chunk::<SHORT_BYTES>() {
        Some(first) => dispatch!(Level::baseline(), simd => {
            let first = u8x32::simd_from(simd, *first);
            (first.simd_eq(b'"') | first.simd_eq(b'\\')).to_bitmask().trailing_zeros() as usize
        }),
        None => bytes.iter().position(|byte| matches!(byte, b'"' | b'\\'))?,
    };
    (bytes.get(len) == Some(&b'"') && len < SHORT_BYTES).then_some(len + 1)
}
