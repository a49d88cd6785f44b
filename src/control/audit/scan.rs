//! Closed requests out of the segments, each once.

use super::{AuditError, Progress};
use crate::{
    control::journal::{GroupPlace, Visit, created_at, segments},
    kernel::{
        ids::RequestId,
        record::{Entry, Record},
        time::UnixMs,
    },
};
use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hasher},
    ops::ControlFlow,
    path::Path,
};

/// How far the host's clock may have gone back and a segment still be found to hold nothing of a time. Milliseconds.
const CLOCK_SLACK_MS: u64 = 24 * 3600 * 1000;

/// Request ids that have been seen. Their lower half is counted up from a random number, so little mixing is enough.
pub(in crate::control) type Ids = HashSet<RequestId, BuildHasherDefault<IdHasher>>;

/// A hasher for request ids alone.
#[derive(Default)]
pub(in crate::control) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u128(&mut self, id: u128) {
        let mixed = ((id >> 64) as u64).rotate_left(32) ^ id as u64;
        self.0 = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 ^= self.0 >> 32;
    }
}

/// Shows each closed request once, the first close of it.
pub(super) struct Scan<'a> {
    seen: Ids,
    each: &'a mut dyn FnMut(&Record) -> ControlFlow<()>,
    progress: &'a mut dyn FnMut(&Progress),
    at: Progress,
    flow: ControlFlow<()>,
}

impl<'a> Scan<'a> {
    pub fn new(each: &'a mut dyn FnMut(&Record) -> ControlFlow<()>, progress: &'a mut dyn FnMut(&Progress)) -> Self {
        Self { seen: Ids::default(), each, progress, at: Progress::default(), flow: ControlFlow::Continue(()) }
    }
}

impl Visit for Scan<'_> {
    fn entry(&mut self, entry: Option<Entry>) {
        let Some(Entry::Close(record)) = entry else { return };
        if self.flow.is_continue() && self.seen.insert(record.request_id) {
            self.flow = (self.each)(&record);
        }
    }

    fn group(&mut self, place: &GroupPlace, entries: u64) -> Result<ControlFlow<()>, String> {
        self.at.passed(place, entries);
        (self.progress)(&self.at);
        Ok(self.flow)
    }
}

impl Progress {
    /// One more group.
    pub(in crate::control) fn passed(&mut self, place: &GroupPlace, entries: u64) {
        self.segment = place.segment;
        self.groups += 1;
        self.entries += entries;
        self.bytes += place.end - place.offset;
    }
}

/// The first segment that can hold requests that were closed at or after this time: those before it were complete by then.
/// `None` if nothing may be left out, as when the clock went back between segments.
pub(super) fn first_segment_for(store: &Path, since: UnixMs) -> Result<Option<u64>, AuditError> {
    let mut first = None;
    let mut before = UnixMs(0);
    for (nth, segment) in segments(store)?.into_iter().enumerate() {
        let Some(begun) = created_at(store, segment)? else { continue };
        if begun < before {
            return Ok(None);
        }
        before = begun;
        if nth > 0 && begun.0.saturating_add(CLOCK_SLACK_MS) < since.0 {
            first = Some(segment);
        }
    }
    Ok(first)
}
