//! The newest minutes, for reports that want buckets of one minute. Without sessions; the oldest minutes leave when there are
//! too many or too many cells in them, since their hours know the same sums.

use super::{
    MINUTE_CELLS_MAX, MINUTES_MAX,
    cells::{CellRef, Slots, Sums, put},
};

/// Seconds in a slot.
pub(super) const MINUTE_SECONDS: i64 = 60;

/// The newest minutes.
#[derive(Clone, Default)]
pub(super) struct Minutes {
    pub slots: Slots,
    /// Minutes before this one have left.
    pub gone_before: i64,
    cells: usize,
}

impl Minutes {
    /// As they were.
    pub fn restored(slots: Slots, gone_before: i64) -> Self {
        Self { cells: slots.values().map(|cells| cells.len()).sum(), slots, gone_before }
    }

    pub fn add(&mut self, began_seconds: i64, cell: CellRef<'_>, sums: &Sums) {
        let minute = began_seconds.div_euclid(MINUTE_SECONDS);
        // A request that ends long after it began must not come back as the only one of its minute.
        if minute < self.gone_before {
            return;
        }
        self.cells += usize::from(put(&mut self.slots, minute, CellRef { session: "", ..cell }, sums));
        while self.slots.len() > MINUTES_MAX || (self.cells > MINUTE_CELLS_MAX && self.slots.len() > 1) {
            let Some((oldest, cells)) = self.slots.pop_first() else { break };
            self.cells -= cells.len();
            self.gone_before = oldest + 1;
        }
    }
}
