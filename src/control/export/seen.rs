//! Request ids that went by lately: what guards against a request that is closed twice.
//!
//! A journal closes a request once; a second close can only come of a copy or of a later weir's mistake, soon after the
//! first. So the ids of the last half to whole `SEEN_IDS_MAX` closes are kept, in two generations.

use super::SEEN_IDS_MAX;
use crate::{
    control::{
        audit::Ids,
        journal::{ChainPlace, GroupPlace, Visit},
    },
    kernel::{ids::RequestId, record::Entry},
};
use std::ops::ControlFlow;

/// The ids.
#[derive(Default)]
pub(super) struct Seen {
    new: Ids,
    old: Ids,
}

impl Seen {
    /// False if the id is there already.
    pub fn insert(&mut self, id: RequestId) -> bool {
        if self.old.contains(&id) || !self.new.insert(id) {
            return false;
        }
        if self.new.len() >= SEEN_IDS_MAX / 2 {
            self.old = std::mem::take(&mut self.new);
        }
        true
    }
}

/// Reads ids up to a place.
pub(super) struct Warming<'a> {
    pub seen: &'a mut Seen,
    pub until: ChainPlace,
}

impl Visit for Warming<'_> {
    fn entry(&mut self, entry: Option<Entry>) {
        if let Some(Entry::Close(record)) = entry {
            self.seen.insert(record.request_id);
        }
    }

    fn group(&mut self, place: &GroupPlace, _entries: u64) -> Result<ControlFlow<()>, String> {
        let there = (place.segment, place.end) >= (self.until.segment, self.until.offset);
        Ok(if there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
