//! The journal's writer moves to a chain of its own when another process goes on with the journal, and back if that one dies.

use super::{
    GROUP_ENTRIES_MAX, Journal, JournalError, JournalOptions, JournalState, Resume, Retired, Store, codec,
    group::GroupBuilder, handle::now, side::own_name, state::InFlight, storage::DiskStorage,
};
use crate::kernel::record::Entry;
use parking_lot::Mutex;
use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        mpsc::{SyncSender, sync_channel},
    },
    thread::Thread,
    time::Duration,
};

/// How long the writer may take to move: what is waiting is written first, and a snapshot under way is completed.
const MOVE_PATIENCE: Duration = Duration::from_secs(30);

/// What the writer is asked to do.
pub(super) enum Move {
    /// Go on in a side chain.
    Out(SyncSender<Result<Retired, JournalError>>),
    /// Come back to the journal.
    Back(SyncSender<Result<(), JournalError>>),
}

/// Asks the writer to move. Clones ask the same writer.
#[derive(Clone, Default)]
pub struct Moves {
    asked: Arc<Mutex<Option<Move>>>,
    writer: Arc<OnceLock<Thread>>,
}

impl Moves {
    /// Everything sent so far is written; from then on this process writes a side chain. Returns what another process needs to
    /// go on with the journal.
    pub fn retire(&self) -> Result<Retired, JournalError> {
        let (told, answer) = sync_channel(1);
        self.ask(Move::Out(told));
        answer.recv_timeout(MOVE_PATIENCE).unwrap_or(Err(JournalError::Died))
    }

    /// The other process has died before it served anything: the journal is written here again. Its lock must be free.
    pub fn come_back(&self) -> Result<(), JournalError> {
        let (told, answer) = sync_channel(1);
        self.ask(Move::Back(told));
        answer.recv_timeout(MOVE_PATIENCE).unwrap_or(Err(JournalError::Died))
    }

    fn ask(&self, what: Move) {
        *self.asked.lock() = Some(what);
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    pub(super) fn asked(&self) -> Option<Move> {
        self.asked.lock().take()
    }

    pub(super) fn wakes(&self, writer: Thread) {
        self.writer.get_or_init(|| writer);
    }
}

/// Where the journal is that another process writes now.
pub(super) struct Left {
    directory: PathBuf,
    state: JournalState,
    side: String,
}

/// Swaps a journal for a side chain of its own. What runs stands in the side chain before this returns.
pub(super) fn out(journal: &mut Journal, in_flight: &InFlight) -> Result<(Retired, Left), JournalError> {
    let directory = journal.options.directory.clone();
    let side_name = own_name(now());
    let options = JournalOptions {
        retention: None,
        droppable_before: None,
        ..options_in(&journal.options, &directory.join(&side_name))
    };
    let failed = |doing, source| JournalError::Io { doing, path: directory.clone(), source };
    let (mut side, _) = Journal::open(options, |_| {})?;
    File::open(&directory).and_then(|d| d.sync_all()).map_err(|source| failed("write a side chain in", source))?;
    // What runs in processes before this one stands in their own side chains.
    let own: Vec<_> = in_flight.values().filter(|open| !journal.sides.is_open(open.request_id)).copied().collect();
    for opens in own.chunks(GROUP_ENTRIES_MAX) {
        let mut builder = GroupBuilder::new();
        opens.iter().for_each(|open| builder.push(&codec::encode(&Entry::Open(*open), &side.options.names)));
        let group = side.appender.seal(builder);
        side.appender.append(&group, now()).map_err(|source| failed("write a side chain in", source))?;
    }
    let lock = journal.store.lock().try_clone().map_err(|source| failed("pass the lock of", source))?;
    let left = Left { directory: directory.clone(), state: journal.state(in_flight), side: side_name.clone() };
    keep_doors(journal, &mut side);
    *journal = side;
    Ok((Retired { side: side_name, store: Store::take_over(&directory, lock) }, left))
}

/// Swaps the side chain for the journal again, from where it was left.
pub(super) fn back(journal: &mut Journal, left: &Left, in_flight: &InFlight) -> Result<(), JournalError> {
    let store = Store::take(&left.directory)?;
    let options = options_in(&journal.options, &left.directory);
    let storage = Box::new(DiskStorage::new(&left.directory));
    let resume = Resume { state: left.state.clone(), closed: Vec::new() };
    // What the other process wrote is what it brought over of this one, which everybody here has been told.
    let (mut main, _) = Journal::open_at(store, options, storage, Some(resume), |_| {})?;
    main.sides.came_back(&left.side, in_flight.values().map(|open| open.request_id));
    keep_doors(journal, &mut main);
    *journal = main;
    Ok(())
}

/// Who hands in changes and who asks for the journal's health goes on doing so.
fn keep_doors(from: &mut Journal, to: &mut Journal) {
    std::mem::swap(&mut from.inbox, &mut to.inbox);
    std::mem::swap(&mut from.desk, &mut to.desk);
    std::mem::swap(&mut from.health, &mut to.health);
}

fn options_in(like: &JournalOptions, directory: &Path) -> JournalOptions {
    JournalOptions {
        directory: directory.into(),
        names: like.names.clone(),
        flush_interval: like.flush_interval,
        segment_bytes_max: like.segment_bytes_max,
        retention: None,
        droppable_before: None,
        stop_timeout: like.stop_timeout,
    }
}
