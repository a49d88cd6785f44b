//! The journal from outside: open it, start it, stop it.

use super::{
    GROUP_ENTRIES_MAX, JournalError, JournalHealth, Replay, SEGMENT_BYTES_MAX,
    appender::{Appender, Position},
    codec,
    desk::{self, ChangeDesk, Inbox},
    group::GroupBuilder,
    moves::Moves,
    replay::{End, Left, Replayer},
    retention::Retention,
    side::Sides,
    state::{InFlight, JournalState},
    storage::{DiskStorage, Storage, lock},
    walk::ChainPlace,
    writer::Writer,
};
use crate::{
    control::changes::Change,
    kernel::{
        ids::RequestId,
        names::Names,
        record::{Entry, Record},
        time::UnixMs,
    },
    link::up::UpReceiver,
    sys::clock,
};
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
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
    /// If there is one, only segments before the one with this number are dropped: what is older is in a snapshot.
    pub droppable_before: Option<Arc<AtomicU64>>,
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
            droppable_before: None,
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// Who is told of records once they are on disk. Called on the journal's thread, in the order of the journal.
pub trait Sink: Send + 'static {
    /// These records are on disk, and so is everything that had been sent by `as_of`. Also called with no records, so that
    /// `as_of` moves on.
    fn flushed(&mut self, closes: &[Box<Record>], as_of: UnixMs);

    /// These changes are on disk.
    fn changed(&mut self, _changes: &[Change]) {}

    /// So many bytes have been written since the last state was given: is the next one wanted? Asked after each group, and while
    /// nothing is written.
    fn wants_state(&mut self, _bytes_since: u64) -> bool {
        false
    }

    /// These records, of which `flushed` is told next, are of a process that this one has replaced, by the name of its side
    /// chain; `done`: its last.
    fn inherited(&mut self, _side: &str, _closes: &[Box<Record>], _done: bool) {}

    /// Another process goes on with the journal; `back`: this one does again.
    fn retired(&mut self, _back: bool) {}

    /// The journal's state, right after `flushed` has told of everything before it.
    fn state(&mut self, _state: JournalState) {}

    /// The same for the last time: nothing is written any more.
    fn stopped(&mut self, _state: JournalState) {}
}

/// A store that this process has for itself, as long as it keeps this.
pub struct Store {
    directory: PathBuf,
    lock: File,
}

impl Store {
    /// Makes the directory if need be and takes it.
    pub fn take(directory: &Path) -> Result<Self, JournalError> {
        Ok(Self { directory: directory.into(), lock: lock(directory)? })
    }

    /// Takes it over, with a copy of the lock of the process that has it.
    pub fn take_over(directory: &Path, lock: File) -> Self {
        Self { directory: directory.into(), lock }
    }

    /// A copy of the lock, for another process: the store is free when all copies are closed.
    pub fn lock(&self) -> &File {
        &self.lock
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// A place to go on from, instead of from the beginning.
pub struct Resume {
    /// What the journal was like there; `JournalState::check` has been asked.
    pub state: JournalState,
    /// Requests that had been closed by then: the newest, by which a second close would be noticed.
    pub closed: Vec<RequestId>,
}

/// The journal, open and complete, but not yet writing.
pub struct Journal {
    pub(super) options: JournalOptions,
    pub(super) appender: Appender,
    pub(super) retention: Retention,
    pub(super) health: Arc<JournalHealth>,
    pub(super) last_seen: UnixMs,
    /// Bytes of groups that were read, since the last state that somebody kept.
    pub(super) replayed_bytes: u64,
    pub(super) inbox: Inbox,
    pub(super) sides: Sides,
    /// In flight elsewhere when it was opened.
    pub(super) in_flight: InFlight,
    pub(super) desk: ChangeDesk,
    // Held for the life of the journal: it is the lock on the store.
    pub(super) store: Store,
}

/// The running journal.
pub struct JournalHandle {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), JournalError>>,
    health: Arc<JournalHealth>,
    desk: ChangeDesk,
    moves: Moves,
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
        visit: impl FnMut(&Record),
    ) -> Result<(Self, Replay), JournalError> {
        let store = Store::take(&options.directory)?;
        Self::open_at(store, options, storage, None, visit)
    }

