//! What must never happen to an audit, one test each.

mod beside;
mod checkpoints;
mod queries;
mod tampering;

use super::*;
use crate::{
    control::journal::{
        Journal, JournalOptions,
        tests::{append_at, open_of, options, record_of},
    },
    kernel::{
        names::Names,
        record::{Entry, Record},
        time::UnixMs,
    },
};
use std::{path::PathBuf, sync::Arc};

/// When the first records of these tests began.
const BEGAN: u64 = 1_763_700_000_000;
/// A segment's size that takes about three groups.
const SMALL: u64 = 1000;

/// A journal in a directory of its own.
pub(in crate::control) struct Store {
    dir: tempfile::TempDir,
    pub(in crate::control) names: Arc<Names>,
}

impl Store {
    pub(in crate::control) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), names: Arc::new(Names::default()) }
    }

    /// With a group, an opened and closed request, for each number.
    fn with(numbers: impl IntoIterator<Item = u64>) -> Self {
        let store = Self::new();
        store.add(numbers);
        store
    }

    fn add(&self, numbers: impl IntoIterator<Item = u64>) {
        self.add_records(numbers.into_iter().map(|n| record_of(n, &self.names)));
    }

    pub(in crate::control) fn add_records(&self, records: impl IntoIterator<Item = Record>) {
        let opts = JournalOptions { segment_bytes_max: SMALL, ..options(self.path(), &self.names) };
        let (mut journal, _) = Journal::open(opts, |_| ()).unwrap();
        for record in records {
            let mut open = open_of(0, &self.names);
            (open.request_id, open.started_at) = (record.request_id, record.started_at);
            let ended_at = record.ended_at;
            append_at(&mut journal, &[Entry::Open(open), Entry::Close(record.into())], ended_at);
        }
    }

    pub(in crate::control) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(in crate::control) fn segment(&self, number: u64) -> PathBuf {
        segment_path(self.path(), number)
    }

    pub(in crate::control) fn last_segment(&self) -> u64 {
        *segments(self.path()).unwrap().last().unwrap()
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_against(None, false)
    }

    fn verify_against(&self, checkpoint: Option<&Checkpoint>, aged_out: bool) -> Result<Verified, VerifyError> {
        let options =
            VerifyOptions { store: self.path().into(), checkpoint: checkpoint.cloned(), aged_out, body_keys: None };
        verify(&options, &mut |_| ())
    }

    /// The first bad place.
    fn bad(&self) -> BadPlace {
        bad(self.verify())
    }

    /// A copy of all files.
    pub(in crate::control) fn copy(&self) -> Self {
        let copy = Self::new();
        for file in fs::read_dir(self.path()).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
        copy
    }
}

fn bad(result: Result<Verified, VerifyError>) -> BadPlace {
    match result {
        Err(VerifyError::Bad(place)) => *place,
        other => panic!("nothing bad was found: {other:?}"),
    }
}

/// Where the groups of a segment begin, and its end.
fn groups_of(bytes: &[u8]) -> Vec<usize> {
    let mut places = vec![96];
    while let Some(&at) = places.last().filter(|at| **at < bytes.len()) {
        let length = u32::from_le_bytes(bytes[at + 4..at + 8].try_into().unwrap());
        places.push(at + 8 + length as usize);
    }
    places
}

/// The hash of the last group of a segment.
fn last_hash(bytes: &[u8]) -> Hash {
    bytes[bytes.len() - 32..].try_into().unwrap()
}
