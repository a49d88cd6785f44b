//! The ledger: who spent what, in memory, fed by closed records from the journal, at start and live.
//!
//! Invariant: it never knows anything that is not on disk; `as_of` says up to when it knows everything. What it keeps is
//! bounded: `rollup` folds old hours when there are too many rows (sums stay exact), `newest` keeps the last records only, as
//! `changes` does with what administrators changed, `spend` has one number per scope and day.
//! What counts: every record whose outcome is not `refused` is a request in a row. Refused ones are only counted, unless they used
//! something before they were (a revoked key's stream).
//! Everything is booked at the moment a request began, since that is when its budget window was chosen.

mod newest;
mod query;
mod reprice;
mod rollup;
mod sink;
mod spend;
mod view;

#[cfg(test)]
mod tests;

pub use newest::RecordFilter;
pub use query::{Dimension, UsageQuery, parse_time};
pub use reprice::{Reprice, RepricedRow};
pub use rollup::{Sums, UsageRow};
pub use sink::LedgerSink;
pub use view::{AttemptView, RecordView};

use super::changes::{Change, ChangeFilter, ChangeLog, ChangeView};
use crate::kernel::{
    account::Scope,
    money::Nanos,
    names::Names,
    record::{Outcome, Record},
    time::UnixMs,
    usage::Usage,
    window::Window,
};
use newest::Newest;
use parking_lot::RwLock;
use rollup::Rollup;
use spend::Spend;
use std::sync::Arc;

/// Rows kept before old hours are folded together.
pub const ROWS_MAX: usize = 1_000_000;
/// Records kept for `GET /admin/v1/requests`.
pub const NEWEST_RECORDS_MAX: usize = 10_000;
/// Distinct model ids in rows; further ones are one, `other`, since clients choose them.
pub const MODELS_MAX: usize = 4096;

/// The ledger as the journal's sink and the admin API share it.
pub type SharedLedger = Arc<RwLock<Ledger>>;

/// Who spent what.
pub struct Ledger {
    names: Arc<Names>,
    rollup: Rollup,
    spend: Spend,
    newest: Newest,
    changes: ChangeLog,
    refused: u64,
    as_of: UnixMs,
}

impl Ledger {
    /// An empty ledger. `names` resolves the numbers in records.
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            rollup: Rollup::new(ROWS_MAX),
            spend: Spend::default(),
            newest: Newest::new(NEWEST_RECORDS_MAX),
            changes: ChangeLog::default(),
            refused: 0,
            as_of: UnixMs(0),
        }
    }

    /// Puts it behind the lock it is shared by.
    pub fn shared(self) -> SharedLedger {
        Arc::new(RwLock::new(self))
    }

    /// Books a record. The journal sees to it that each comes once.
    pub fn apply(&mut self, record: &Record) {
        self.newest.push(record);
        self.spend.add(record, &self.names);
        // A request that a revocation ended is refused, but what it used is booked like anything else.
        if record.outcome == Outcome::Refused && record.usage == Usage::default() {
            self.refused += 1;
        } else {
            self.rollup.add(record);
        }
    }

    /// Takes note of a change that an administrator made. It books nothing.
    pub fn apply_change(&mut self, change: Change) {
        self.changes.push(change);
    }

    /// The newest changes that a filter lets through, newest first.
    pub fn changes(&self, filter: &ChangeFilter) -> Vec<ChangeView> {
        self.changes.find(filter).map(ChangeView::of).collect()
    }

    /// The changes themselves.
    pub fn change_log(&self) -> &ChangeLog {
        &self.changes
    }

    /// Everything sent by this moment has been booked.
    pub fn set_as_of(&mut self, as_of: UnixMs) {
        self.as_of = self.as_of.max(as_of);
    }

    /// Up to when the ledger knows everything.
    pub fn as_of(&self) -> UnixMs {
        self.as_of
    }

    /// Refused requests, ever.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Sums by the dimensions asked for.
    pub fn usage(&self, query: &UsageQuery) -> Vec<UsageRow> {
        self.rollup.usage(query, &self.names)
    }

    /// What a scope has spent on requests that began in a window. Windows begin and end at midnight UTC (`kernel::window`);
    /// a day that is partly inside counts whole.
    pub fn spent(&self, scope: &Scope, window: Window) -> Nanos {
        self.spend.spent(scope, window)
    }

    /// The newest records that a filter lets through, newest first.
    pub fn requests(&self, filter: &RecordFilter) -> Vec<RecordView> {
        self.newest.find(filter, &self.names)
    }
}
