//! Reading everything back at start. The clock is not consulted: the same files give the same result.

use super::{
    JournalError,
    appender::Position,
    codec::close_orphan,
    group::SegmentHeader,
    retention::{Ages, SegmentAge},
    side::{Joined, Joins},
    state::{InFlight, JournalState},
    walk::{ChainPlace, GroupPlace, Tail, Visit, Walk},
};
use crate::{
    control::changes::{Change, ChangeLog},
    kernel::{
        ids::RequestId,
        names::Names,
        record::{Entry, Open, Record},
        time::UnixMs,
    },
};
use std::{
    collections::{HashMap, HashSet},
    fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

/// What was found at start.
#[derive(Debug, Default)]
pub struct Replay {
    /// Closed requests, each once; those in `orphans` are not among them.
    pub records: u64,
    /// Close entries of requests that were closed already.
    pub duplicates: u64,
    /// Requests that were in flight when the last process died, as they have been closed now.
    pub orphans: Vec<Record>,
    /// Bytes of a torn group cut from the end; they are kept in a `.torn` file beside the segment.
    pub torn_bytes: u64,
    /// Entries of kinds that a later version added.
    pub unknown_entries: u64,
    /// Segments read.
    pub segments: u64,
    /// Bytes of groups read.
    pub bytes: u64,
    /// The newest changes.
    pub changes: ChangeLog,
}

/// The end of the chain, as found.
pub(super) enum End {
    /// There is no segment yet, or only one whose creation was cut short: begin here.
    Fresh(Position),
    /// Go on here.
    In(Position),
}

/// What whoever goes on writing must know besides.
pub(super) struct Left {
    pub ages: Ages,
    pub last_seen: UnixMs,
    /// What runs elsewhere.
    pub in_flight: InFlight,
    pub joins: Joins,
}

pub(super) struct Replayer<'a> {
    directory: &'a Path,
    names: Arc<Names>,
    visit: &'a mut dyn FnMut(&Record),
    // Ids of all requests read; needed while reading, gone afterwards.
    closed: HashSet<RequestId>,
    open: HashMap<RequestId, Open>,
    last_seen: UnixMs,
    /// The newest moment in the segment being read.
    newest: UnixMs,
    ages: Ages,
    found: Replay,
    reads_only: bool,
    /// Requests that are open in a side chain: they are in flight, or are closed with it.
    spared: HashSet<RequestId>,
    joins: Joins,
    from: Option<ChainPlace>,
}

/// Reads a journal without its lock and without leaving a trace, also while a gateway writes it: `visit` sees every request that
/// has been closed by now, exactly once. A torn end is taken for a group being written; what is in flight stays open.
pub fn read(directory: &Path, names: Arc<Names>, mut visit: impl FnMut(&Record)) -> Result<Replay, JournalError> {
    let mut replayer = Replayer::new(directory, names, &mut visit);
    replayer.reads_only = true;
    replayer.run().map(|(replay, ..)| replay)
}

impl<'a> Replayer<'a> {
    pub fn new(directory: &'a Path, names: Arc<Names>, visit: &'a mut dyn FnMut(&Record)) -> Self {
        Self {
            directory,
            names,
            visit,
            closed: HashSet::new(),
            open: HashMap::new(),
            last_seen: UnixMs(0),
            newest: UnixMs(0),
            ages: Ages::new(),
            found: Replay::default(),
            reads_only: false,
            spared: HashSet::new(),
            joins: Joins::new(),
            from: None,
        }
    }

    /// Goes on from a state that an earlier replay or its journal left. `closed` are requests known to be closed before it: all
    /// of them is not needed, since a request is closed once; the newest are, so that it would be noticed.
    pub fn resume(mut self, state: JournalState, closed: impl IntoIterator<Item = RequestId>) -> Self {
        self.from = Some(state.place);
        self.ages = state.ages;
        self.open = state.in_flight.into_map();
        self.joins = state.joins;
        self.last_seen = state.last_seen;
        self.closed.extend(closed);
        self
    }

    /// Leaves these open.
    pub fn spare(mut self, running: HashSet<RequestId>) -> Self {
        self.spared = running;
        self
    }

