//! 64 bytes of JSON as bit masks: bit `n` speaks of byte `n`.

use fearless_simd::prelude::*;
use fearless_simd::u8x64;

/// Bytes looked at together.
pub(super) const BLOCK_BYTES: usize = 64;

/// Where the bytes stand that decide where strings end.
#[derive(Clone, Copy)]
pub(super) struct Block {
    pub(super) quotes: u64,
    pub(super) backslashes: u64,
}

impl Block {
    #[inline(always)]
    pub(super) fn look<S: Simd>(simd: S, bytes: &[u8; BLOCK_BYTES]) -> Self {
        let bytes = u8x64::simd_from(simd, *bytes);
        Self { quotes: bytes.simd_eq(b'"').to_bitmask(), backslashes: bytes.simd_eq(b'\\').to_bitmask() }
    }

    /// No string begins, ends or escapes here.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        self.quotes | self.backslashes == 0
    }
}

/// Where the bytes stand that decide where containers end, inside strings too.
pub(super) struct Brackets {
    /// `[` and `{`.
    pub(super) opens: u64,
    /// `]` and `}`.
    pub(super) closes: u64,
}

impl Brackets {
    #[inline(always)]
    pub(super) fn look<S: Simd>(simd: S, bytes: &[u8; BLOCK_BYTES]) -> Self {
        // The two opening brackets differ in one bit only, and so do the closing ones; no other byte falls on them.
        let folded = u8x64::simd_from(simd, *bytes) | (b'[' ^ b'{');
        Self { opens: folded.simd_eq(b'{').to_bitmask(), closes: folded.simd_eq(b'}').to_bitmask() }
    }
}

/// What the bytes before say about the next one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Carry {
    /// 1 after a backslash that escapes.
    escaped: u64,
    /// All ones inside a string.
    in_string: u64,
}

impl Carry {
    pub(super) const IN_STRING: Self = Self { escaped: 0, in_string: u64::MAX };

    /// The next byte is escaped.
    #[inline(always)]
    pub(super) fn escapes(self) -> bool {
        self.escaped != 0
    }

    #[inline(always)]
    pub(super) fn in_string(self) -> bool {
        self.in_string != 0
    }

    /// Inside a string, and the next byte is not escaped.
    #[inline(always)]
    pub(super) fn in_plain_string(self) -> bool {
        self.in_string() && !self.escapes()
    }

    /// The quotes that no backslash escapes. Moves the escape on behind the first `len` bytes.
    #[inline(always)]
    pub(super) fn bare_quotes(&mut self, block: &Block, len: usize) -> u64 {
        let behind = block.backslashes << 1 | self.escaped;
        if block.backslashes & behind == 0 {
            // No backslash is escaped, so each escapes what stands behind it.
            self.escaped = block.backslashes >> (len - 1) & 1;
            return block.quotes & !behind;
        }
        self.bare_quotes_among_runs(block, len)
    }

    /// The same where backslashes stand beside each other. Of a run of them every second one escapes. Subtracting the run
    /// from the odd bits lets a borrow run through it, which tells runs that start on odd bits from those on even ones
    /// without walking them.
    #[inline(always)]
    fn bare_quotes_among_runs(&mut self, block: &Block, len: usize) -> u64 {
        const ODD_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;
        let may_escape = block.backslashes & !self.escaped;
        let behind = may_escape << 1;
        let codes = (behind | ODD_BITS).wrapping_sub(may_escape) ^ ODD_BITS;
        let escaped = codes ^ (block.backslashes | self.escaped);
        let escaping = codes & block.backslashes;
        self.escaped = escaping >> (len - 1) & 1;
        block.quotes & !escaped
    }

    /// The bytes inside strings, opening quotes included and closing ones not. Moves on behind the block.
    #[inline(always)]
    pub(super) fn strings(&mut self, bare_quotes: u64) -> u64 {
        let mut inside = bare_quotes;
        inside ^= inside << 1;
        inside ^= inside << 2;
        inside ^= inside << 4;
        inside ^= inside << 8;
        inside ^= inside << 16;
        inside ^= inside << 32;
        inside ^= self.in_string;
        self.in_string = 0_u64.wrapping_sub(inside >> 63);
        inside
    }
}
