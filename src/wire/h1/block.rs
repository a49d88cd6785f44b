//! 64 bytes of a head as bit masks: bit `n` speaks of byte `n`. Heads have short lines, so that looking for the end of each on its
//! own costs more than looking at all bytes in blocks.

use arrayvec::ArrayVec;
use fearless_simd::{Level, dispatch, prelude::*, u8x64};

/// Bytes looked at together.
pub(super) const BLOCK_BYTES: usize = 64;

/// The bytes that matter here.
pub(super) struct Block {
    /// Line feeds.
    pub(super) feeds: u64,
    /// What stands in nearly no header name: all but letters, digits and hyphens.
    others: u64,
    /// Line feeds behind a byte that is no control character, and other bytes behind one. Tabs and line feeds are none here.
    pub(super) faults: u64,
}

/// As many as are looked at in one go: nearly every head ends in them.
pub(super) type Blocks = ArrayVec<Block, 32>;

/// Looks at bytes up to where a head seems to end, or until there are enough blocks. `control`: 1 if the byte before is a control
/// character. Says the same of the last byte.
pub(super) fn look(level: Level, bytes: &[u8], control: u64, blocks: &mut Blocks) -> u64 {
    dispatch!(level, simd => look_with(simd, bytes, control, blocks))
}

/// How many letters, digits and hyphens stand from the byte at `from` on.
#[inline]
pub(super) fn name_len(blocks: &[Block], from: usize) -> Option<usize> {
    let mut place = from / BLOCK_BYTES;
    let mut others = blocks.get(place)?.others & u64::MAX << (from % BLOCK_BYTES);
    while others == 0 {
        place += 1;
        others = blocks.get(place)?.others;
    }
    Some(place * BLOCK_BYTES + others.trailing_zeros() as usize - from)
}

#[inline(always)]
fn look_with<S: Simd>(simd: S, bytes: &[u8], mut control: u64, blocks: &mut Blocks) -> u64 {
    let (whole, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let mut feeds_before = 0;
    for bytes in whole.iter().take(blocks.capacity()) {
        let (block, controls) = Block::look(simd, bytes, control);
        control = controls >> 63;
        // Two line feeds with one byte between them: an empty line, most likely.
        let pairs = block.feeds & (block.feeds << 2 | feeds_before >> 62);
        feeds_before = block.feeds;
        blocks.push(block);
        if pairs != 0 {
            return control;
        }
    }
    if !rest.is_empty() && !blocks.is_full() {
        // Filled up with what ends neither a name nor a line.
        let mut last = [b'-'; BLOCK_BYTES];
        last[..rest.len()].copy_from_slice(rest);
        let (mut block, controls) = Block::look(simd, &last, control);
        control = controls >> (rest.len() - 1) & 1;
        // What is behind the last byte has not come yet.
        block.faults &= (1 << rest.len()) - 1;
        blocks.push(block);
    }
    control
}

impl Block {
    /// Gives the control characters too.
    #[inline(always)]
    fn look<S: Simd>(simd: S, block: &[u8; BLOCK_BYTES], control: u64) -> (Self, u64) {
        let bytes = u8x64::simd_from(simd, *block);
        let letters = ((bytes | 0x20) - b'a').simd_lt(26);
        let digits = (bytes - b'0').simd_lt(10);
        let others = !(letters | digits | bytes.simd_eq(b'-')).to_bitmask();
        let feeds = bytes.simd_eq(b'\n').to_bitmask();
        let below = bytes.simd_lt(b' ').to_bitmask() & !bytes.simd_eq(b'\t').to_bitmask();
        let controls = below & !feeds | bytes.simd_eq(0x7f).to_bitmask();
        (Self { feeds, others, faults: (controls << 1 | control) ^ feeds }, controls)
    }
}
