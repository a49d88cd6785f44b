//! The ledger at one moment. Taking an image is cheap, since it shares what it shows with the ledger, and whoever holds one
//! holds no lock: neither an answer over a million cells nor a snapshot on its way to disk keeps the journal's thread waiting.

use super::{
    Dimension, NEWEST_BYTES_MAX, NEWEST_RECORDS_MAX, RecordFilter, RecordView, UsageQuery, UsageRow,
    cells::Slots,
    grouping::{self, Naming},
    minutes::{MINUTE_SECONDS, Minutes},
    models::Models,
    newest::Newest,
    rollup::{Folds, HOUR_SECONDS, Rollup},
};
use crate::{
    control::changes::{ChangeFilter, ChangeLog, ChangeView},
    kernel::{names::Names, objects::Objects, time::UnixMs},
};
use serde::Serialize;
use std::sync::Arc;

/// The ledger, as it was.
#[derive(Clone)]
pub struct LedgerImage {
    pub(super) names: Arc<Names>,
    pub(super) models: Models,
    pub(super) rollup: Rollup,
    pub(super) minutes: Minutes,
    pub(super) newest: Newest,
    pub(super) changes: Arc<ChangeLog>,
    /// Not as it was but as it is: the journal may say again of an object what is known already.
    pub(super) objects: Arc<Objects>,
    pub(super) refused: u64,
    pub(super) as_of: UnixMs,
}

/// How finely the ledger still knows the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// Cells in use.
    pub cells: usize,
    /// Cells before the oldest hours are folded together.
    pub cells_max: usize,
    /// Requests that began before this (RFC 3339) are in every sum, but under no session; null if all have theirs.
    pub sessions_since: Option<String>,
    /// Requests that began before this (RFC 3339) stand at the first hour of their day; null if all have their hour.
    pub hours_since: Option<String>,
}

impl LedgerImage {
    /// Of nothing.
    pub(super) fn empty(names: Arc<Names>, cells_max: usize) -> Self {
        Self {
            names,
            models: Models::default(),
            rollup: Rollup::new(cells_max),
            minutes: Minutes::default(),
            newest: Newest::new(NEWEST_RECORDS_MAX, NEWEST_BYTES_MAX),
            changes: Arc::default(),
            objects: Arc::default(),
            refused: 0,
            as_of: UnixMs(0),
        }
    }

    /// Up to when it knows everything.
    pub fn as_of(&self) -> UnixMs {
        self.as_of
    }

    /// Sums by the dimensions asked for. By minute only the newest minutes are known: see `minutes_since`.
    pub fn usage(&self, query: &UsageQuery) -> Vec<UsageRow> {
        let (slots, seconds): (&Slots, i64) = match query.group_by.contains(&Dimension::Minute) {
            true => (&self.minutes.slots, MINUTE_SECONDS),
            false => (&self.rollup.slots, HOUR_SECONDS),
        };
        grouping::usage(slots, seconds, query, &Naming { names: &self.names, models: &self.models })
    }

    /// From which Unix second on usage is known by minute.
    pub fn minutes_since(&self) -> i64 {
        self.minutes.gone_before.saturating_mul(MINUTE_SECONDS)
    }

    /// How finely it knows the past.
    pub fn detail(&self) -> Detail {
        let Folds { sessions_before, hours_before, .. } = self.rollup.folds;
        let time = |hour: i64| {
            let seconds = hour.checked_mul(HOUR_SECONDS)?;
            Some(UnixMs(u64::try_from(seconds).ok()? * 1000).rfc3339())
        };
        Detail {
            cells: self.rollup.cells(),
            cells_max: self.rollup.cells_max(),
            sessions_since: time(sessions_before),
            hours_since: time(hours_before),
        }
    }

    /// The newest records that a filter lets through, newest first.
    pub fn requests(&self, filter: &RecordFilter) -> Vec<RecordView> {
        self.newest.find(filter, &self.names)
    }

    /// The newest changes that a filter lets through, newest first.
    pub fn changes(&self, filter: &ChangeFilter) -> Vec<ChangeView> {
        self.changes.find(filter).map(ChangeView::of).collect()
    }

    /// The changes themselves.
    pub fn change_log(&self) -> &ChangeLog {
        &self.changes
    }

    /// From which Unix second on usage is known by hour.
    pub fn hours_since(&self) -> i64 {
        self.rollup.folds.hours_before.saturating_mul(HOUR_SECONDS)
    }
}
