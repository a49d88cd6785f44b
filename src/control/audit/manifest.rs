//! What an export directory knows of itself: up to which place of the journal it holds everything.
//!
//! The manifest decides. A part begun at or behind its place belongs to a run that died before it could say so; such parts
//! are removed when the next run begins, which then writes their records again.

use super::{AuditError, failed, hash_of, hex, write_whole};
use crate::{control::journal::ChainPlace, kernel::time::UnixMs};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    path::{Path, PathBuf},
};

const VERSION: u32 = 1;
const NAME: &str = "manifest.json";

/// The manifest's file, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    weir_export: u32,
    format: String,
    /// Begun at or after this Unix second.
    pub since: Option<i64>,
    /// Begun before this Unix second.
    pub until: Option<i64>,
    /// The place up to which everything has been exported; 0, 0 before the first group.
    segment: u64,
    offset: u64,
    hash: String,
    /// Records exported, by all runs.
    pub records: u64,
    /// Parts, of all runs.
    pub parts: u64,
    updated_at: String,
}

impl Manifest {
    /// Reads the manifest of a directory, or begins one. What was asked for must be what the directory was begun with.
    pub fn open(directory: &Path, since: Option<i64>, until: Option<i64>) -> Result<Self, AuditError> {
        let path = directory.join(NAME);
        let wrong = |why: &str| AuditError::Other(format!("{}: {why}", path.display()));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Self::begin(directory, since, until),
            Err(error) => return Err(failed("read", &path, error)),
        };
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("is no manifest of an export: {error}")))?;
        if manifest.weir_export != VERSION {
            return Err(wrong(&format!("has version {}, this weir reads {VERSION}", manifest.weir_export)));
        }
        if manifest.offset > 0 && hash_of(&manifest.hash).is_none() {
            return Err(wrong("its hash is no SHA-256"));
        }
        if (manifest.since, manifest.until) != (since, until) {
            let was = |time: Option<i64>| {
                time.map_or_else(|| "none".into(), |seconds| UnixMs(seconds as u64 * 1000).rfc3339())
            };
            return Err(wrong(&format!(
                "this export was begun with --since {} and --until {}; give the same, or another --out",
                was(manifest.since),
                was(manifest.until)
            )));
        }
        Ok(manifest)
    }

    fn begin(directory: &Path, since: Option<i64>, until: Option<i64>) -> Result<Self, AuditError> {
        if let Some(part) = all_parts(directory)?.first() {
            return Err(AuditError::Other(format!(
                "{} is part of an export, but its directory has no {NAME}; restore that, or give another --out",
                part.path.display()
            )));
        }
        let manifest = Self {
            weir_export: VERSION,
            format: "jsonl".into(),
            since,
            until,
            segment: 0,
            offset: 0,
            hash: hex(&[0; 32]),
            records: 0,
            parts: 0,
            updated_at: String::new(),
        };
        manifest.write(directory)?;
        Ok(manifest)
    }

    /// Where to go on; `None` at the journal's beginning.
    pub fn place(&self) -> Option<ChainPlace> {
        let last = hash_of(&self.hash)?;
        (self.offset > 0).then_some(ChainPlace { segment: self.segment, offset: self.offset, last })
    }

    /// Segment and offset of the place, for the names of parts that begin there.
    pub fn start(&self) -> (u64, u64) {
        (self.segment, self.offset)
    }

    /// Says that everything up to here is exported. Durable when it returns.
    pub fn advance(&mut self, directory: &Path, place: &ChainPlace, now: UnixMs) -> Result<(), AuditError> {
        (self.segment, self.offset, self.hash) = (place.segment, place.offset, hex(&place.last));
        self.updated_at = now.rfc3339();
        self.write(directory)
    }

    fn write(&self, directory: &Path) -> Result<(), AuditError> {
        let path = directory.join(NAME);
        let mut text = serde_json::to_vec_pretty(self).map_err(|error| failed("write", &path, error))?;
        text.push(b'\n');
        write_whole(&path, &text).map_err(|error| failed("write", &path, error))
    }

    /// Removes what runs left behind that died before the manifest knew of it.
    pub fn sweep(&self, directory: &Path) -> Result<(), AuditError> {
        for part in all_parts(directory)? {
            if part.unfinished || part.start >= self.start() {
                fs::remove_file(&part.path).map_err(|error| failed("remove", &part.path, error))?;
            }
        }
        Ok(())
    }
}

/// A file of an export.
pub(super) struct PartFile {
    pub path: PathBuf,
    /// The place of the journal at which its batch began.
    pub start: (u64, u64),
    /// Still under its temporary name.
    pub unfinished: bool,
}

/// The folder of a day.
pub(super) fn day_folder(directory: &Path, day: &str) -> PathBuf {
    directory.join(format!("day={day}"))
}

/// The file of a batch that begins here.
pub(super) fn part_name(start: (u64, u64)) -> String {
    format!("part-{:010}-{:012}.jsonl", start.0, start.1)
}

/// The parts of one day's folder; none if there is no such folder.
pub(super) fn parts_of(folder: &Path) -> Result<Vec<PartFile>, AuditError> {
    let mut parts = Vec::new();
    let files = match fs::read_dir(folder) {
        Ok(files) => files,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(parts),
        Err(error) => return Err(failed("list", folder, error)),
    };
    for file in files {
        let path = file.map_err(|error| failed("list", folder, error))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (finished, unfinished) = match name.strip_suffix(".tmp") {
            Some(rest) => (rest, true),
            None => (&name[..], false),
        };
        let numbers = finished.strip_prefix("part-").and_then(|rest| rest.strip_suffix(".jsonl")?.split_once('-'));
        let start = numbers.and_then(|(segment, offset)| Some((segment.parse().ok()?, offset.parse().ok()?)));
        // Somebody else's file is nobody's part.
        if let Some(start) = start.filter(|start| part_name(*start) == finished) {
            parts.push(PartFile { path, start, unfinished });
        }
    }
    parts.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(parts)
}

fn all_parts(directory: &Path) -> Result<Vec<PartFile>, AuditError> {
    let mut parts = Vec::new();
    for folder in fs::read_dir(directory).map_err(|error| failed("list", directory, error))? {
        let path = folder.map_err(|error| failed("list", directory, error))?.path();
        let is_day = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("day="));
        if is_day && path.is_dir() {
            parts.extend(parts_of(&path)?);
        }
    }
    Ok(parts)
}
