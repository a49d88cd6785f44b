//! Stored bodies against the chain: each opens with the key, is what its own end says, and is what its request's record says.

use super::{AuditError, Progress, failed};
use crate::{
    control::{
        bodies::{self, BodyError, KeyRing, Part, SegmentEnd, directory_of},
        changes::{Change, kinds},
    },
    kernel::{
        ids::RequestId,
        record::{Kept, Record},
        time::UnixMs,
    },
    link::bodies::{ExchangeEnd, Way},
};
use aws_lc_rs::digest::{Context, SHA256};
use std::{
    collections::{HashMap, VecDeque},
    fmt,
    io::{self, Write},
    path::Path,
};

/// How long before a crash a record may have ended and its bodies still not be on disk. Milliseconds; a flush takes a tenth of a
/// second, a loaded host a little more.
const CRASH_SLACK_MS: u64 = 5_000;

/// What is known of stored bodies from the chain.
#[derive(Default)]
pub(super) struct Stored {
    records: HashMap<RequestId, Expected>,
    /// Records of the last moments, oldest first.
    recent: VecDeque<(RequestId, UnixMs)>,
}

struct Expected {
    request: Option<[u8; 32]>,
    response: Option<[u8; 32]>,
    /// Its bodies may have been lost in a crash, or are still on their way.
    excused: bool,
}

impl Stored {
    pub fn record(&mut self, record: &Record) {
        if record.body.kept != Kept::Stored {
            return;
        }
        let (request, response) = (record.request_sha256, record.response_sha256);
        self.records.entry(record.request_id).or_insert(Expected { request, response, excused: false });
        self.recent.push_back((record.request_id, record.ended_at));
        while self.recent.front().is_some_and(|(_, at)| at.0 + CRASH_SLACK_MS < record.ended_at.0) {
            self.recent.pop_front();
        }
    }

    /// After a crash the newest bodies may be missing, and after an end that could not store them, any.
    pub fn change(&mut self, change: &Change) {
        let says_no = |detail: &str, field: &str| {
            serde_json::from_str::<serde_json::Value>(detail).is_ok_and(|detail| detail[field] == false)
        };
        if change.kind == kinds::START && says_no(&change.before, "ended_in_order") {
            self.excuse_recent();
        }
        if change.kind == kinds::STOP {
            // After an end in order nothing is on its way any more.
            self.recent.clear();
            if says_no(&change.after, "every_body_stored") {
                self.records.values_mut().for_each(|expected| expected.excused = true);
            }
        }
    }

    /// The newest ones may be on their way while a gateway runs, and are gone if it died.
    pub fn excuse_recent(&mut self) {
        for (id, _) in self.recent.drain(..) {
            if let Some(expected) = self.records.get_mut(&id) {
                expected.excused = true;
            }
        }
    }
}

/// What was found of stored bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodiesVerified {
    /// Segments.
    pub segments: u64,
    /// Exchanges that are whole, and what their records say.
    pub exchanges: u64,
    /// Exchanges that were given up for want of room, as their records say.
    pub dropped: u64,
    /// Exchanges without an end: running, or cut by a crash.
    pub unfinished: u64,
    /// Exchanges whose record is not in the chain: lost in a crash, or aged out.
    pub without_record: u64,
    /// Records whose bodies were lost in a crash, or are on their way.
    pub lost: u64,
}

/// Why bodies are not what they should be.
#[derive(Debug)]
pub enum BadBody {
    /// A segment.
    Segment(BodyError),
    /// Something else, with the request it is about.
    Exchange(RequestId, String),
    /// Something else.
    Store(String),
}

impl fmt::Display for BadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the stored bodies are NOT what weir wrote")?;
        match self {
            Self::Segment(error) => write!(f, "  why        {error}"),
            Self::Exchange(id, why) => write!(f, "  request    {id}\n  why        {why}"),
            Self::Store(why) => write!(f, "  why        {why}"),
        }
    }
}

/// Opens every frame of every segment, and compares with what the chain says.
pub(super) fn verify_bodies(
    store: &Path,
    keys: &KeyRing,
    mut stored: Stored,
    progress: &mut dyn FnMut(&Progress),
) -> Result<BodiesVerified, BadBody> {
    stored.excuse_recent();
    let directory = directory_of(store);
    let numbers = bodies::numbers(&directory).map_err(BadBody::Segment)?;
    if let Some(pair) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
        return Err(BadBody::Store(format!("segment {} of bodies is missing between others", pair[0] + 1)));
    }
    let mut check = Check { stored, found: BodiesVerified::default(), running: HashMap::new() };
    let (mut begun, mut at) = (None, Progress::default());
    for number in &numbers {
        let Some(mut frames) = bodies::frames(&directory, *number, keys).map_err(BadBody::Segment)? else { continue };
        begun.get_or_insert(frames.created_at);
        check.found.segments += 1;
        while let Some((id, part)) = frames.next(None).map_err(BadBody::Segment)? {
            check.part(id, part)?;
            (at.segment, at.entries, at.bytes) = (*number, at.entries + 1, frames.offset());
            progress(&at);
        }
        let unfinished = matches!(frames.end(), Some(SegmentEnd::Unfinished(_)));
        if unfinished {
            // What its writer had begun, and no later one goes on with.
            check.found.unfinished += check.running.len() as u64;
            check.running.clear();
        }
    }
    check.found.unfinished += check.running.len() as u64;
    // What was before the first segment that is left has aged out.
    let from = if numbers.first() == Some(&1) { UnixMs(0) } else { begun.unwrap_or(UnixMs(0)) };
    check.missing(from)
}

