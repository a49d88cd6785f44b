//! Finding changes in the segments.

use super::{AuditError, Found, Progress, need_segments, scan::first_segment_for};
use crate::{
    control::{
        changes::{Change, ChangeFilter, ChangeLog, ChangeView},
        journal::{GroupPlace, Visit, Walk},
    },
    kernel::{names::Names, record::Entry, time::UnixMs},
};
use std::{ops::ControlFlow, path::Path, sync::Arc};

/// The newest so many changes that a filter lets through, oldest first, each with what became of it, and how many there are in
/// all. The filter's `limit` is not looked at.
pub fn changes(
    store: &Path,
    filter: &ChangeFilter,
    newest: usize,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Vec<ChangeView>, Found), AuditError> {
    need_segments(store)?;
    let mut walk = Walk::new(store, Arc::new(Names::default()));
    let since = filter.since.and_then(|seconds| u64::try_from(seconds).ok());
    let since = since.map(|seconds| UnixMs(seconds.saturating_mul(1000)));
    if let Some(first) = since.map(|since| first_segment_for(store, since)).transpose()?.flatten() {
        walk = walk.skip_to(first);
    }
    let mut search = Search { filter, found: ChangeLog::of(newest), progress, at: Progress::default() };
    walk.run(&mut search)?;
    let shown: Vec<_> = search.found.iter().map(ChangeView::of).collect();
    let matched = shown.len() as u64 + search.found.left_out();
    Ok((shown, Found { matched, shown: matched - search.found.left_out() }))
}

struct Search<'a> {
    filter: &'a ChangeFilter,
    found: ChangeLog,
    progress: &'a mut dyn FnMut(&Progress),
    at: Progress,
}

impl Visit for Search<'_> {
    fn entry(&mut self, _entry: Option<Entry>) {}

    fn change(&mut self, change: Change) {
        // What says that a change did not happen is as old as that, or hardly newer: it goes where its change went.
        if self.filter.takes(&change) || change.failed.is_some() && self.found.holds(change.id) {
            self.found.push(change);
        }
    }

    fn group(&mut self, place: &GroupPlace, entries: u64) -> Result<ControlFlow<()>, String> {
        self.at.passed(place, entries);
        (self.progress)(&self.at);
        Ok(ControlFlow::Continue(()))
    }
}
