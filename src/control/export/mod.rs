//! The export: closed requests as Parquet or JSON lines, a folder a day, in a directory or an object store (design.md §6).
//!
//! One run adds what the journal has and the destination has not (`export`); the command line and the running service
//! (`serve`) are the same code. Per destination there is one manifest, which names the place of the journal up to which
//! everything is there; parts are named after the place where their batch begins.
//!
//! Invariants: nothing here writes to the store or takes its lock; the request path knows nothing of it; memory is bounded
//! by `ROW_GROUP_BYTES_MAX`, `BATCH_DAYS_MAX`, `SEEN_IDS_MAX` and `UPLOAD_BYTES`, whatever the journal's size. A part is
//! there whole or not at all. The manifest moves on only when the parts before it are durable, so nothing is ever missing.
//! What a reader can see twice: the parts of a run that has died and that no later run has swept away yet, under the same
//! request ids. So a reader keeps one row a `request_id`; where there are two, they are equal.
//! What administrators changed goes to `changes/`, a folder a day, always as JSON lines; an entry with `failed` says of an
//! earlier one with the same `change_id` that it did not happen.
//! Deliberately absent: a catalogue (Iceberg, Delta), schema changes of parts that are written, deletion of old days.

mod bucket;
mod columns;
mod destination;
mod encoder;
mod manifest;
mod parquet_part;
mod parts;
mod run;
mod seen;
mod service;
mod target;

#[cfg(test)]
mod tests;

pub use run::{ExportOptions, Exported, export};
pub use service::{ExportHealth, ExportJob, ExportState, ExportStatus, serve};
pub use target::{Access, Target};

/// What parts are written as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Parquet, zstd, with the types that a warehouse wants.
    #[default]
    Parquet,
    /// JSON lines, the fields of the record (interface.md §5).
    Jsonl,
}

impl Format {
    /// The name, which is the parts' extension too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
        }
    }
}

/// The folder of what administrators changed, days below it.
const CHANGES: &str = "changes";
/// Records in a part, unless said otherwise.
pub const PART_RECORDS: u64 = 200_000;
/// Days a batch may touch before it is ended: each is an open file.
const BATCH_DAYS_MAX: usize = 8;
/// Values that a part holds in memory before they are written as a row group. Bytes.
const ROW_GROUP_BYTES_MAX: usize = 8 << 20;
/// The same over all open parts.
const BUFFERED_BYTES_MAX: usize = 3 * ROW_GROUP_BYTES_MAX;
/// Request ids remembered, in two generations: one that comes again within the newer is not exported again.
const SEEN_IDS_MAX: usize = 1 << 20;
/// How much of the journal before the manifest's place is read for its request ids. Bytes.
const WARM_BYTES_MAX: u64 = 64 << 20;
/// A part is uploaded in pieces of this size. Bytes; S3 takes 10,000 of them.
const UPLOAD_BYTES: usize = 8 << 20;
