//! The open brackets of a nested value, one bit each.

/// Deepest nesting that is followed, the top-level object not counted.
pub(super) const DEPTH_MAX: usize = 512;

/// A stack of bracket kinds.
#[derive(Clone, Debug, Default)]
pub(super) struct Nesting {
    depth: usize,
    objects: [u64; DEPTH_MAX / 64],
}

impl Nesting {
    /// One open container.
    pub(super) fn of(is_object: bool) -> Self {
        let mut nesting = Self::default();
        // The first one always has room.
        let _ = nesting.open(is_object);
        nesting
    }

    /// Opens a container. `None` when it is one too many.
    #[inline]
    pub(super) fn open(&mut self, is_object: bool) -> Option<()> {
        let word = self.objects.get_mut(self.depth / 64)?;
        let bit = 1_u64 << (self.depth % 64);
        *word = if is_object { *word | bit } else { *word & !bit };
        self.depth += 1;
        Some(())
    }

    /// Closes the innermost container. `None` when it is of the other kind.
    #[inline]
    pub(super) fn close(&mut self, is_object: bool) -> Option<()> {
        self.depth = self.depth.saturating_sub(1);
        let word = self.objects.get(self.depth / 64).copied().unwrap_or_default();
        ((word >> (self.depth % 64) & 1 == 1) == is_object).then_some(())
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.depth == 0
    }
}