    /// The same in a store that has been taken; with `resume`, only what is behind that place is read and shown.
    pub fn open_at(
        store: Store,
        options: JournalOptions,
        storage: Box<dyn Storage>,
        resume: Option<Resume>,
        mut visit: impl FnMut(&Record),
    ) -> Result<(Self, Replay), JournalError> {
        let mut sides = Sides::look(&options.directory, options.names.clone())?;
        let mut replayer = Replayer::new(&options.directory, options.names.clone(), &mut visit).spare(sides.known());
        if let Some(Resume { state, closed }) = resume {
            replayer = replayer.resume(state, closed);
        }
        let (replay, end, left) = replayer.run()?;
        let Left { ages, last_seen, mut in_flight, joins } = left;
        sides.resume(&joins);
        let max = options.segment_bytes_max;
        let opened = match end {
            End::Fresh(position) => Appender::begin(storage, Position { offset: 0, ..position }, max, now()),
            End::In(position) => Appender::resume(storage, position, max),
        };
        let failed =
            |source| JournalError::Io { doing: "write the journal in", path: options.directory.clone(), source };
        let mut appender = opened.map_err(failed)?;
        let mut retention = Retention::new(options.retention, ages).only_before(options.droppable_before.clone());
        for orphans in replay.orphans.chunks(GROUP_ENTRIES_MAX) {
            let mut builder = GroupBuilder::new();
            for orphan in orphans {
                builder.push(&codec::encode(&Entry::Close(orphan.clone().into()), &options.names));
            }
            appender.append(&appender.seal(builder), now()).map_err(failed)?;
            let newest = orphans.iter().map(|orphan| orphan.ended_at).max().unwrap_or_default();
            retention.wrote(appender.segment(), newest);
            orphans.iter().for_each(&mut visit);
        }
        // What a process before this one wrote after it was replaced, as far as it is there.
        while let Some(joining) = sides.next(last_seen) {
            let (closes, (side, joined)) = (joining.closes(), joining.source());
            joining.entries.iter().for_each(|entry| in_flight.note(entry));
            let newest = joining.newest;
            appender.append(&appender.seal(joining.builder), now()).map_err(failed)?;
            retention.wrote(appender.segment(), newest);
            sides.wrote(side, joined);
            closes.iter().map(AsRef::as_ref).for_each(&mut visit);
        }
        // After replay, which is how the ages are known: what goes now has been counted once more, for this process only.
        retention.apply(&mut appender, now(), Instant::now());
        let health = Arc::new(JournalHealth::default());
        health.set_accepting(true);
        health.set_flushed_at(now(), clock::mono());
        let (desk, inbox) = desk::door(health.clone());
        let replayed_bytes = replay.bytes;
        let journal = Self {
            options,
            appender,
            retention,
            health,
            last_seen,
            replayed_bytes,
            inbox,
            sides,
            in_flight,
            desk,
            store,
        };
        Ok((journal, replay))
    }

    /// Where changes are handed in.
    pub fn changes(&self) -> ChangeDesk {
        self.desk.clone()
    }

    /// The journal's state, for the readiness check and the shards.
    pub fn health(&self) -> Arc<JournalHealth> {
        self.health.clone()
    }

    /// As it stands behind the last group; `in_flight` is what has been opened since it was.
    pub(super) fn state(&self, in_flight: &InFlight) -> JournalState {
        let position = self.appender.position();
        JournalState {
            place: ChainPlace { segment: position.segment, offset: position.offset, last: position.last },
            ages: self.retention.ages(),
            in_flight: in_flight.clone(),
            last_seen: self.last_seen,
            joins: self.sides.joins(),
        }
    }

    /// Starts the thread that writes.
    pub fn start(self, receivers: Vec<UpReceiver>, sink: impl Sink) -> Result<JournalHandle, JournalError> {
        let stop = Arc::new(AtomicBool::new(false));
        let health = self.health();
        let directory = self.options.directory.clone();
        let desk = self.changes();
        let moves = Moves::default();
        let writer = Writer::new(self, receivers, Box::new(sink), stop.clone(), moves.clone());
        let thread = thread::Builder::new()
            .name("weir-journal".into())
            .spawn(move || writer.run())
            .map_err(|source| JournalError::Io { doing: "start the thread that writes", path: directory, source })?;
        desk.wakes(thread.thread().clone());
        moves.wakes(thread.thread().clone());
        Ok(JournalHandle { stop, thread, health, desk, moves })
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

    /// Where it is said that another process goes on with it.
    pub fn moves(&self) -> Moves {
        self.moves.clone()
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
