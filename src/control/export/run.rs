//! One run: what the journal has and the destination has not.
//!
//! A batch is a stretch of the journal. Its records go to one part a day, named after the place where the batch begins; when
//! all are durable under their names, the manifest moves on to the batch's end.

use super::{
    BATCH_DAYS_MAX, Format, WARM_BYTES_MAX,
    columns::Row,
    destination::{self, Destination},
    manifest::{Asked, Manifest},
    parts::Parts,
    seen::{Seen, Warming},
    target::Target,
};
use crate::{
    control::{
        audit::{AuditError, Progress, need_segments, settle},
        changes::Change,
        journal::{ChainPlace, GroupPlace, JournalError, Visit, Walk, segment_path},
        ledger::{RecordFilter, RecordView},
    },
    kernel::{
        names::Names,
        record::{Entry, Record},
        time::UnixMs,
    },
};
use std::{fs, ops::ControlFlow, path::Path, path::PathBuf, sync::Arc};

/// What is exported, and where to.
#[derive(Clone)]
pub struct ExportOptions {
    /// The directory of the journal.
    pub store: PathBuf,
    /// Where to.
    pub target: Target,
    /// As what.
    pub format: Format,
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
    /// Entries of what administrators changed.
    pub changes: u64,
    /// Parts, of both.
    pub parts: u64,
    /// Close entries left out because their request was there already.
    pub duplicates: u64,
    /// Records of this and all earlier runs.
    pub records_total: u64,
}

/// Adds what the journal has and the destination has not.
pub fn export(options: &ExportOptions, progress: &mut dyn FnMut(&Progress)) -> Result<Exported, AuditError> {
    need_segments(&options.store)?;
    export_to(options, &mut *destination::open(&options.target)?, progress)
}

/// The same into a destination that is open.
pub(super) fn export_to(
    options: &ExportOptions,
    place: &mut dyn Destination,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Exported, AuditError> {
    let asked = Asked { format: options.format, since: options.since, until: options.until };
    let mut manifest = Manifest::open(place, asked)?;
    let mut claimed = false;
    if manifest.is_unfinished() {
        // Claimed first: whoever is still writing cannot move the manifest past parts that are swept away here.
        manifest.claim(place)?;
        claimed = true;
        for name in manifest.leftovers(place)? {
            place.remove(&name)?;
        }
    }
    let names = Arc::new(Names::default());
    let from = manifest.place();
    let mut walk = Walk::new(&options.store, names.clone());
    if let Some(from) = from {
        walk = walk.resume(from);
    }
    let shown = place.shown();
    let mut exporter = Exporter {
        options,
        asked,
        filter: RecordFilter { since: options.since, until: options.until, ..RecordFilter::default() },
        names,
        parts: Parts::new(options.format),
        seen: from.map(|from| warm(&options.store, from)).unwrap_or_default(),
        manifest,
        claimed,
        destination: place,
        progress,
        at: Progress::default(),
        done: Exported::default(),
        batch_records: 0,
        place: None,
        failure: None,
    };
    let walked = walk.run(&mut exporter);
    exporter.failure.take().map_or(Ok(()), Err)?;
    walked.map_err(|error| moved_on(error, from, &shown))?;
    exporter.commit()?;
    exporter.manifest.finish(exporter.destination)?;
    Ok(Exported { records_total: exporter.manifest.records, ..exporter.done })
}

/// The ids of the requests that were closed shortly before a place. What of that cannot be read is no error here: it has
/// been exported, and is only looked at once more.
fn warm(store: &Path, until: ChainPlace) -> Seen {
    let mut first = until.segment;
    let mut bytes = until.offset;
    while first > 1 {
        let Ok(before) = fs::metadata(segment_path(store, first - 1)) else { break };
        bytes += before.len();
        if bytes > WARM_BYTES_MAX {
            break;
        }
        first -= 1;
    }
    let mut seen = Seen::default();
    let walk = Walk::new(store, Arc::new(Names::default())).skip_to(first);
    if let Err(error) = walk.run(&mut Warming { seen: &mut seen, until }) {
        tracing::debug!(%error, "the journal before the export's place cannot be read again");
    }
    seen
}

/// What to say when the journal no longer has the place where the last run ended.
fn moved_on(error: JournalError, from: Option<ChainPlace>, out: &str) -> AuditError {
    let Some(from) = from else { return error.into() };
    let here = match &error {
        JournalError::Missing { path } | JournalError::Damaged { path, .. } => path,
        _ => return error.into(),
    };
    AuditError::Other(format!(
        "the journal cannot be followed from where the export in {out} stopped (segment {}, byte {}): see {}. Is it another \
         store, was it changed, or has audit.retention dropped what was not exported yet? `weir audit verify` tells more; \
         to export what is there, give another --out",
        from.segment,
        from.offset,
        here.display()
    ))
}

struct Exporter<'a> {
    options: &'a ExportOptions,
    asked: Asked,
    filter: RecordFilter,
    names: Arc<Names>,
    parts: Parts,
    seen: Seen,
    manifest: Manifest,
    /// The manifest says that this run writes parts.
    claimed: bool,
    destination: &'a mut dyn Destination,
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
        let parts = self.parts.publish(self.destination)?;
        self.manifest.records += self.batch_records;
        self.manifest.parts += parts;
        self.manifest.advance(self.destination, &place, self.options.now)?;
        self.done.records += self.batch_records;
        self.done.parts += parts;
        self.batch_records = 0;
        Ok(())
    }

    /// Says, once, that this run writes parts.
    fn claim(&mut self) -> Result<(), AuditError> {
        if !self.claimed {
            self.manifest.claim(self.destination)?;
            self.claimed = true;
        }
        Ok(())
    }

    fn write_change(&mut self, change: &Change) -> Result<(), AuditError> {
        let at = change.at.seconds();
        let Asked { since, until, .. } = self.asked;
        if since.is_some_and(|since| at < since) || until.is_some_and(|until| at >= until) {
            return Ok(());
        }
        self.claim()?;
        self.parts.write_change(change, &self.manifest, self.destination)?;
        self.done.changes += 1;
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Result<(), AuditError> {
        if !self.seen.insert(record.request_id) {
            self.done.duplicates += 1;
            return Ok(());
        }
        if !self.filter.takes(record, &self.names) {
            return Ok(());
        }
        self.claim()?;
        let view = RecordView::of(record, &self.names);
        self.parts.write(&Row { record, view: &view }, &self.manifest, self.destination)?;
        self.batch_records += 1;
        Ok(())
    }
}

impl Visit for Exporter<'_> {
    fn entry(&mut self, entry: Option<Entry>) {
        if let (Some(Entry::Close(record)), None) = (entry, &self.failure) {
            self.failure = self.record(&record).err();
        }
    }

    fn change(&mut self, change: Change) {
        if self.failure.is_none() {
            self.failure = self.write_change(&change).err();
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
