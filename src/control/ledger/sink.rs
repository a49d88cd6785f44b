//! From the journal to everybody who counts.

use super::{SharedLedger, snapshot::Keeper};
use crate::{
    control::{
        cache_health::SharedCacheHealth,
        changes::Change,
        journal::{JournalState, Sink},
    },
    kernel::{names::Names, record::Record, time::UnixMs},
    observe::metrics::Metrics,
};
use std::sync::Arc;

/// Books flushed records in the ledger, in the metrics and in the book of caches, and has snapshots of the ledger written.
pub struct LedgerSink {
    ledger: SharedLedger,
    metrics: Arc<Metrics>,
    names: Arc<Names>,
    keeper: Option<Keeper>,
    inherit: Option<Inherit>,
    caches: Option<SharedCacheHealth>,
}

/// Who is told of what a process before this one has spent: the name of its side chain, its records, and whether they are its last.
pub type Inherit = Box<dyn FnMut(&str, &[Box<Record>], bool) + Send>;

impl LedgerSink {
    /// A sink for `Journal::start`. Without a keeper no snapshots are written.
    pub fn new(ledger: SharedLedger, metrics: Arc<Metrics>, names: Arc<Names>, keeper: Option<Keeper>) -> Self {
        Self { ledger, metrics, names, keeper, inherit: None, caches: None }
    }

    /// Also tells somebody of records that are of a process before this one, before they are booked.
    pub fn inheriting(self, inherit: Inherit) -> Self {
        Self { inherit: Some(inherit), ..self }
    }

    /// The same, which shows this book every record, too.
    pub fn watching(mut self, caches: SharedCacheHealth) -> Self {
        self.caches = Some(caches);
        self
    }
}

impl Sink for LedgerSink {
    fn flushed(&mut self, closes: &[Box<Record>], as_of: UnixMs) {
        let mut caches = self.caches.as_ref().map(|caches| caches.lock());
        let mut ledger = self.ledger.write();
        let mut count = self.metrics.count(&self.names);
        // One look at each record: a flush has more of them than fit in the processor's cache.
        for record in closes {
            count.add(record);
            if let Some(loss) = caches.as_mut().and_then(|caches| caches.apply(record)) {
                self.metrics.observe_cache_loss(loss.cause.as_str(), loss.tokens, loss.cost);
            }
            ledger.apply(record);
        }
        count.end();
        ledger.set_as_of(as_of);
        drop(ledger);
        if let Some(caches) = &mut caches {
            caches.say(as_of);
        }
    }

    fn changed(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            if let Some(caches) = &self.caches {
                let mut caches = caches.lock();
                changes.iter().for_each(|change| caches.changed(change));
            }
            let mut ledger = self.ledger.write();
            changes.iter().for_each(|change| ledger.apply_change(change.clone()));
        }
    }

    fn inherited(&mut self, side: &str, closes: &[Box<Record>], done: bool) {
        if let Some(inherit) = &mut self.inherit {
            inherit(side, closes, done);
        }
    }

    fn retired(&mut self, back: bool) {
        if let Some(keeper) = &mut self.keeper {
            keeper.rest(!back);
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
