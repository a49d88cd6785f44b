//! What an export knows of itself: up to which place of the journal it holds everything.
//!
//! The manifest decides. A part begun at or behind its place belongs to a run that died before it could say so. A run says
//! that it has begun (`unfinished`) before its first part; one that finds this said sweeps such parts away, and writes their
//! records again.

use super::{Format, destination::Destination, destination::finished_name};
use crate::{
    control::{
        audit::{AuditError, hash_of, hex},
        journal::ChainPlace,
    },
    kernel::time::UnixMs,
};
use serde::{Deserialize, Serialize};

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
    /// Runs that have written parts; the last part of their names, so that two runs never write the same one.
    #[serde(default)]
    run: u64,
    /// A run has begun to write parts, and has not come to its end. Earlier versions did not say.
    #[serde(default = "yes")]
    unfinished: bool,
}

fn yes() -> bool {
    true
}

/// What an export is asked for; it is the same at every run.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub format: Format,
    pub since: Option<i64>,
    pub until: Option<i64>,
}

impl Manifest {
    /// Reads the manifest of a destination, or begins one. What was asked for must be what it was begun with.
    pub fn open(place: &mut dyn Destination, asked: Asked) -> Result<Self, AuditError> {
        let shown = format!("{}/{NAME}", place.shown().trim_end_matches('/'));
        let wrong = |why: &str| AuditError::Other(format!("{shown}: {why}"));
        let Some(bytes) = place.read(NAME)? else { return Self::begin(place, asked) };
        let manifest: Self =
            serde_json::from_slice(&bytes).map_err(|error| wrong(&format!("is no manifest of an export: {error}")))?;
        if manifest.weir_export != VERSION {
            return Err(wrong(&format!("has version {}, this weir reads {VERSION}", manifest.weir_export)));
        }
        if manifest.offset > 0 && hash_of(&manifest.hash).is_none() {
            return Err(wrong("its hash is no SHA-256"));
        }
        if manifest.format != asked.format.as_str() {
            return Err(wrong(&format!("this export is {}; give that --format, or another --out", manifest.format)));
        }
        if (manifest.since, manifest.until) != (asked.since, asked.until) {
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

    fn begin(place: &mut dyn Destination, asked: Asked) -> Result<Self, AuditError> {
        let strangers = place.files()?.into_iter().find(|name| start_of(finished_name(name).0).is_some());
        if let Some(part) = strangers {
            return Err(AuditError::Other(format!(
                "{}/{part} is part of an export, but there is no {NAME}; restore that, or give another --out",
                place.shown().trim_end_matches('/')
            )));
        }
        let manifest = Self {
            weir_export: VERSION,
            format: asked.format.as_str().into(),
            since: asked.since,
            until: asked.until,
            segment: 0,
            offset: 0,
            hash: hex(&[0; 32]),
            records: 0,
            parts: 0,
            updated_at: String::new(),
            run: 0,
            unfinished: false,
        };
        manifest.write(place)?;
        Ok(manifest)
    }

    /// Where to go on; `None` at the journal's beginning.
    pub fn place(&self) -> Option<ChainPlace> {
        let last = hash_of(&self.hash)?;
        (self.offset > 0).then_some(ChainPlace { segment: self.segment, offset: self.offset, last })
    }

    /// The name of a folder's part whose batch begins at the manifest's place.
    pub fn part_name(&self, folder: &str, format: Format) -> String {
        let Self { segment, offset, run, .. } = self;
        format!("{folder}/part-{segment:010}-{offset:012}-{run:06}.{}", format.as_str())
    }

    /// Did the last run die?
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Says that a run begins to write parts. Whoever is still writing here cannot say any more that it has.
    pub fn claim(&mut self, place: &mut dyn Destination) -> Result<(), AuditError> {
        self.run += 1;
        self.unfinished = true;
        self.write(place)
    }

    /// Says that everything up to here is exported. Durable when it returns.
    pub fn advance(&mut self, place: &mut dyn Destination, to: &ChainPlace, now: UnixMs) -> Result<(), AuditError> {
        (self.segment, self.offset, self.hash) = (to.segment, to.offset, hex(&to.last));
        self.updated_at = now.rfc3339();
        self.write(place)
    }

    /// Says that the run has come to its end.
    pub fn finish(&mut self, place: &mut dyn Destination) -> Result<(), AuditError> {
        if !self.unfinished {
            return Ok(());
        }
        self.unfinished = false;
        self.write(place)
    }

    fn write(&self, place: &mut dyn Destination) -> Result<(), AuditError> {
        let failed = |error| AuditError::Other(format!("cannot write {NAME}: {error}"));
        let mut text = serde_json::to_vec_pretty(self).map_err(failed)?;
        text.push(b'\n');
        place.replace(NAME, &text)
    }

    /// The names of what runs left behind that died before the manifest knew of it.
    pub fn leftovers(&self, place: &mut dyn Destination) -> Result<Vec<String>, AuditError> {
        let mut files = place.files()?;
        files.retain(|name| {
            let (part, unfinished) = finished_name(name);
            // Somebody else's file is nobody's part.
            start_of(part).is_some_and(|start| unfinished || start >= (self.segment, self.offset))
        });
        Ok(files)
    }
}

/// The place of the journal at which a part's batch begins; `None` if the name is no part's.
fn start_of(name: &str) -> Option<(u64, u64)> {
    let (_, file) = name.rsplit_once('/')?;
    let (numbers, extension) = file.strip_prefix("part-")?.split_once('.')?;
    if !matches!(extension, "jsonl" | "parquet") {
        return None;
    }
    let mut numbers = numbers.split('-');
    let start = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    // Earlier versions did not number their runs.
    let run = numbers.next().is_none_or(|run| run.parse::<u64>().is_ok());
    (run && numbers.next().is_none()).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_file_is_swept_away_or_a_part_is_not() {
        assert_eq!(start_of("day=x/part-0000000001-000000000096-000002.parquet"), Some((1, 96)));
        assert_eq!(start_of("day=x/part-0000000001-000000000096.jsonl"), Some((1, 96)));
        assert_eq!(start_of("changes/day=x/part-0000000001-000000000096-000002.jsonl"), Some((1, 96)));
        for other in ["part-1-2-3.parquet", "day=x/part-1-2-3.csv", "day=x/part-1.parquet", "day=x/part-1-2-3-4.jsonl"]
        {
            assert_eq!(start_of(other), None, "{other}");
        }
    }
}
