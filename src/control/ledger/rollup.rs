//! Cells by hour, principal, session, model, upstream and class. When there are more than `cells_max`, the oldest hours lose
//! their sessions, and after that the oldest days their hours: sums over anything else stay exact.

use super::cells::{CellRef, Slots, Sums, put};

/// Seconds in a slot.
pub(super) const HOUR_SECONDS: i64 = 3600;
const DAY_HOURS: i64 = 24;

/// All hours.
#[derive(Clone)]
pub(super) struct Rollup {
    pub slots: Slots,
    pub folds: Folds,
    cells: usize,
    cells_max: usize,
}

/// What has been folded, and when it is next looked at. The same records in the same order give the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Folds {
    /// Fold when there are more cells than this.
    pub at: usize,
    /// Hours before this one have no sessions any more.
    pub sessions_before: i64,
    /// Hours before this one stand at their day's first hour.
    pub hours_before: i64,
}

impl Rollup {
    pub fn new(cells_max: usize) -> Self {
        let folds = Folds { at: cells_max, sessions_before: i64::MIN, hours_before: i64::MIN };
        Self::restored(cells_max, Slots::new(), folds)
    }

    /// As it was.
    pub fn restored(cells_max: usize, slots: Slots, folds: Folds) -> Self {
        Self { cells: slots.values().map(|cells| cells.len()).sum(), slots, folds, cells_max }
    }

    pub fn add(&mut self, began_seconds: i64, cell: CellRef<'_>, sums: &Sums) {
        self.cells += usize::from(put(&mut self.slots, began_seconds.div_euclid(HOUR_SECONDS), cell, sums));
        if self.cells > self.folds.at {
            self.fold();
        }
    }

    /// Makes room, down to nine tenths, so that it is not done again at once.
    fn fold(&mut self) {
        let target = self.cells_max / 10 * 9;
        let Some(newest) = self.slots.keys().next_back().copied() else { return };
        let past: Vec<i64> = self.slots.range(..newest).map(|(hour, _)| *hour).collect();
        for hour in &past {
            if self.cells > target {
                self.refile(*hour, *hour);
                self.folds.sessions_before = self.folds.sessions_before.max(hour + 1);
            }
        }
        for hour in past {
            let day = hour.div_euclid(DAY_HOURS) * DAY_HOURS;
            if self.cells > target && hour.div_euclid(DAY_HOURS) != newest.div_euclid(DAY_HOURS) {
                if hour != day {
                    self.refile(hour, day);
                }
                self.folds.hours_before = self.folds.hours_before.max(hour + 1);
            }
        }
        self.folds.at = self.cells_max.max(self.cells + self.cells / 4);
        tracing::info!(cells = self.cells, "the ledger has folded its oldest hours");
    }

    /// Books an hour's cells again, without their sessions, at `to`.
    fn refile(&mut self, from: i64, to: i64) {
        let cells = self.slots.remove(&from).unwrap_or_default();
        self.cells -= cells.len();
        for (key, sums) in cells.iter() {
            let cell = CellRef { session: "", ..key.as_ref() };
            self.cells += usize::from(put(&mut self.slots, to, cell, sums));
        }
    }

    pub fn cells(&self) -> usize {
        self.cells
    }

    pub fn cells_max(&self) -> usize {
        self.cells_max
    }
}
