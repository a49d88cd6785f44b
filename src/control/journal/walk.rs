//! The way through all segments, which replay and the audit share: their sequence, their headers and the chain are checked
//! here, once; what groups hold is the visitor's business.

use super::{
    JournalError,
    codec::{Decoded, Decoder},
    group::{HEADER_BYTES, Hash, IntactGroup, SegmentHeader, any_intact_group},
    segment::{Opened, SegmentReader},
    side::Joined,
    storage::{segment_path, segments},
};
use crate::{
    control::changes::Change,
    kernel::{names::Names, record::Entry, time::UnixMs},
};
use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Where a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct GroupPlace {
    /// Number of the segment.
    pub segment: u64,
    /// Where it begins in its segment. Bytes.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A group boundary from which to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) struct ChainPlace {
    /// Number of the segment.
    pub segment: u64,
    /// End of a group, or of the header. Bytes.
    pub offset: u64,
    /// The hash of the last group before it.
    pub last: Hash,
}

/// Who is shown the journal. `Break` ends the walk early; an error is said of the group or segment that was shown.
pub(in crate::control) trait Visit {
    /// A segment begins.
    fn segment(&mut self, _path: &Path, _header: &SegmentHeader) -> Result<(), String> {
        Ok(())
    }

    /// Any entry of the group that comes next, as it stands there; before it is shown as what it is.
    fn raw(&mut self, _bytes: &[u8]) {}

    /// An entry of the group that comes next; `None` for one of a kind that a later version added.
    fn entry(&mut self, entry: Option<Entry>);

    /// A change in the group that comes next, in its place among the entries.
    fn change(&mut self, _change: Change) {}

    /// So far a side chain has come over, with the entries before this in the group.
    fn joined(&mut self, _joined: Joined) {}

    /// The end of an intact group that continues the chain. `entries` of it have been shown.
    fn group(&mut self, _place: &GroupPlace, _entries: u64) -> Result<ControlFlow<()>, String> {
        Ok(ControlFlow::Continue(()))
    }

    /// A segment has been read; `bytes` of it are good.
    fn segment_end(&mut self, _segment: u64, _bytes: u64) {}
}

/// How the journal ends.
#[derive(Debug)]
pub(in crate::control) enum Tail {
    /// There is none.
    Empty,
    /// With a whole group, or the visitor had seen enough.
    Whole(ChainPlace),
    /// With bytes that are no group, none behind them.
    Torn {
        /// Where they begin.
        place: ChainPlace,
        /// The segment.
        path: PathBuf,
        /// The bytes.
        bytes: Vec<u8>,
        /// Why they are no group.
        why: String,
    },
    /// With a segment whose creation was cut short.
    Unbegun {
        /// Where it should begin.
        place: ChainPlace,
        /// The segment.
        path: PathBuf,
        /// What is in it.
        bytes: Vec<u8>,
        /// Why that is no header.
        why: String,
    },
}

/// One walk.
pub(in crate::control) struct Walk<'a> {
    directory: &'a Path,
    names: Arc<Names>,
    from: Option<ChainPlace>,
    first: Option<u64>,
}

impl<'a> Walk<'a> {
    /// From the first segment there is.
    pub fn new(directory: &'a Path, names: Arc<Names>) -> Self {
        Self { directory, names, from: None, first: None }
    }

    /// From a place where an earlier walk ended. The segment before it may be gone.
    pub fn resume(self, from: ChainPlace) -> Self {
        Self { from: Some(from), ..self }
    }

    /// From a segment of which nothing before is needed.
    pub fn skip_to(self, segment: u64) -> Self {
        Self { first: Some(segment), ..self }
    }

    /// Walks to the end. What is damaged or missing is an error, the newest segment's end excepted.
    pub fn run(&self, visit: &mut dyn Visit) -> Result<Tail, JournalError> {
        let numbers = self.numbers()?;
        let mut decoder = Decoder::new(self.names.clone());
        let mut last: Option<Hash> = None;
        let mut tail = Tail::Empty;
        for (nth, segment) in numbers.iter().copied().enumerate() {
            if nth > 0 && numbers[nth - 1] + 1 != segment {
                return Err(JournalError::Missing { path: segment_path(self.directory, numbers[nth - 1] + 1) });
            }
            let (ended, flow) = self.segment(segment, last, nth + 1 == numbers.len(), &mut decoder, visit)?;
            if let Tail::Whole(place) = &ended {
                last = Some(place.last);
            }
            tail = ended;
            if flow.is_break() {
                break;
            }
        }
        Ok(tail)
    }

    fn numbers(&self) -> Result<Vec<u64>, JournalError> {
        let mut numbers = segments(self.directory)?;
        let Some(first) = self.from.map(|from| from.segment).or(self.first) else { return Ok(numbers) };
        numbers.retain(|number| *number >= first);
        match (self.from, numbers.first()) {
            // A place at a segment's end goes on in the next: its header says whether it is the next.
            (Some(from), Some(number)) if *number > from.segment + 1 => {
                Err(JournalError::Missing { path: segment_path(self.directory, from.segment) })
            }
            (Some(from), None) => Err(JournalError::Missing { path: segment_path(self.directory, from.segment) }),
            _ => Ok(numbers),
        }
    }

