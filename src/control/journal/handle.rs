//! The journal from outside: open it, start it, stop it.

use super::{
    GROUP_ENTRIES_MAX, JournalError, JournalHealth, Replay, SEGMENT_BYTES_MAX,
    appender::{Appender, Position},
    codec,
    desk::{self, ChangeDesk, Inbox},
    group::GroupBuilder,
    replay::{End, Replayer},
    retention::Retention,
    storage::{DiskStorage, Storage, lock},
    writer::Writer,
};
use crate::{
    control::changes::Change,
    kernel::{
        names::Names,
        record::{Entry, Record},
        time::UnixMs,
    },
    link::up::UpReceiver,
};
use std::{
    fs::File,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How the journal is kept.
pub struct JournalOptions {
    /// The directory, `store.path`; made if it is not there.
    pub directory: PathBuf,
    /// Where names are resolved.
    pub names: Arc<Names>,
    /// How long entries wait for their group.
    pub flush_interval: Duration,
    /// When the next segment begins. Bytes.
    pub segment_bytes_max: u64,
    /// How long records are kept, at least; whole segments older than that are dropped. `None` keeps everything.
    pub retention: Option<Duration>,
    /// How long `stop` tries to write against a disk that refuses.
    pub stop_timeout: Duration,
}

impl JournalOptions {
    /// The defaults: 50 ms, 64 MiB, everything is kept, 10 s.
    pub fn new(directory: impl Into<PathBuf>, names: Arc<Names>) -> Self {
        Self {
            directory: directory.into(),
            names,
            flush_interval: Duration::from_millis(50),
            segment_bytes_max: SEGMENT_BYTES_MAX,
            retention: None,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// Who is told of records once they are on disk. Called on the journal's thread, in the order of the journal.
pub trait Sink: Send + 'static {
    /// These records are on disk, and so is everything that had been sent by `as_of`. Also called with no records, so that
    /// `as_of` moves on.
    fn flushed(&mut self, closes: &[Record], as_of: UnixMs);

    /// These changes are on disk.
    fn changed(&mut self, _changes: &[Change]) {}
}

/// The journal, open and complete, but not yet writing.
pub struct Journal {
    pub(super) options: JournalOptions,
    pub(super) appender: Appender,
    pub(super) retention: Retention,
    pub(super) health: Arc<JournalHealth>,
    pub(super) inbox: Inbox,
    desk: ChangeDesk,
    // Held for the life of the journal: it is the lock on the store.
    _lock: File,
}

/// The running journal.
pub struct JournalHandle {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), JournalError>>,
    health: Arc<JournalHealth>,
    desk: ChangeDesk,
}

impl Journal {
    /// Takes the store, reads everything in it, and closes on disk what was in flight when the last process died.
    /// `visit` sees every closed request exactly once, orphans last.
    pub fn open(options: JournalOptions, visit: impl FnMut(&Record)) -> Result<(Self, Replay), JournalError> {
        let storage = Box::new(DiskStorage::new(&options.directory));
        Self::open_in(options, storage, visit)
    }

    /// The same, writing through another storage.
    pub fn open_in(
        options: JournalOptions,
        storage: Box<dyn Storage>,
        mut visit: impl FnMut(&Record),
    ) -> Result<(Self, Replay), JournalError> {
        let lock = lock(&options.directory)?;
        let (replay, end, ages) = Replayer::new(&options.directory, options.names.clone(), &mut visit).run()?;
        let max = options.segment_bytes_max;
        let opened = match end {
            End::Fresh(position) => Appender::begin(storage, Position { offset: 0, ..position }, max, now()),
            End::In(position) => Appender::resume(storage, position, max),
        };
        let failed =
            |source| JournalError::Io { doing: "write the journal in", path: options.directory.clone(), source };
        let mut appender = opened.map_err(failed)?;
        let mut retention = Retention::new(options.retention, ages);
        for orphans in replay.orphans.chunks(GROUP_ENTRIES_MAX) {
            let mut builder = GroupBuilder::new();
            for orphan in orphans {
                builder.push(&codec::encode(&Entry::Close(orphan.clone()), &options.names));
            }
            appender.append(&appender.seal(builder), now()).map_err(failed)?;
            let newest = orphans.iter().map(|orphan| orphan.ended_at).max().unwrap_or_default();
            retention.wrote(appender.segment(), newest);
            orphans.iter().for_each(&mut visit);
        }
        // After replay, which is how the ages are known: what goes now has been counted once more, for this process only.
        retention.apply(&mut appender, now(), Instant::now());
        let health = Arc::new(JournalHealth::default());
        health.set_accepting(true);
        health.set_flushed_at(now());
        let (desk, inbox) = desk::door(health.clone());
        Ok((Self { options, appender, retention, health, inbox, desk, _lock: lock }, replay))
    }

    /// Where changes are handed in.
    pub fn changes(&self) -> ChangeDesk {
        self.desk.clone()
    }

    /// The journal's state, for the readiness check and the shards.
    pub fn health(&self) -> Arc<JournalHealth> {
        self.health.clone()
    }

    /// Starts the thread that writes.
    pub fn start(self, receivers: Vec<UpReceiver>, sink: impl Sink) -> Result<JournalHandle, JournalError> {
        let stop = Arc::new(AtomicBool::new(false));
        let health = self.health();
        let directory = self.options.directory.clone();
        let desk = self.changes();
        let writer = Writer::new(self, receivers, Box::new(sink), stop.clone());
        let thread = thread::Builder::new()
            .name("weir-journal".into())
            .spawn(move || writer.run())
            .map_err(|source| JournalError::Io { doing: "start the thread that writes", path: directory, source })?;
        desk.wakes(thread.thread().clone());
        Ok(JournalHandle { stop, thread, health, desk })
    }
}

impl JournalHandle {
    /// Writes everything that has been sent, and ends. Call it when the shards have sent their last record.
    pub fn stop(self) -> Result<(), JournalError> {
        self.stop.store(true, SeqCst);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or(Err(JournalError::Died))
    }

    /// Where changes are handed in.
    pub fn changes(&self) -> ChangeDesk {
        self.desk.clone()
    }

    /// The journal's state.
    pub fn health(&self) -> Arc<JournalHealth> {
        self.health.clone()
    }
}

/// Wall-clock time.
pub(super) fn now() -> UnixMs {
    UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
