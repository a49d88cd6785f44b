//! Exporting records as JSON lines, a folder for each day, over and over into the same directory.
//!
//! A batch is a stretch of the journal. Its records go to one part a day, named after the place where the batch begins; when
//! all are on disk under their names, the manifest moves on to the batch's end. A run that dies in between leaves parts
//! that the manifest does not know of; the next run removes and writes them again. So every line stands there once, for
//! whoever reads the directory between runs; a reader that took a part of a dead run sees its records again, with the
//! same request ids.

use super::{
    AuditError, Progress, failed,
    manifest::Manifest,
    need_segments,
    parts::{Parts, Step},
    settle,
};
use crate::{
    control::{
        journal::{ChainPlace, GroupPlace, JournalError, Visit, Walk},
        ledger::{RecordFilter, RecordView},
    },
    kernel::{names::Names, record::Entry, time::UnixMs},
};
use std::{
    fs::{self, File, TryLockError},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Days a batch may touch: each is an open file.
const BATCH_DAYS_MAX: usize = 32;

/// What is exported, and where to.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The directory of the journal.
    pub store: PathBuf,
    /// The directory of the export; made if it is not there.
    pub out: PathBuf,
    /// Only requests begun at or after this Unix second.
    pub since: Option<i64>,
    /// Only requests begun before this Unix second.
    pub until: Option<i64>,
    /// A part is ended when a batch has this many records.
    pub part_records_max: u64,
    /// The time, for the manifest.
    pub now: UnixMs,
}

/// What a run added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Records.
    pub records: u64,
    /// Parts.
    pub parts: u64,
    /// Close entries left out because their request was there already.
    pub duplicates: u64,
    /// Records of this and all earlier runs.
    pub records_total: u64,
}

/// Adds what the journal has and the directory has not.
pub fn export(options: &ExportOptions, progress: &mut dyn FnMut(&Progress)) -> Result<Exported, AuditError> {
    export_stepwise(options, progress, &mut || Ok(()))
}

/// The same, asking before each step that changes the disk.
pub(super) fn export_stepwise(
    options: &ExportOptions,
    progress: &mut dyn FnMut(&Progress),
    step: Step<'_>,
) -> Result<Exported, AuditError> {
    need_segments(&options.store)?;
    let out = &options.out;
    fs::create_dir_all(out).map_err(|error| failed("make", out, error))?;
    let _lock = lock(out)?;
    let manifest = Manifest::open(out, options.since, options.until)?;
    manifest.sweep(out)?;
    let names = Arc::new(Names::default());
    let mut walk = Walk::new(&options.store, names.clone());
    let from = manifest.place();
    if let Some(from) = from {
        walk = walk.resume(from);
    }
    let filter = RecordFilter { since: options.since, until: options.until, ..RecordFilter::default() };
    let mut exporter = Exporter {
        options,
        filter,
        names,
        parts: Parts::new(out, manifest.start(), step),
        manifest,
        progress,
        at: Progress::default(),
        done: Exported::default(),
        batch_records: 0,
        place: None,
        failure: None,
    };
    let walked = walk.run(&mut exporter);
    exporter.failure.take().map_or(Ok(()), Err)?;
    walked.map_err(|error| moved_on(error, from, out))?;
    exporter.commit()?;
    Ok(Exported { records_total: exporter.manifest.records, ..exporter.done })
}

/// Two runs in one directory would remove each other's parts.
fn lock(out: &Path) -> Result<File, AuditError> {
    let path = out.join(".lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(|error| failed("lock", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(AuditError::Other(format!("another export is writing into {}; wait for it", out.display())))
        }
        Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
    }
}

/// What to say when the journal no longer has the place where the last run ended.
fn moved_on(error: JournalError, from: Option<ChainPlace>, out: &Path) -> AuditError {
    let Some(from) = from else { return error.into() };
    let here = match &error {
        JournalError::Missing { path } | JournalError::Damaged { path, .. } => path,
        _ => return error.into(),
    };
    AuditError::Other(format!(
        "the journal cannot be followed from where the export in {} stopped (segment {}, byte {}): see {}. Is it another \
         store, was it changed, or has audit.retention dropped what was not exported yet? `weir audit verify` tells more; \
         to export what is there, give another --out",
        out.display(),
        from.segment,
        from.offset,
        here.display()
    ))
}

struct Exporter<'a> {
    options: &'a ExportOptions,
    filter: RecordFilter,
    names: Arc<Names>,
    parts: Parts<'a>,
    manifest: Manifest,
    progress: &'a mut dyn FnMut(&Progress),
    at: Progress,
    done: Exported,
    batch_records: u64,
    /// The end of what has been read, if that is further than the manifest.
    place: Option<ChainPlace>,
    failure: Option<AuditError>,
}

impl Exporter<'_> {
    /// Ends the batch: parts first, then the manifest.
    fn commit(&mut self) -> Result<(), AuditError> {
        let Some(place) = self.place.take() else { return Ok(()) };
        settle(&self.options.store, place.segment)?;
        let parts = self.parts.finish((place.segment, place.offset))?;
        self.manifest.records += self.batch_records;
        self.manifest.parts += parts;
        let out = &self.options.out;
        self.parts.step().map_err(|error| failed("write into", out, error))?;
        self.manifest.advance(out, &place, self.options.now)?;
        self.done.records += self.batch_records;
        self.done.parts += parts;
        self.batch_records = 0;
        Ok(())
    }

    fn record(&mut self, record: &crate::kernel::record::Record) -> Result<(), AuditError> {
        if !self.filter.takes(record, &self.names) {
            return Ok(());
        }
        let view = RecordView::of(record, &self.names);
        match self.parts.write(record.request_id, record.started_at, &view)? {
            true => self.batch_records += 1,
            false => self.done.duplicates += 1,
        }
        Ok(())
    }
}

impl Visit for Exporter<'_> {
    fn entry(&mut self, entry: Option<Entry>) {
        if let (Some(Entry::Close(record)), None) = (entry, &self.failure) {
            self.failure = self.record(&record).err();
        }
    }

    fn group(&mut self, place: &GroupPlace, entries: u64) -> Result<ControlFlow<()>, String> {
        self.at.passed(place, entries);
        (self.progress)(&self.at);
        self.place = Some(ChainPlace { segment: place.segment, offset: place.end, last: place.hash });
        let full = self.batch_records >= self.options.part_records_max || self.parts.days() >= BATCH_DAYS_MAX;
        if full && self.failure.is_none() {
            self.failure = self.commit().err();
        }
        Ok(if self.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
