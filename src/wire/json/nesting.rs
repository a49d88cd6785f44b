//! The open brackets of a nested value, one bit each.

/// Deepest nesting that is followed, the top-level object not counted.
pub(super) const DEPTH_MAX: usize = 512;

/// A stack of bracket kinds.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    depth: usize,
    /// The innermost containers, the last one in the lowest bit: a word of its own stays in a register.
    innermost: u64,
    /// The same of each 64 further out.
    outer: [u64; DEPTH_MAX / 64],
}

impl Nesting {
    /// One open container. What lies further out is written before it is read.
    pub(super) fn begin(&mut self, is_object: bool) {
        (self.depth, self.innermost) = (1, u64::from(is_object));
    }

    /// Opens a container. `None` when it is one too many.
    #[inline(always)]
    pub(super) fn open(&mut self, is_object: bool) -> Option<()> {
        if self.depth.is_multiple_of(64) {
            *self.outer.get_mut(self.depth / 64)? = self.innermost;
        }
        self.innermost = self.innermost << 1 | u64::from(is_object);
        self.depth += 1;
        Some(())
    }

    /// Closes the innermost container. `None` when it is of the other kind.
    #[inline(always)]
    pub(super) fn close(&mut self, is_object: bool) -> Option<()> {
        let was_object = self.innermost & 1 == 1;
        self.innermost >>= 1;
        self.depth = self.depth.saturating_sub(1);
        if self.depth.is_multiple_of(64) {
            self.innermost = self.outer.get(self.depth / 64).copied().unwrap_or_default();
        }
        (was_object == is_object).then_some(())
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.depth == 0
    }
}
