//! The parts of one batch: a draft a day, which get their names when the batch ends.

use super::{
    BUFFERED_BYTES_MAX, CHANGES, Format, ROW_GROUP_BYTES_MAX, columns::Row, destination::Destination, encoder::Encoder,
    manifest::Manifest,
};
use crate::{
    control::{
        audit::AuditError,
        changes::{Change, ChangeView},
    },
    kernel::time::UnixMs,
};
use jiff::{Timestamp, tz::TimeZone};
use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
};

/// The parts of the batch being written, by their folder.
pub(super) struct Parts {
    format: Format,
    open: BTreeMap<String, Part>,
}

struct Part {
    name: String,
    encoder: Encoder,
}

impl Parts {
    pub fn new(format: Format) -> Self {
        Self { format, open: BTreeMap::new() }
    }

    /// Days with a part in this batch.
    pub fn days(&self) -> usize {
        self.open.len()
    }

    /// Writes a record into the part of its day.
    pub fn write(&mut self, row: &Row<'_>, manifest: &Manifest, place: &mut dyn Destination) -> Result<(), AuditError> {
        let folder = format!("day={}", day_of(row.record.started_at));
        let part = self.part(folder, self.format, manifest, place)?;
        part.encoder.write(row).map_err(|error| failed(&part.name, &error))?;
        if part.encoder.buffered() >= ROW_GROUP_BYTES_MAX {
            part.encoder.flush().map_err(|error| failed(&part.name, &error))?;
        }
        if self.open.values().map(|part| part.encoder.buffered()).sum::<usize>() >= BUFFERED_BYTES_MAX {
            for part in self.open.values_mut() {
                part.encoder.flush().map_err(|error| failed(&part.name, &error))?;
            }
        }
        Ok(())
    }

    /// Writes a change into the part of its day, always as a JSON line: what stood before and after is a document.
    pub fn write_change(
        &mut self,
        change: &Change,
        manifest: &Manifest,
        place: &mut dyn Destination,
    ) -> Result<(), AuditError> {
        let folder = format!("{CHANGES}/day={}", day_of(change.at));
        let part = self.part(folder, Format::Jsonl, manifest, place)?;
        part.encoder.write_line(&ChangeView::of(change)).map_err(|error| failed(&part.name, &error))
    }

    fn part(
        &mut self,
        folder: String,
        format: Format,
        manifest: &Manifest,
        place: &mut dyn Destination,
    ) -> Result<&mut Part, AuditError> {
        Ok(match self.open.entry(folder) {
            Entry::Occupied(part) => part.into_mut(),
            Entry::Vacant(vacant) => {
                let name = manifest.part_name(vacant.key(), format);
                let file = place.draft(&name)?;
                let encoder = Encoder::begin(format, file).map_err(|error| failed(&name, &error))?;
                vacant.insert(Part { name, encoder })
            }
        })
    }

    /// Makes all parts durable under their names; returns how many there were.
    pub fn publish(&mut self, place: &mut dyn Destination) -> Result<u64, AuditError> {
        let parts = std::mem::take(&mut self.open);
        let count = parts.len() as u64;
        for part in parts.into_values() {
            let file = part.encoder.finish().map_err(|error| failed(&part.name, &error))?;
            place.publish(&part.name, file)?;
        }
        Ok(count)
    }
}

fn failed(name: &str, error: &io::Error) -> AuditError {
    AuditError::Other(format!("cannot write the export's part {name}: {error}"))
}

/// The day of a moment, UTC.
fn day_of(at: UnixMs) -> String {
    let day = i64::try_from(at.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    day.map_or_else(|| "unknown".into(), |at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string())
}