    /// Reads all segments. Orphans are found, but not yet closed on disk.
    pub fn run(mut self) -> Result<(Replay, End, Left), JournalError> {
        let walk = Walk::new(self.directory, self.names.clone());
        let walk = match self.from {
            Some(from) => walk.resume(from),
            None => walk,
        };
        let tail = walk.run(&mut self)?;
        let end = match tail {
            Tail::Empty => End::Fresh(Position { segment: 1, offset: 0, last: [0; 32] }),
            Tail::Whole(place) => End::In(position(place)),
            Tail::Unbegun { place, path, why, .. } => {
                self.found.segments += 1;
                tracing::warn!(file = %path.display(), why, "journal segment was never completed; beginning it anew");
                End::Fresh(position(place))
            }
            Tail::Torn { place, path, bytes, why } => {
                self.torn(&path, place.offset, &bytes, &why)?;
                End::In(position(place))
            }
        };
        let last_seen = self.last_seen;
        let (spared, orphans): (Vec<Open>, Vec<Open>) =
            self.open.values().copied().partition(|open| self.spared.contains(&open.request_id));
        self.found.orphans = orphans.iter().map(|open| close_orphan(open, last_seen)).collect();
        self.found.orphans.sort_by_key(|record| record.request_id);
        let left = Left { ages: self.ages, last_seen, in_flight: spared.into_iter().collect(), joins: self.joins };
        Ok((self.found, end, left))
    }

    fn seen(&mut self, at: UnixMs) {
        self.last_seen = self.last_seen.max(at);
        self.newest = self.newest.max(at);
    }

    fn opened(&mut self, open: Open) {
        self.seen(open.started_at);
        if !self.closed.contains(&open.request_id) {
            self.open.insert(open.request_id, open);
        }
    }

    fn closed(&mut self, record: &Record) {
        self.seen(record.ended_at);
        if self.closed.insert(record.request_id) {
            self.open.remove(&record.request_id);
            self.found.records += 1;
            (self.visit)(record);
        } else {
            self.found.duplicates += 1;
        }
    }

    /// Puts the torn group aside. It was never acknowledged, but nothing that may be evidence is thrown away.
    fn torn(&mut self, path: &Path, at: u64, bytes: &[u8], why: &str) -> Result<(), JournalError> {
        if self.reads_only {
            self.found.torn_bytes = bytes.len() as u64;
            return Ok(());
        }
        let aside: PathBuf = path.with_extension(format!("wal.torn-{at}"));
        fs::write(&aside, bytes).map_err(|source| JournalError::Io {
            doing: "keep the torn end of the journal in",
            path: aside.clone(),
            source,
        })?;
        self.found.torn_bytes = bytes.len() as u64;
        tracing::warn!(
            file = %path.display(), offset = at, bytes = bytes.len(), kept = %aside.display(), why,
            "journal ends in a torn group, as after a crash; cut to the last whole group"
        );
        Ok(())
    }
}

impl Visit for Replayer<'_> {
    fn segment(&mut self, _path: &Path, header: &SegmentHeader) -> Result<(), String> {
        self.newest = UnixMs(header.created_at_ms);
        // The segment that replay goes on in is known up to there.
        if let Some(age) = self.ages.pop_back_if(|age| age.segment == header.segment) {
            self.newest = self.newest.max(age.newest);
        }
        Ok(())
    }

    fn group(&mut self, place: &GroupPlace, _entries: u64) -> Result<ControlFlow<()>, String> {
        self.found.bytes += place.end - place.offset;
        Ok(ControlFlow::Continue(()))
    }

    fn entry(&mut self, entry: Option<Entry>) {
        match entry {
            Some(Entry::Open(open)) => self.opened(open),
            Some(Entry::Close(record)) => self.closed(&record),
            None => self.found.unknown_entries += 1,
        }
    }

    fn change(&mut self, change: Change) {
        self.seen(change.at);
        self.found.changes.push(change);
    }

    fn joined(&mut self, joined: Joined) {
        self.joins.insert(joined.name.clone(), joined);
    }

    fn segment_end(&mut self, segment: u64, bytes: u64) {
        self.found.segments += 1;
        self.ages.push_back(SegmentAge { segment, newest: self.newest });
        tracing::info!(segment, bytes, records = self.found.records, "journal segment read");
    }
}

fn position(place: ChainPlace) -> Position {
    Position { segment: place.segment, offset: place.offset, last: place.last }
}