    fn segment(
        &self,
        segment: u64,
        last: Option<Hash>,
        newest: bool,
        decoder: &mut Decoder,
        visit: &mut dyn Visit,
    ) -> Result<(Tail, ControlFlow<()>), JournalError> {
        let path = segment_path(self.directory, segment);
        let (reader, header) = match SegmentReader::open(self.directory, segment)? {
            Opened::Begun(reader, header) => (reader, header),
            // Its creation was cut short: a header is durable before the first group is written.
            Opened::Headless { bytes, length, why } if newest && length <= HEADER_BYTES as u64 => {
                let place = ChainPlace { segment, offset: 0, last: last.unwrap_or_default() };
                return Ok((Tail::Unbegun { place, path, bytes, why }, ControlFlow::Continue(())));
            }
            Opened::Headless { why, .. } => return Err(JournalError::Damaged { path, offset: 0, why }),
        };
        let damaged = |offset: u64, why: &str| JournalError::Damaged { path: path.clone(), offset, why: why.into() };
        if header.segment != segment {
            return Err(damaged(16, &format!("it says that it is segment {}", header.segment)));
        }
        if let Some(from) = self.from.filter(|from| from.segment == segment) {
            let fresh = from.offset == HEADER_BYTES as u64;
            let before = if fresh { Some(header.previous) } else { reader.hash_before(from.offset)? };
            if before != Some(from.last) {
                return Err(damaged(from.offset, "it no longer holds what was read of it before"));
            }
            visit.segment(&path, &header).map_err(|why| damaged(0, &why))?;
            return groups(reader.at(from.offset), from, newest, decoder, visit);
        }
        if last.or(self.from.map(|from| from.last)).is_some_and(|last| last != header.previous) {
            return Err(damaged(32, "it does not continue the segment before it"));
        }
        visit.segment(&path, &header).map_err(|why| damaged(0, &why))?;
        let begin = ChainPlace { segment, offset: HEADER_BYTES as u64, last: header.previous };
        groups(reader, begin, newest, decoder, visit)
    }
}

/// The groups of one segment from here on.
fn groups(
    mut reader: SegmentReader,
    begin: ChainPlace,
    newest: bool,
    decoder: &mut Decoder,
    visit: &mut dyn Visit,
) -> Result<(Tail, ControlFlow<()>), JournalError> {
    let path = reader.path().to_owned();
    let damaged = |offset: u64, why: String| JournalError::Damaged { path: path.clone(), offset, why };
    let mut place = begin;
    let mut flow = ControlFlow::Continue(());
    while flow.is_continue() {
        let offset = reader.offset();
        let size = match reader.peek()? {
            None => break,
            Some(Ok(group)) if group.previous == place.last => {
                let (end, hash) = (offset + group.size as u64, group.hash);
                let at = GroupPlace { segment: place.segment, offset, end, hash };
                flow = show(&at, &group, decoder, visit).map_err(|why| damaged(offset, why))?;
                place = ChainPlace { offset: end, last: hash, ..place };
                group.size
            }
            Some(Ok(_)) => return Err(damaged(offset, "a group does not continue the one before it".into())),
            Some(Err(why)) => {
                let bytes = reader.read_rest()?;
                if !newest || any_intact_group(bytes) {
                    return Err(damaged(offset, why));
                }
                let bytes = bytes.to_vec();
                visit.segment_end(place.segment, offset);
                return Ok((Tail::Torn { place, path, bytes, why }, flow));
            }
        };
        reader.skip(size);
    }
    visit.segment_end(place.segment, place.offset);
    Ok((Tail::Whole(place), flow))
}

fn show(
    place: &GroupPlace,
    group: &IntactGroup<'_>,
    decoder: &mut Decoder,
    visit: &mut dyn Visit,
) -> Result<ControlFlow<()>, String> {
    let entries = group.entries()?;
    for bytes in &entries {
        visit.raw(bytes);
        match decoder.decode(bytes).map_err(|error| error.to_string())? {
            Some(Decoded::Entry(entry)) => visit.entry(Some(entry)),
            Some(Decoded::Change(change)) => visit.change(change),
            Some(Decoded::Joined(joined)) => visit.joined(joined),
            None => visit.entry(None),
        }
    }
    visit.group(place, entries.len() as u64)
}

/// When a segment was begun, as its header says; `None` if it has none.
pub(in crate::control) fn created_at(directory: &Path, segment: u64) -> Result<Option<UnixMs>, JournalError> {
    Ok(match SegmentReader::open(directory, segment)? {
        Opened::Begun(_, header) => Some(UnixMs(header.created_at_ms)),
        Opened::Headless { .. } => None,
    })
}
