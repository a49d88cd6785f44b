//! Reading everything back at start. The clock is not consulted: the same files give the same result.

use super::{
    JournalError,
    appender::Position,
    codec::{Decoder, close_orphan},
    group::{HEADER_BYTES, Hash, IntactGroup, SegmentHeader, any_intact_group},
    storage::{segment_path, segments},
};
use crate::kernel::{
    ids::RequestId,
    names::Names,
    record::{Entry, Open, Record},
    time::UnixMs,
};
use std::{
    collections::{HashMap, HashSet},
    fs,
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
}

/// The end of the chain, as found.
pub(super) enum End {
    /// There is no segment yet, or only one whose creation was cut short: begin here.
    Fresh(Position),
    /// Go on here.
    In(Position),
}

pub(super) struct Replayer<'a> {
    directory: &'a Path,
    decoder: Decoder,
    visit: &'a mut dyn FnMut(&Record),
    // Ids of all requests read; needed while reading, gone afterwards.
    closed: HashSet<RequestId>,
    open: HashMap<RequestId, Open>,
    last_seen: UnixMs,
    last: Hash,
    found: Replay,
    reads_only: bool,
}

/// Reads a journal without its lock and without leaving a trace, also while a gateway writes it: `visit` sees every request that
/// has been closed by now, exactly once. A torn end is taken for a group being written; what is in flight stays open.
pub fn read(directory: &Path, names: Arc<Names>, mut visit: impl FnMut(&Record)) -> Result<Replay, JournalError> {
    let mut replayer = Replayer::new(directory, names, &mut visit);
    replayer.reads_only = true;
    replayer.run().map(|(replay, _)| replay)
}

impl<'a> Replayer<'a> {
    pub fn new(directory: &'a Path, names: Arc<Names>, visit: &'a mut dyn FnMut(&Record)) -> Self {
        Self {
            directory,
            decoder: Decoder::new(names),
            visit,
            closed: HashSet::new(),
            open: HashMap::new(),
            last_seen: UnixMs(0),
            last: [0; 32],
            found: Replay::default(),
            reads_only: false,
        }
    }

    /// Reads all segments. Orphans are found, but not yet closed on disk.
    pub fn run(mut self) -> Result<(Replay, End), JournalError> {
        let numbers = segments(self.directory)?;
        let mut end = End::Fresh(Position { segment: 1, offset: 0, last: self.last });
        for (place, segment) in numbers.iter().copied().enumerate() {
            if place > 0 && numbers[place - 1] + 1 != segment {
                return Err(JournalError::Missing { path: segment_path(self.directory, numbers[place - 1] + 1) });
            }
            end = self.segment(segment, place == 0, place + 1 == numbers.len())?;
            self.found.segments += 1;
        }
        let last_seen = self.last_seen;
        self.found.orphans = self.open.values().map(|open| close_orphan(open, last_seen)).collect();
        self.found.orphans.sort_by_key(|record| record.request_id);
        Ok((self.found, end))
    }

    fn segment(&mut self, segment: u64, first: bool, newest: bool) -> Result<End, JournalError> {
        let path = segment_path(self.directory, segment);
        let bytes = fs::read(&path).map_err(|source| JournalError::Io { doing: "read", path: path.clone(), source })?;
        let damaged =
            |offset: usize, why: String| JournalError::Damaged { path: path.clone(), offset: offset as u64, why };
        let header = match SegmentHeader::decode(&bytes) {
            Ok(header) => header,
            // Its creation was cut short: a header is durable before the first group is written.
            Err(why) if newest && bytes.len() <= HEADER_BYTES => {
                tracing::warn!(file = %path.display(), why, "journal segment was never completed; beginning it anew");
                return Ok(End::Fresh(Position { segment, offset: 0, last: self.last }));
            }
            Err(why) => return Err(damaged(0, why)),
        };
        if header.segment != segment {
            return Err(damaged(16, format!("it says that it is segment {}", header.segment)));
        }
        if first {
            self.last = header.previous;
        } else if header.previous != self.last {
            return Err(damaged(32, "it does not continue the segment before it".into()));
        }
        let mut at = HEADER_BYTES;
        while at < bytes.len() {
            match IntactGroup::check(&bytes[at..]) {
                Ok(group) if group.previous == self.last => {
                    self.group(&group).map_err(|why| damaged(at, why))?;
                    at += group.size;
                }
                Ok(_) => return Err(damaged(at, "a group does not continue the one before it".into())),
                Err(why) if newest && !any_intact_group(&bytes[at..]) => {
                    self.torn(&path, at, &bytes[at..], &why)?;
                    break;
                }
                Err(why) => return Err(damaged(at, why)),
            }
        }
        tracing::info!(segment, bytes = bytes.len(), records = self.found.records, "journal segment read");
        Ok(End::In(Position { segment, offset: at as u64, last: self.last }))
    }

    fn group(&mut self, group: &IntactGroup<'_>) -> Result<(), String> {
        for bytes in group.entries()? {
            match self.decoder.decode(bytes).map_err(|error| error.to_string())? {
                Some(Entry::Open(open)) => self.opened(open),
                Some(Entry::Close(record)) => self.closed(&record),
                None => self.found.unknown_entries += 1,
            }
        }
        self.last = group.hash;
        Ok(())
    }

    fn opened(&mut self, open: Open) {
        self.last_seen = self.last_seen.max(open.started_at);
        if !self.closed.contains(&open.request_id) {
            self.open.insert(open.request_id, open);
        }
    }

    fn closed(&mut self, record: &Record) {
        self.last_seen = self.last_seen.max(record.ended_at);
        if self.closed.insert(record.request_id) {
            self.open.remove(&record.request_id);
            self.found.records += 1;
            (self.visit)(record);
        } else {
            self.found.duplicates += 1;
        }
    }

    /// Puts the torn group aside. It was never acknowledged, but nothing that may be evidence is thrown away.
    fn torn(&mut self, path: &Path, at: usize, bytes: &[u8], why: &str) -> Result<(), JournalError> {
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
