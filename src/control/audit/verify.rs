//! Proving the chain.

use super::{
    AuditError, BadBody, BodiesVerified, Checkpoint, Progress,
    bodies::{Stored, verify_bodies},
    hex, need_segments,
    sides::verify_sides,
};
use crate::{
    control::{
        bodies::KeyRing,
        changes::Change,
        journal::{
            ChainPlace, GroupPlace, HEADER_BYTES, Hash, IntactGroup, Joined, JournalError, SegmentHeader, Tail, Visit,
            Walk, segment_path, segments,
        },
    },
    kernel::{ids::RequestId, names::Names, record::Entry, time::UnixMs},
};
use std::{
    collections::BTreeMap,
    fmt, fs,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

/// How often a walk is begun anew because retention took the segments away that it had begun with.
const RESTARTS_MAX: u32 = 3;

/// What is to be proven.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The directory of the journal.
    pub store: PathBuf,
    /// The journal must contain what it contained when this was taken.
    pub checkpoint: Option<Checkpoint>,
    /// The oldest segments that the checkpoint knew may be gone, as retention takes them.
    pub aged_out: bool,
    /// Stored bodies are to be what their records say; these keys open them.
    pub body_keys: Option<Arc<KeyRing>>,
}

/// What has been proven.
#[derive(Clone, Debug, Default)]
pub struct Verified {
    /// First segment there is.
    pub first_segment: u64,
    /// When it was begun.
    pub first_created_at: UnixMs,
    /// The hash of the last group before it, hexadecimal, if segments before it are gone.
    pub begins_behind: Option<String>,
    /// Segments.
    pub segments: u64,
    /// Groups.
    pub groups: u64,
    /// Entries.
    pub entries: u64,
    /// Of these, closes.
    pub closes: u64,
    /// Of these, changes that administrators made, beginnings and ends included.
    pub changes: u64,
    /// Of these, of a kind that a later version added.
    pub unknown_entries: u64,
    /// Bytes, headers and groups.
    pub bytes: u64,
    /// The earliest and the latest moment any entry knows.
    pub times: Option<(UnixMs, UnixMs)>,
    /// Segment in which the chain ends.
    pub last_segment: u64,
    /// Where in it. Bytes.
    pub last_offset: u64,
    /// The hash of the last group, hexadecimal.
    pub last_hash: String,
    /// What was found of stored bodies, where keys were given.
    pub bodies: Option<BodiesVerified>,
    /// What else should be known: an unfinished end, ends that were cut off, what a checkpoint says.
    pub notes: Vec<String>,
    /// The hash of the first segment's header.
    pub(super) first_header: Hash,
}

/// Where a journal is not what it should be.
#[derive(Clone, Debug)]
pub struct BadPlace {
    /// The segment.
    pub file: PathBuf,
    /// Where in it; `None` for a missing one. Bytes.
    pub offset: Option<u64>,
    /// Which group of the segment, from 1; `None` if it is no group.
    pub group: Option<u64>,
    /// What is wrong.
    pub why: String,
    /// The last good record before it.
    pub last_good: Option<(RequestId, UnixMs)>,
}

impl fmt::Display for BadPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the journal is NOT what weir wrote")?;
        writeln!(f, "  file       {}", self.file.display())?;
        if let Some(offset) = self.offset {
            writeln!(f, "  offset     {offset}")?;
        }
        if let Some(group) = self.group {
            writeln!(f, "  group      {group} of this segment")?;
        }
        writeln!(f, "  why        {}", self.why)?;
        match self.last_good {
            Some((id, at)) => write!(f, "  last good  {id}, at {}", at.rfc3339()),
            None => write!(f, "  last good  none: no record stands before it"),
        }
    }
}

/// Why nothing was proven.
#[derive(Debug)]
pub enum VerifyError {
    /// The journal is not what it should be.
    Bad(Box<BadPlace>),
    /// The stored bodies are not.
    Bodies(BadBody),
    /// It could not be looked at.
    Unable(AuditError),
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(place) => place.fmt(f),
            Self::Bodies(bad) => bad.fmt(f),
            Self::Unable(error) => error.fmt(f),
        }
    }
}

impl From<AuditError> for VerifyError {
    fn from(error: AuditError) -> Self {
        Self::Unable(error)
    }
}

