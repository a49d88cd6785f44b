//! Side chains: where a process that has been replaced goes on writing, and how what it writes comes into the journal.
//!
//! Only one process writes the journal. When another takes it over, the one before it goes on in a directory of its own in the
//! store, `retired-MILLISECONDS-PID`, a journal like any other with a lock of its own. Its first groups repeat the opening notes of what
//! is still running, so that it can be read without the journal. Whoever writes the journal reads every side chain there is, at each
//! flush, and writes its entries into the journal, byte by byte as they are, followed in the same group by a note of how far
//! it has come (`JoinV1`: segment, byte, and the hash of the side chain's group there). So each entry comes over exactly once, whoever
//! is killed and when: what is in a side chain is on disk, and the note goes to disk with what it speaks of.
//!
//! A side chain whose lock is free has come to its end: what is still open in it is closed as after any crash, the note
//! says that it is done, and the directory is removed.

use super::{
    GROUP_ENTRIES_MAX, JournalError, Store,
    codec::{self, close_orphan},
    entry::{EntryV1, JoinV1, KindV1},
    group::{GroupBuilder, Hash},
    storage::is_locked,
    walk::{ChainPlace, GroupPlace, Visit, Walk},
};
use crate::{
    control::changes::Change,
    kernel::{
        ids::RequestId,
        names::Names,
        record::{Entry, Open, Record},
        time::UnixMs,
    },
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

const PREFIX: &str = "retired-";
/// A group for the journal is full enough with so many entries of a side chain.
const JOINED_ENTRIES: usize = GROUP_ENTRIES_MAX / 16;

/// How far a side chain has come over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct Joined {
    /// The side chain's directory in the store.
    pub name: String,
    /// The end of the last group that has come over.
    pub place: ChainPlace,
    /// Nothing more will come.
    pub done: bool,
}

/// The same of all side chains, by name.
pub(super) type Joins = BTreeMap<String, Joined>;

impl Joined {
    pub(super) fn encode(&self) -> JoinV1 {
        let ChainPlace { segment, offset, last } = self.place;
        JoinV1 { name: self.name.clone(), segment, offset, last: last.to_vec(), done: self.done }
    }

    pub(super) fn decode(join: JoinV1) -> Result<Self, String> {
        let last: Hash = join.last.try_into().map_err(|_| "the hash of a side chain is none".to_owned())?;
        let place = ChainPlace { segment: join.segment, offset: join.offset, last };
        Ok(Self { name: join.name, place, done: join.done })
    }
}

/// A name for the side chain of this process.
pub(super) fn own_name(now: UnixMs) -> String {
    format!("{PREFIX}{:013}-{}", now.0, std::process::id())
}

