//! The ledger: who spent what, in memory, fed by closed records from the journal, at start and live.
//!
//! Invariant: it never knows anything that is not on disk; `as_of` says up to when it knows everything. What it keeps is
//! bounded: `rollup` folds old hours when there are too many cells (sums stay exact), `minutes` keeps the newest minutes,
//! `newest` the last records (packed), `changes` the last things that administrators changed, `spend` has one number per scope and day.
//! Answers come from these alone, never from the journal.
//! What counts: every record whose outcome is not `refused` is a request in a cell. Refused ones are only counted, unless they used
//! something before they were (a revoked key's stream).
//! Everything is booked at the moment a request began, since that is when its budget window was chosen; the results of a batch
//! at the moment the batch was made, on whoever made it.
//! `snapshot` writes all of it to a file from time to time, so that a start needs only the journal's tail.

mod cells;
mod grouping;
mod image;
mod minutes;
mod models;
mod newest;
mod packed;
mod query;
mod reprice;
mod rollup;
mod sink;
pub mod snapshot;
mod spend;
mod view;

#[cfg(test)]
mod tests;

pub use cells::Sums;
pub use grouping::UsageRow;
pub use image::{Detail, LedgerImage};
pub use newest::RecordFilter;
pub use query::{Dimension, UsageQuery, parse_time};
pub use reprice::{Reprice, RepricedRow};
pub use sink::{Inherit, LedgerSink};
pub use view::{AttemptView, RecordView};

use super::changes::{Change, ChangeLog};
use crate::kernel::{
    account::Scope,
    keys::Principal,
    money::Nanos,
    names::Names,
    objects::Objects,
    record::{Outcome, Record},
    sessions::SessionSpend,
    time::UnixMs,
    usage::Usage,
    window::Window,
};
use cells::{CellRef, Class};
use parking_lot::RwLock;
use rollup::HOUR_SECONDS;
use spend::{Spend, Spent};
use std::sync::Arc;

/// Cells kept before old hours are folded together; some 200 bytes each.
pub const CELLS_MAX: usize = 1_000_000;
/// Records kept for `GET /admin/v1/requests`.
pub const NEWEST_RECORDS_MAX: usize = 10_000;
/// Memory they may take, roughly; some 600 bytes each. Bytes.
pub const NEWEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Distinct model ids in cells; further ones are one, `other`, since clients choose them.
pub const MODELS_MAX: usize = 4096;
/// Minutes kept for reports by minute.
pub const MINUTES_MAX: usize = 2 * 24 * 60;
/// Cells in these minutes, at most; some 150 bytes each.
pub const MINUTE_CELLS_MAX: usize = 200_000;

/// The ledger as the journal's sink and the admin API share it. Only the journal's thread writes; readers take an image.
pub type SharedLedger = Arc<RwLock<Ledger>>;

/// Who spent what.
pub struct Ledger {
    now: LedgerImage,
    spend: Spend,
}

impl Ledger {
    /// An empty ledger. `names` resolves the numbers in records.
    pub fn new(names: Arc<Names>) -> Self {
        Self::bounded(names, CELLS_MAX)
    }

    fn bounded(names: Arc<Names>, cells_max: usize) -> Self {
        Self { now: LedgerImage::empty(names, cells_max), spend: Spend::default() }
    }

    /// As it was. Spending by day is what the cells say.
    fn restored(now: LedgerImage) -> Self {
        let mut spend = Spend::default();
        for (hour, cells) in &now.rollup.slots {
            for (key, sums) in cells.iter() {
                let (began_seconds, cost) = (hour * HOUR_SECONDS, sums.cost);
                let spent = Spent { principal: key.principal, session: &key.session, began_seconds, cost };
                spend.add(&spent, &now.names);
            }
        }
        Self { now, spend }
    }

    /// Puts it behind the lock it is shared by.
    pub fn shared(self) -> SharedLedger {
        Arc::new(RwLock::new(self))
    }

    /// What it knows at this moment, to be looked at without its lock.
    pub fn image(&self) -> LedgerImage {
        self.now.clone()
    }

    /// Books a record. The journal sees to it that each comes once.
    pub fn apply(&mut self, record: &Record) {
        let now = &mut self.now;
        now.newest.push(record);
        now.objects.apply(record);
        // A request that a revocation ended is refused, but what it used is booked like anything else.
        if record.outcome == Outcome::Refused && record.usage == Usage::default() && record.cost == Nanos::ZERO {
            now.refused += 1;
            return;
        }
        let model = if record.model_served.is_empty() { &record.model_requested } else { &record.model_served };
        let (principal, began) = record.booked();
        // What a batch came to belongs to who made it, not to the session that asked for it.
        let session = if began == record.started_at { record.session.as_str() } else { "" };
        let cell = CellRef {
            principal,
            model: now.models.place(model),
            upstream: record.upstream,
            class: Class::of(&record.usage),
            session,
        };
        let (began, sums, cost) = (began.seconds(), Sums::of(record), record.cost);
        self.spend.add(&Spent { principal, session, began_seconds: began, cost }, &now.names);
        now.minutes.add(began, cell, &sums);
        now.rollup.add(began, cell, &sums);
    }

    /// Takes note of a change that an administrator made. It books nothing.
    pub fn apply_change(&mut self, change: Change) {
        Arc::make_mut(&mut self.now.changes).push(change);
    }

    /// The changes themselves.
    pub fn change_log(&self) -> &ChangeLog {
        &self.now.changes
    }

    /// Everything sent by this moment has been booked. It goes back with the clock: what it says is about that clock.
    pub fn set_as_of(&mut self, as_of: UnixMs) {
        self.now.as_of = as_of;
    }

    /// Forgets records (not sums) of requests that ended before a moment.
    pub fn forget_records_before(&mut self, moment: UnixMs) {
        self.now.newest.forget_before(moment);
    }

    /// Refused requests, ever.
    pub fn refused(&self) -> u64 {
        self.now.refused
    }

    /// What a scope has spent on requests that began in a window. Windows begin and end at midnight UTC (`kernel::window`);
    /// a day that is partly inside counts whole.
    pub fn spent(&self, scope: &Scope, window: Window) -> Nanos {
        self.spend.spent(scope, window)
    }

    /// Everybody who ever spent something.
    pub fn spenders(&self) -> Vec<Arc<Principal>> {
        self.spend.spenders().map(|id| self.now.names.principal_of(id)).collect()
    }

    /// What sessions have spent, kept up to date with everything that is booked.
    pub fn sessions(&self) -> Arc<SessionSpend> {
        self.spend.sessions.clone()
    }

    /// Which account has which batch or file, kept up to date with everything that is booked.
    pub fn objects(&self) -> Arc<Objects> {
        self.now.objects.clone()
    }

    /// Sums by the dimensions asked for.
    #[cfg(test)]
    pub(super) fn usage(&self, query: &UsageQuery) -> Vec<UsageRow> {
        self.now.usage(query)
    }

    #[cfg(test)]
    fn requests(&self, filter: &RecordFilter) -> Vec<RecordView> {
        self.now.requests(filter)
    }
}
