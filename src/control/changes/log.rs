//! The newest changes, as they came, each with what became of it.

use super::{CHANGES_KEPT_MAX, Change, ChangeFilter, ChangeId, kinds};
use std::collections::VecDeque;

/// The last changes, oldest first.
#[derive(Clone, Debug)]
pub struct ChangeLog {
    changes: VecDeque<Change>,
    changes_max: usize,
    left_out: u64,
}

impl Default for ChangeLog {
    fn default() -> Self {
        Self::of(CHANGES_KEPT_MAX)
    }
}

impl ChangeLog {
    /// A log of the newest so many.
    pub fn of(changes_max: usize) -> Self {
        Self { changes: VecDeque::new(), changes_max, left_out: 0 }
    }

    /// Takes an entry. One that says that a change did not happen is noted on that change, if that is still here.
    pub fn push(&mut self, change: Change) {
        if change.failed.is_some()
            && let Some(earlier) = self.changes.iter_mut().rev().find(|earlier| earlier.id == change.id)
        {
            earlier.failed = change.failed;
            return;
        }
        if self.changes.len() >= self.changes_max {
            self.changes.pop_front();
            self.left_out += 1;
        }
        self.changes.push_back(change);
    }

    /// The newest changes that a filter lets through, newest first.
    pub fn find<'a>(&'a self, filter: &'a ChangeFilter) -> impl Iterator<Item = &'a Change> {
        self.changes.iter().rev().filter(|change| filter.takes(change)).take(filter.limit)
    }

    /// Is this change among them?
    pub fn holds(&self, id: ChangeId) -> bool {
        self.changes.iter().any(|change| change.id == id)
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter()
    }

    /// The newest one.
    pub fn last(&self) -> Option<&Change> {
        self.changes.back()
    }

    /// The digest of the configuration that was taken last, as a start or a reload says.
    pub fn last_digest(&self) -> Option<String> {
        let took =
            |change: &&Change| (change.kind == kinds::START || change.kind == kinds::RELOAD) && change.failed.is_none();
        let after = &self.changes.iter().rev().find(took)?.after;
        let after: serde_json::Value = serde_json::from_str(after).ok()?;
        Some(after.get("config_sha256")?.as_str()?.to_owned())
    }

    /// Changes that were here once.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}
