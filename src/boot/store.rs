//! The store: taking it, reading back what is in it, and what was left there by whoever had it before.

use super::{BootError, changes::Left, handover::Inherited, other};
use crate::{
    control::{
        config::Config,
        journal::{DiskStorage, Journal, JournalOptions, Replay, Store},
        ledger::{
            Ledger, SharedLedger,
            snapshot::{self, Keeper},
        },
    },
    kernel::{names::Names, record::Record, time::UnixMs},
    sys::clock,
};
use parking_lot::RwLock;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How often something that takes long says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// A store that has been read back.
pub(super) struct Opened {
    pub journal: Journal,
    pub ledger: SharedLedger,
    pub keeper: Keeper,
    pub left: Left,
}

/// Opens the store of a configuration, or the one that the process before this gave away.
pub(super) fn open(config: &Config, names: &Arc<Names>, inherited: Option<Inherited>) -> Result<Opened, BootError> {
    let began = Instant::now();
    let replaces = inherited.as_ref().map(|inherited| inherited.side.clone());
    let store = match inherited.and_then(|inherited| inherited.store) {
        Some(store) => store,
        None => Store::take(&config.store.path).map_err(|e| other("cannot open the store", e))?,
    };
    let restored = snapshot::load(&store, names);
    let keeper = Keeper::new(store.directory(), restored.as_ref());
    let (mut ledger, resume) = match restored {
        Some(restored) => (restored.ledger, Some(restored.resume)),
        None => (Ledger::new(names.clone()), None),
    };
    let (from_snapshot, snapshot_ms) = (resume.is_some(), began.elapsed().as_millis() as u64);
    let keep_ms = config.audit.retention.as_millis().min(u128::from(u64::MAX)) as u64;
    ledger.forget_records_before(UnixMs(clock::unix().0.saturating_sub(keep_ms)));
    let options = JournalOptions {
        flush_interval: config.store.flush_interval,
        segment_bytes_max: config.store.segment_bytes_max,
        retention: Some(config.audit.retention),
        droppable_before: Some(keeper.droppable_before()),
        ..JournalOptions::new(&config.store.path, names.clone())
    };
    let (mut records, mut told) = (0u64, began);
    let visit = |record: &Record| {
        ledger.apply(record);
        records += 1;
        if records.is_multiple_of(4096) && told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(records, seconds = began.elapsed().as_secs(), "replaying the journal");
        }
    };
    let storage = Box::new(DiskStorage::new(&config.store.path));
    let (journal, replay): (Journal, Replay) =
        Journal::open_at(store, options, storage, resume, visit).map_err(|e| other("cannot open the journal", e))?;
    replay.changes.iter().for_each(|change| ledger.apply_change(change.clone()));
    let left = Left::of(ledger.change_log(), replay.orphans.len(), replaces);
    ledger.set_as_of(clock::unix());
    tracing::info!(
        store = %config.store.path.display(),
        records = replay.records,
        closed_after_crash = replay.orphans.len(),
        from_snapshot,
        snapshot_ms,
        took_ms = began.elapsed().as_millis() as u64,
        "journal replayed"
    );
    Ok(Opened { journal, ledger: Arc::new(RwLock::new(ledger)), keeper, left })
}