/// Walks through the whole journal: headers, sequence, chain, framing, every entry. Reads only, and may run beside a gateway.
pub fn verify(options: &VerifyOptions, progress: &mut dyn FnMut(&Progress)) -> Result<Verified, VerifyError> {
    let store = &options.store;
    let mut restarts = 0;
    loop {
        let first = need_segments(store)?.first().copied();
        let result = Verifier::new(options, progress).run();
        let now_first = || segments(store).ok().and_then(|numbers| numbers.first().copied());
        if result.is_ok() || restarts == RESTARTS_MAX || now_first() == first {
            return result;
        }
        restarts += 1;
    }
}

struct Verifier<'a> {
    options: &'a VerifyOptions,
    progress: &'a mut dyn FnMut(&Progress),
    at: Progress,
    found: Verified,
    group_in_segment: u64,
    last_good: Option<(RequestId, UnixMs)>,
    pending: Option<(RequestId, UnixMs)>,
    checkpoint_met: bool,
    stored: Option<Stored>,
    joined: BTreeMap<String, Joined>,
}

impl<'a> Verifier<'a> {
    fn new(options: &'a VerifyOptions, progress: &'a mut dyn FnMut(&Progress)) -> Self {
        Self {
            options,
            progress,
            at: Progress::default(),
            found: Verified::default(),
            group_in_segment: 0,
            last_good: None,
            pending: None,
            checkpoint_met: false,
            stored: options.body_keys.is_some().then(Stored::default),
            joined: BTreeMap::new(),
        }
    }

    fn run(mut self) -> Result<Verified, VerifyError> {
        let options = self.options;
        let tail = match Walk::new(&options.store, Arc::new(Names::default())).run(&mut self) {
            Ok(tail) => tail,
            Err(JournalError::Damaged { path, offset, why }) => return Err(self.bad(path, Some(offset), why)),
            Err(JournalError::Missing { path }) => {
                return Err(self.bad(path, None, "this segment is missing between others".into()));
            }
            Err(error) => return Err(AuditError::from(error).into()),
        };
        let place = self.tail(tail)?;
        if let Some(checkpoint) = options.checkpoint.as_ref().filter(|_| !self.checkpoint_met) {
            let file = segment_path(&options.store, place.segment);
            let why = checkpoint.ends_before(&place);
            return Err(self.bad(file, Some(place.offset), why));
        }
        if let Some(checkpoint) = &options.checkpoint {
            self.found.notes.push(checkpoint.holds());
        }
        self.found.notes.extend(cut_ends(&options.store)?);
        let sides = match verify_sides(&options.store, &self.joined) {
            Ok(notes) => notes,
            Err(Err(JournalError::Damaged { path, offset, why })) => return Err(self.bad(path, Some(offset), why)),
            Err(Err(JournalError::Missing { path })) => {
                return Err(self.bad(path, None, "this segment of a side chain is missing".into()));
            }
            Err(Err(error)) => return Err(AuditError::from(error).into()),
            Err(Ok(error)) => return Err(error.into()),
        };
        self.found.notes.extend(sides);
        if let (Some(keys), Some(stored)) = (&options.body_keys, self.stored.take()) {
            let bodies = verify_bodies(&options.store, keys, stored, self.progress).map_err(VerifyError::Bodies)?;
            self.found.bodies = Some(bodies);
        }
        Ok(self.found)
    }

    fn bad(&self, file: PathBuf, offset: Option<u64>, why: String) -> VerifyError {
        let in_groups = offset.is_some_and(|offset| offset >= HEADER_BYTES as u64);
        let group = in_groups.then_some(self.group_in_segment + 1);
        VerifyError::Bad(Box::new(BadPlace { file, offset, group, why, last_good: self.last_good }))
    }

    /// Judges how the journal ends; replay forgives more, since it can put aside what it does not understand.
    fn tail(&mut self, tail: Tail) -> Result<ChainPlace, VerifyError> {
        let place = match tail {
            Tail::Empty => return Err(AuditError::Other("the journal has gone".into()).into()),
            Tail::Whole(place) => place,
            Tail::Torn { place, path, bytes, why } => match torn(&bytes, &place.last, why) {
                Ok(note) => {
                    self.found.notes.push(note);
                    place
                }
                Err(why) => return Err(self.bad(path, Some(place.offset), why)),
            },
            Tail::Unbegun { place, path, bytes, why } => {
                if bytes.len() == HEADER_BYTES && bytes.iter().any(|byte| *byte != 0) {
                    return Err(self.bad(path, Some(0), why));
                }
                let note = format!("{} is being begun, or was when its writer died", path.display());
                self.found.notes.push(note);
                place
            }
        };
        // A segment without a header holds nothing yet: the chain ends in the one before.
        if place.offset > 0 {
            (self.found.last_segment, self.found.last_offset) = (place.segment, place.offset);
        }
        self.found.last_hash = hex(&place.last);
        Ok(place)
    }