/// The side chains in a store, oldest first.
pub(in crate::control) fn side_chains(directory: &Path) -> Result<Vec<String>, JournalError> {
    let failed = |source| JournalError::Io { doing: "list", path: directory.into(), source };
    let mut found = Vec::new();
    for file in fs::read_dir(directory).map_err(failed)? {
        let file = file.map_err(failed)?;
        let name = file.file_name().to_string_lossy().into_owned();
        if name.starts_with(PREFIX) && file.path().is_dir() {
            found.push(name);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Is there a process that has been replaced and still finishes its streams?
pub fn somebody_retires(store: &Path) -> bool {
    let names = side_chains(store).unwrap_or_default();
    names.iter().any(|name| is_locked(&store.join(name)).unwrap_or(false))
}

/// A side chain that is being read.
struct Side {
    directory: PathBuf,
    joined: Option<Joined>,
    name: String,
    /// What is open in it, as far as it has been read.
    open: HashMap<RequestId, Open>,
    /// Our own, from which we came back: everybody here has been told what is in it.
    silent: bool,
    /// It cannot be read; that has been said.
    failed: bool,
}

/// All side chains of a store, as whoever writes the journal sees them.
#[derive(Default)]
pub(super) struct Sides {
    names: Arc<Names>,
    all: Vec<Side>,
    /// Whatever was in them at first.
    known: HashSet<RequestId>,
    spared: HashSet<RequestId>,
}

/// Entries of a side chain, ready to be written.
pub(super) struct Joining {
    pub builder: GroupBuilder,
    pub entries: Vec<Entry>,
    pub changes: Vec<Change>,
    pub newest: UnixMs,
    /// Everybody here has been told of them.
    pub silent: bool,
    side: usize,
    joined: Joined,
}

impl Joining {
    /// The requests that are over.
    #[allow(clippy::vec_box, reason = "records come and go in boxes")]
    pub fn closes(&self) -> Vec<Box<Record>> {
        let close = |entry: &Entry| if let Entry::Close(record) = entry { Some(record.clone()) } else { None };
        self.entries.iter().filter_map(close).collect()
    }
}

impl Sides {
    /// Those there are in a store. Each is read to its end, to know what is open in it.
    pub fn look(directory: &Path, names: Arc<Names>) -> Result<Self, JournalError> {
        let (mut all, mut known) = (Vec::new(), HashSet::new());
        for name in side_chains(directory)? {
            let directory = directory.join(&name);
            let mut read = Reading::default();
            Walk::new(&directory, names.clone()).run(&mut read)?;
            let mut side = Side { directory, joined: None, name, open: HashMap::new(), silent: false, failed: false };
            read.entries.iter().for_each(|entry| side.note(entry));
            known.extend(read.entries.iter().map(|entry| match entry {
                Entry::Open(open) => open.request_id,
                Entry::Close(record) => record.request_id,
            }));
            all.push(side);
        }
        Ok(Self { names, all, known, spared: HashSet::new() })
    }

    /// The requests that were in any of them when they were first looked at: the journal need not close these.
    pub fn known(&mut self) -> HashSet<RequestId> {
        std::mem::take(&mut self.known)
    }

    /// What is open in any of them.
    pub fn is_open(&self, id: RequestId) -> bool {
        self.all.iter().any(|side| side.open.contains_key(&id))
    }

    /// How far the journal has come with each. Those it is done with are removed.
    pub fn resume(&mut self, joins: &Joins) {
        for side in &mut self.all {
            side.joined = joins.get(&side.name).cloned();
        }
        self.all.retain(|side| !side.joined.as_ref().is_some_and(|joined| joined.done) || !side.remove());
    }

    /// This one is ours: what is in it need not be told again, and what is open in it is running here.
    pub fn came_back(&mut self, name: &str, running: impl Iterator<Item = RequestId>) {
        self.spared.extend(running);
        self.all.iter_mut().filter(|side| side.name == name).for_each(|side| side.silent = true);
    }

    /// The next entries of any of them; `None` if there is nothing new.
    pub fn next(&mut self, last_seen: UnixMs) -> Option<Joining> {
        let places = 0..self.all.len();
        places.into_iter().find_map(|place| match self.next_of(place, last_seen) {
            Ok(joining) => joining,
            Err(error) => {
                self.all[place].failed = true;
                tracing::error!(
                    %error, directory = %self.all[place].directory.display(),
                    "what a replaced process wrote cannot be read: its last requests are missing in usage until this is mended \
                     and weir is started again"
                );
                None
            }
        })
    }

    fn next_of(&mut self, place: usize, last_seen: UnixMs) -> Result<Option<Joining>, JournalError> {
        let side = &mut self.all[place];
        if side.failed || side.joined.as_ref().is_some_and(|joined| joined.done) {
            return Ok(None);
        }
        // Looked at before it is read: what is written up to the end of its life is seen then.
        let ended = !is_locked(&side.directory)?;
        let mut read = Reading { bounded: true, ..Reading::default() };
        let walk = Walk::new(&side.directory, self.names.clone());
        match &side.joined {
            Some(joined) => walk.resume(joined.place).run(&mut read)?,
            None => walk.run(&mut read)?,
        };
        if read.raw.is_empty() && !ended {
            return Ok(None);
        }
        let mut builder = GroupBuilder::new();
        read.raw.iter().for_each(|bytes| builder.push_raw(bytes));
        read.entries.iter().for_each(|entry| side.note(entry));
        let done = ended && read.raw.is_empty();
        if done {
            for open in side.open.values().filter(|open| !self.spared.contains(&open.request_id)) {
                let record = Box::new(close_orphan(open, last_seen));
                builder.push(&codec::encode(&Entry::Close(record.clone()), &self.names));
                read.entries.push(Entry::Close(record));
            }
            if side.joined.is_none() {
                // Nothing was ever written to it.
                if side.remove() {
                    self.all.remove(place);
                }
                return Ok(None);
            }
        }
        let at = read.place.or(side.joined.as_ref().map(|joined| joined.place));
        let Some(at) = at else { return Ok(None) };
        let joined = Joined { name: side.name.clone(), place: at, done };
        builder.push(&EntryV1 { kind: Some(KindV1::Join(joined.encode())) });
        let Reading { entries, changes, newest, .. } = read;
        Ok(Some(Joining { builder, entries, changes, newest, silent: side.silent, side: place, joined }))
    }

    /// It is on disk.
    pub fn wrote(&mut self, side: usize, joined: Joined) {
        let done = joined.done;
        let removed = self.all.get_mut(side).is_some_and(|side| {
            side.joined = Some(joined);
            done && side.remove()
        });
        if removed {
            self.all.remove(side);
        }
    }

    /// How far each has come, for whoever goes on from here.
    pub fn joins(&self) -> Joins {
        let joined = self.all.iter().filter_map(|side| side.joined.clone());
        joined.map(|joined| (joined.name.clone(), joined)).collect()
    }
}

impl Joining {
    /// Where it came from, to be told to `Sides::wrote`.
    pub fn source(&self) -> (usize, Joined) {
        (self.side, self.joined.clone())
    }
}

impl Side {
    fn note(&mut self, entry: &Entry) {
        match entry {
            Entry::Open(open) => {
                self.open.insert(open.request_id, *open);
            }
            Entry::Close(record) => {
                self.open.remove(&record.request_id);
            }
        }
    }

    fn remove(&self) -> bool {
        match fs::remove_dir_all(&self.directory) {
            Ok(()) => {
                tracing::info!(side = self.name, "everything a replaced process wrote is in the journal");
                true
            }
            Err(error) => {
                tracing::warn!(directory = %self.directory.display(), %error, "a side chain that is done cannot be removed");
                false
            }
        }
    }
}

#[derive(Default)]
struct Reading {
    raw: Vec<Vec<u8>>,
    entries: Vec<Entry>,
    changes: Vec<Change>,
    newest: UnixMs,
    place: Option<ChainPlace>,
    bounded: bool,
}

impl Visit for Reading {
    fn raw(&mut self, bytes: &[u8]) {
        self.raw.push(bytes.to_vec());
    }

    fn entry(&mut self, entry: Option<Entry>) {
        let Some(entry) = entry else { return };
        self.newest = self.newest.max(match &entry {
            Entry::Open(open) => open.started_at,
            Entry::Close(record) => record.ended_at,
        });
        self.entries.push(entry);
    }

    fn change(&mut self, change: Change) {
        self.newest = self.newest.max(change.at);
        self.changes.push(change);
    }

    fn group(&mut self, place: &GroupPlace, _entries: u64) -> Result<ControlFlow<()>, String> {
        self.place = Some(ChainPlace { segment: place.segment, offset: place.end, last: place.hash });
        let full = self.bounded && self.raw.len() >= JOINED_ENTRIES;
        Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// A journal that another process may go on with.
pub struct Retired {
    /// Where this process writes now, in the store.
    pub side: String,
    /// The lock on the store: whoever gets a copy of it has the store, once all others have closed theirs.
    pub store: Store,
}