struct Check {
    stored: Stored,
    found: BodiesVerified,
    running: HashMap<RequestId, [(Context, u64); 2]>,
}

impl Check {
    fn part(&mut self, id: RequestId, part: Part) -> Result<(), BadBody> {
        let fresh = || [(Context::new(&SHA256), 0), (Context::new(&SHA256), 0)];
        match part {
            Part::Bytes(way, content) => {
                let (hash, bytes) = &mut self.running.entry(id).or_insert_with(fresh)[way as usize];
                hash.update(&content);
                *bytes += content.len() as u64;
                Ok(())
            }
            Part::End(end) if end.dropped => {
                self.running.remove(&id);
                self.found.dropped += 1;
                Ok(())
            }
            Part::End(end) => {
                let seen = self.running.remove(&id).unwrap_or_else(fresh);
                self.ended(id, &end, seen)
            }
        }
    }

    fn ended(&mut self, id: RequestId, end: &ExchangeEnd, seen: [(Context, u64); 2]) -> Result<(), BadBody> {
        let bad = |why: &str| Err(BadBody::Exchange(id, why.to_owned()));
        for ((hash, bytes), said) in seen.into_iter().zip([end.request, end.response]) {
            if bytes != said.bytes || hash.finish().as_ref() != said.sha256 {
                return bad("a body is not what its end says");
            }
        }
        let Some(expected) = self.stored.records.remove(&id) else {
            self.found.without_record += 1;
            return Ok(());
        };
        if expected.request != Some(end.request.sha256) {
            return bad("the stored request is not the one its record names (request_sha256)");
        }
        if expected.response.is_some_and(|hash| hash != end.response.sha256) {
            return bad("the stored answer is not the one its record names (response_sha256)");
        }
        self.found.exchanges += 1;
        Ok(())
    }

    fn missing(mut self, from: UnixMs) -> Result<BodiesVerified, BadBody> {
        // A request's id begins with the time it began (`RequestId::new`).
        let mut missing: Vec<_> = self.stored.records.iter().filter(|(id, _)| (id.0 >> 80) as u64 >= from.0).collect();
        missing.sort_by_key(|(id, _)| **id);
        if let Some((id, _)) = missing.iter().find(|(_, expected)| !expected.excused) {
            return Err(BadBody::Exchange(
                **id,
                "its record says that its bodies were stored, and they are not here".into(),
            ));
        }
        self.found.lost = missing.len() as u64;
        Ok(self.found)
    }
}

/// Which bodies of a request are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Show {
    /// The client's.
    pub request: bool,
    /// The answer's.
    pub response: bool,
}

/// Writes the stored bodies of a request, the client's first, and gives how they ended; `None` if nothing is kept of it.
pub fn show_body(
    store: &Path,
    id: RequestId,
    keys: &KeyRing,
    show: Show,
    out: &mut dyn Write,
) -> Result<Option<Option<ExchangeEnd>>, AuditError> {
    let directory = directory_of(store);
    let mut found = None;
    for (way, wanted) in [(Way::Request, show.request), (Way::Response, show.response)] {
        if !wanted {
            continue;
        }
        let (mut hash, mut quiet) = (Context::new(&SHA256), false);
        let mut write = |of: Way, content: &[u8]| {
            if of != way {
                return Ok(());
            }
            hash.update(content);
            match out.write_all(content) {
                // A reader such as `head` has seen enough.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => quiet = true,
                other => other.map_err(|error| error.to_string())?,
            }
            Ok(())
        };
        let body =
            bodies::find(&directory, id, keys, &mut write).map_err(|error| AuditError::Other(error.to_string()))?;
        let Some(body) = body else { return Ok(None) };
        let said = body.end.filter(|end| !end.dropped).map(|end| match way {
            Way::Request => end.request.sha256,
            Way::Response => end.response.sha256,
        });
        if said.is_some_and(|said| hash.finish().as_ref() != said) {
            return Err(failed("trust", &directory, "a stored body is not what its end says"));
        }
        found = Some(body.end);
        if quiet {
            break;
        }
    }
    Ok(found)
}
