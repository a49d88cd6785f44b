//! What must never happen to an export.

mod buckets;
mod parquet_files;
mod runs;

use super::{destination::Destination, *};
use crate::{
    control::{
        audit::{AuditError, tests::Store},
        journal::tests::record_of,
        ledger::parse_time,
    },
    kernel::{record::Record, time::UnixMs},
};
use std::{fs, fs::File, ops::RangeInclusive, path::Path};

/// When the first records of these tests began.
const BEGAN: u64 = 1_763_700_000_000;

/// Records with eight hours between them: three a day.
fn records(store: &Store, numbers: RangeInclusive<u64>) -> Vec<Record> {
    let record = |n: u64| {
        let mut record = record_of(n, &store.names);
        record.started_at.0 += n * 8 * 3_600_000;
        record.ended_at.0 += n * 8 * 3_600_000;
        record
    };
    numbers.map(record).collect()
}

fn options_for(store: &Store, out: &Path, format: Format) -> ExportOptions {
    ExportOptions {
        store: store.path().into(),
        target: Target::Directory(out.into()),
        format,
        since: None,
        until: None,
        part_records_max: 4,
        now: UnixMs(BEGAN),
    }
}

/// A destination that dies before its nth step that changes something.
struct Dying<'a> {
    inner: &'a mut dyn Destination,
    steps: u64,
    die_at: u64,
}

impl Dying<'_> {
    fn step(&mut self) -> Result<(), AuditError> {
        self.steps += 1;
        if self.steps == self.die_at { Err(AuditError::Other("died".into())) } else { Ok(()) }
    }
}

impl Destination for Dying<'_> {
    fn shown(&self) -> String {
        self.inner.shown()
    }

    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, AuditError> {
        self.inner.read(name)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
        self.step()?;
        self.inner.replace(name, bytes)
    }

    fn draft(&mut self, name: &str) -> Result<File, AuditError> {
        self.step()?;
        self.inner.draft(name)
    }

    fn publish(&mut self, name: &str, file: File) -> Result<(), AuditError> {
        self.step()?;
        self.inner.publish(name, file)
    }

    fn files(&mut self) -> Result<Vec<String>, AuditError> {
        self.inner.files()
    }

    fn remove(&mut self, name: &str) -> Result<(), AuditError> {
        self.step()?;
        self.inner.remove(name)
    }
}