    fn seen(&mut self, at: UnixMs) {
        let (first, last) = self.found.times.unwrap_or((at, at));
        self.found.times = Some((first.min(at), last.max(at)));
    }
}

impl Visit for Verifier<'_> {
    fn segment(&mut self, _path: &Path, header: &SegmentHeader) -> Result<(), String> {
        self.group_in_segment = 0;
        if self.found.segments == 0 {
            self.found.first_segment = header.segment;
            self.found.first_created_at = UnixMs(header.created_at_ms);
            self.found.first_header = header.hash();
            self.found.begins_behind = (header.segment > 1).then(|| hex(&header.previous));
            if header.segment == 1 && header.previous != [0; 32] {
                return Err("it is the first segment, and says that there was one before it".into());
            }
        }
        self.found.segments += 1;
        self.found.bytes += HEADER_BYTES as u64;
        let Some(checkpoint) = &self.options.checkpoint else { return Ok(()) };
        let first = self.found.segments == 1;
        self.checkpoint_met |= checkpoint.segment(header, first, self.options.aged_out, self.checkpoint_met)?;
        Ok(())
    }

    fn entry(&mut self, entry: Option<Entry>) {
        match entry {
            Some(Entry::Open(open)) => self.seen(open.started_at),
            Some(Entry::Close(record)) => {
                self.found.closes += 1;
                self.seen(record.started_at);
                self.seen(record.ended_at);
                self.pending = Some((record.request_id, record.ended_at));
                if let Some(stored) = &mut self.stored {
                    stored.record(&record);
                }
            }
            None => self.found.unknown_entries += 1,
        }
    }

    fn change(&mut self, change: Change) {
        self.found.changes += 1;
        self.seen(change.at);
        if let Some(stored) = &mut self.stored {
            stored.change(&change);
        }
    }

    fn joined(&mut self, joined: Joined) {
        self.joined.insert(joined.name.clone(), joined);
    }

    fn group(&mut self, place: &GroupPlace, entries: u64) -> Result<ControlFlow<()>, String> {
        if let Some(checkpoint) = self.options.checkpoint.as_ref().filter(|_| !self.checkpoint_met) {
            self.checkpoint_met = checkpoint.group(place)?;
        }
        self.last_good = self.pending.or(self.last_good);
        self.group_in_segment += 1;
        self.at.passed(place, entries);
        self.found.groups += 1;
        self.found.entries += entries;
        self.found.bytes += place.end - place.offset;
        (self.found.last_segment, self.found.last_offset) = (place.segment, place.end);
        (self.progress)(&self.at);
        Ok(ControlFlow::Continue(()))
    }
}

/// Are these bytes at the end a group that is being written, or was when its writer died? Then what to say of them; else
/// why they are something else.
fn torn(bytes: &[u8], last: &Hash, why: String) -> Result<String, String> {
    let note = format!(
        "{} bytes behind the last whole group: a group that is being written, or was when its writer died",
        bytes.len()
    );
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(note);
    }
    match IntactGroup::size_of(bytes) {
        None if bytes.len() < IntactGroup::HEAD_BYTES && IntactGroup::may_begin(bytes) => Ok(note),
        None => Err("bytes that are no group stand behind the last one".into()),
        Some(size) if size <= bytes.len() => {
            Err(format!("{why}: somebody changed it, or the machine lost power while it was written"))
        }
        Some(_) if IntactGroup::previous_of(bytes) != Some(*last) => {
            Err("a group does not continue the one before it".into())
        }
        // Whole, were it not for its length.
        Some(_) if IntactGroup::is_whole_but_for_its_length(bytes) => Err("the length of a group was changed".into()),
        Some(_) => Ok(note),
    }
}

/// Ends that a start has cut off and kept.
fn cut_ends(store: &Path) -> Result<Vec<String>, AuditError> {
    let failed = |error| super::failed("list", store, error);
    let mut notes = Vec::new();
    for file in fs::read_dir(store).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with("journal-") && name.contains(".wal.torn-") {
            notes.push(format!("{name} keeps an unfinished end that a start cut off; it is no part of the chain"));
        }
    }
    notes.sort();
    Ok(notes)
}
