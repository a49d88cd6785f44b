//! From the journal to everybody who counts.

use super::SharedLedger;
use crate::{
    control::{changes::Change, journal::Sink},
    kernel::{names::Names, record::Record, time::UnixMs},
    observe::metrics::Metrics,
};
use std::sync::Arc;

/// Books flushed records in the ledger and in the metrics.
pub struct LedgerSink {
    ledger: SharedLedger,
    metrics: Arc<Metrics>,
    names: Arc<Names>,
}

impl LedgerSink {
    /// A sink for `Journal::start`.
    pub fn new(ledger: SharedLedger, metrics: Arc<Metrics>, names: Arc<Names>) -> Self {
        Self { ledger, metrics, names }
    }
}

impl Sink for LedgerSink {
    fn flushed(&mut self, closes: &[Record], as_of: UnixMs) {
        for record in closes {
            self.metrics.observe_close(record, &self.names);
        }
        let mut ledger = self.ledger.write();
        closes.iter().for_each(|record| ledger.apply(record));
        ledger.set_as_of(as_of);
    }

    fn changed(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            let mut ledger = self.ledger.write();
            changes.iter().for_each(|change| ledger.apply_change(change.clone()));
        }
    }
}
