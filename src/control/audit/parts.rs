//! The files of one batch: written under temporary names, and given their own when they are on disk.

use super::{
    AuditError, failed,
    manifest::{day_folder, part_name, parts_of},
    scan::Ids,
    sync_directory,
};
use crate::{
    control::ledger::RecordView,
    kernel::{ids::RequestId, time::UnixMs},
};
use jiff::{Timestamp, tz::TimeZone};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Days whose request ids are remembered beyond a batch; a day that comes again after it was forgotten is read again.
const DAYS_REMEMBERED: usize = 3;
/// Every line of ours begins like this (`RecordView`'s first field).
const LINE_PREFIX: &str = "{\"request_id\":\"req_";

/// Called before every step that changes the disk, so that tests can end a run at each of them.
pub(super) type Step<'a> = &'a mut dyn FnMut() -> io::Result<()>;

/// The parts of the batch being written, and what days already hold.
pub(super) struct Parts<'a> {
    directory: &'a Path,
    start: (u64, u64),
    open: BTreeMap<String, Part>,
    days: BTreeMap<String, Ids>,
    step: Step<'a>,
}

struct Part {
    folder: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
}

impl<'a> Parts<'a> {
    pub fn new(directory: &'a Path, start: (u64, u64), step: Step<'a>) -> Self {
        Self { directory, start, open: BTreeMap::new(), days: BTreeMap::new(), step }
    }

    /// Days with a part in this batch.
    pub fn days(&self) -> usize {
        self.open.len()
    }

    /// Writes a record as a line, unless its day has it already; false if it has.
    pub fn write(&mut self, id: RequestId, started_at: UnixMs, view: &RecordView) -> Result<bool, AuditError> {
        let day = day_of(started_at);
        if !self.days.contains_key(&day) {
            let ids = ids_of(&day_folder(self.directory, &day))?;
            self.days.insert(day.clone(), ids);
        }
        if !self.days.entry(day.clone()).or_default().insert(id) {
            return Ok(false);
        }
        if !self.open.contains_key(&day) {
            let part = self.begin(&day).map_err(|error| failed("write into", self.directory, error))?;
            self.open.insert(day.clone(), part);
        }
        let Some(part) = self.open.get_mut(&day) else { return Ok(false) };
        let written = serde_json::to_writer(&mut part.out, view).map_err(io::Error::from);
        written.and_then(|()| part.out.write_all(b"\n")).map_err(|error| failed("write", &part.temporary, error))?;
        Ok(true)
    }

    fn begin(&mut self, day: &str) -> io::Result<Part> {
        let folder = day_folder(self.directory, day);
        (self.step)()?;
        fs::create_dir_all(&folder)?;
        let temporary = folder.join(part_name(self.start) + ".tmp");
        (self.step)()?;
        let out = BufWriter::with_capacity(256 * 1024, File::create(&temporary)?);
        Ok(Part { folder, temporary, out })
    }

    /// Makes all parts durable under their names, and begins the next batch; returns how many parts there were.
    pub fn finish(&mut self, next: (u64, u64)) -> Result<u64, AuditError> {
        let parts = std::mem::take(&mut self.open);
        let count = parts.len() as u64;
        for part in parts.into_values() {
            let path = part.folder.join(part_name(self.start));
            self.give_name(part, &path).map_err(|error| failed("write", &path, error))?;
        }
        sync_directory(self.directory).map_err(|error| failed("write into", self.directory, error))?;
        self.start = next;
        while self.days.len() > DAYS_REMEMBERED {
            self.days.pop_first();
        }
        Ok(count)
    }

    fn give_name(&mut self, mut part: Part, path: &Path) -> io::Result<()> {
        (self.step)()?;
        part.out.flush()?;
        part.out.get_ref().sync_all()?;
        (self.step)()?;
        fs::rename(&part.temporary, path)?;
        sync_directory(&part.folder)
    }

    /// One more step of the run.
    pub fn step(&mut self) -> io::Result<()> {
        (self.step)()
    }
}

/// The day a request began, UTC.
fn day_of(at: UnixMs) -> String {
    let day = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    day.map_or_else(|| "unknown".into(), |at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string())
}

/// The ids of all requests in a day's parts.
fn ids_of(folder: &Path) -> Result<Ids, AuditError> {
    let mut ids = Ids::default();
    let mut line = Vec::new();
    for part in parts_of(folder)?.into_iter().filter(|part| !part.unfinished) {
        let file = File::open(&part.path).map_err(|error| failed("read", &part.path, error))?;
        let mut reader = BufReader::with_capacity(256 * 1024, file);
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line).map_err(|error| failed("read", &part.path, error))?;
            if read == 0 {
                break;
            }
            let digits = line.strip_prefix(LINE_PREFIX.as_bytes()).and_then(|rest| rest.get(..32));
            let id = digits.and_then(|d| u128::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok());
            let id = id.ok_or_else(|| {
                let why = "holds a line that weir did not write; move the file away, or give another --out";
                AuditError::Other(format!("{} {why}", part.path.display()))
            })?;
            ids.insert(RequestId(id));
        }
    }
    Ok(ids)
}
