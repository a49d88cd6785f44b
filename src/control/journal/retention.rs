//! Whole segments leave when everything in them is older than `audit.retention`, the oldest first, so that what remains is
//! one chain: the first remaining segment's header still carries the hash of the last group before it.

use super::appender::Appender;
use crate::kernel::time::UnixMs;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// How often it is looked whether a segment may go.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// How old a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentAge {
    /// Its number.
    pub segment: u64,
    /// The newest moment it knows of: its creation, a request's beginning or end.
    pub newest: UnixMs,
}

/// All segments there are, oldest first; the last is the one being written.
pub(super) type Ages = VecDeque<SegmentAge>;

/// What is kept, and for how long.
pub(super) struct Retention {
    keep: Option<Duration>,
    ages: Ages,
    looked_at: Option<Instant>,
    only_before: Option<Arc<AtomicU64>>,
}

impl Retention {
    /// `keep` of `None` keeps everything.
    pub fn new(keep: Option<Duration>, ages: Ages) -> Self {
        Self { keep, ages, looked_at: None, only_before: None }
    }

    /// Only segments before the one with this number, which somebody raises: their sums are kept elsewhere.
    pub fn only_before(mut self, segment: Option<Arc<AtomicU64>>) -> Self {
        self.only_before = segment;
        self
    }

    /// The ages of all segments.
    pub fn ages(&self) -> Ages {
        self.ages.clone()
    }

    /// Something of this time has been written to this segment.
    pub fn wrote(&mut self, segment: u64, newest: UnixMs) {
        match self.ages.back_mut() {
            Some(age) if age.segment == segment => age.newest = age.newest.max(newest),
            _ => self.ages.push_back(SegmentAge { segment, newest }),
        }
    }

    /// Drops what is too old, if it is time to look; returns the dropped segments. A segment that cannot be removed stays,
    /// and everything after it, until the next look.
    pub fn apply(&mut self, appender: &mut Appender, now: UnixMs, at: Instant) -> Vec<u64> {
        let Some(keep) = self.keep else { return Vec::new() };
        if self.looked_at.is_some_and(|looked| at.saturating_duration_since(looked) < INTERVAL) {
            return Vec::new();
        }
        self.looked_at = Some(at);
        let cutoff = UnixMs(now.0.saturating_sub(keep.as_millis().min(u128::from(u64::MAX)) as u64));
        let mut dropped = Vec::new();
        while let Some(oldest) = self.ages.front().copied() {
            if oldest.newest >= cutoff || oldest.segment >= appender.segment() {
                break;
            }
            if self.only_before.as_ref().is_some_and(|before| oldest.segment >= before.load(SeqCst)) {
                // A snapshot is on its way; it is no use to wait a day for it.
                self.looked_at = None;
                break;
            }
            if let Err(error) = appender.remove(oldest.segment) {
                tracing::error!(segment = oldest.segment, %error, "an aged journal segment cannot be removed; trying again in a day");
                break;
            }
            tracing::info!(
                segment = oldest.segment, newest_entry = %oldest.newest.rfc3339(), days = keep.as_secs() / 86_400,
                "journal segment dropped: everything in it is older than audit.retention"
            );
            self.ages.pop_front();
            dropped.push(oldest.segment);
        }
        dropped
    }
}
