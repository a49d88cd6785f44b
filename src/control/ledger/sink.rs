//! From the journal to everybody who counts.

use super::{SharedLedger, snapshot::Keeper};
use crate::{
    control::{
        changes::Change,
        journal::{JournalState, Sink},
    },
    kernel::{names::Names, record::Record, time::UnixMs},
    observe::metrics::Metrics,
};
use std::sync::Arc;

/// Books flushed records in the ledger and in the metrics, and has snapshots of the ledger written.
pub struct LedgerSink {
    ledger: SharedLedger,
    metrics: Arc<Metrics>,
    names: Arc<Names>,
    keeper: Option<Keeper>,
}

impl LedgerSink {
    /// A sink for `Journal::start`. Without a keeper no snapshots are written.
    pub fn new(ledger: SharedLedger, metrics: Arc<Metrics>, names: Arc<Names>, keeper: Option<Keeper>) -> Self {
        Self { ledger, metrics, names, keeper }
    }
}

impl Sink for LedgerSink {
    fn flushed(&mut self, closes: &[Arc<Record>], as_of: UnixMs) {
        self.metrics.observe(closes.iter().map(AsRef::as_ref), &self.names);
        let mut ledger = self.ledger.write();
        closes.iter().for_each(|record| ledger.apply_shared(record));
        ledger.set_as_of(as_of);
    }

    fn changed(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            let mut ledger = self.ledger.write();
            changes.iter().for_each(|change| ledger.apply_change(change.clone()));
        }
    }

    fn wants_state(&mut self, bytes_since: u64) -> bool {
        self.keeper.as_ref().is_some_and(|keeper| keeper.is_due(bytes_since))
    }

    fn state(&mut self, state: JournalState) {
        if let Some(keeper) = &mut self.keeper {
            // Nobody else writes the ledger, so it stands where the journal does.
            keeper.write(self.ledger.read().image(), state);
        }
    }

    fn stopped(&mut self, state: JournalState) {
        if let Some(keeper) = &mut self.keeper {
            keeper.stopped(&self.ledger.read().image(), &state);
        }
    }
}
