//! The journal: append-only segments in `store.path`, the source of truth for usage, budgets and audit (design.md §6).
//!
//! One thread writes it (`writer`). Every flush interval it takes what the shards have sent, writes it as one group with
//! one `fdatasync`, and only then tells the ledger and the metrics. At start `replay` reads everything back, cuts a torn
//! tail, refuses anything else that is odd, and closes the requests that were in flight when the last process died.
//!
//! # The files, byte by byte
//!
//! `store.path` holds `lock` (locked exclusively while a process uses the store; its content, the process id, is for
//! people) and segments `journal-%010d.wal`, numbered without gaps (and
//! `budget-raises.json`, which is not the journal's: see `control::budget::Raises`). All integers are little-endian. All hashes are SHA-256.
//!
//! Segment header, 96 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `WEIRJRNL` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | length of this header, 96 |
//! | 16 | 8 | segment number, as in the file's name |
//! | 24 | 8 | creation time, Unix milliseconds |
//! | 32 | 32 | hash of the last group of the segment before; zeros in the very first |
//! | 64 | 28 | zeros, reserved |
//! | 92 | 4 | CRC-32 (IEEE) of bytes 0..92 |
//!
//! Then groups, one after the other, each:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | magic `WGRP`, by which a reader finds whole groups behind a damaged one |
//! | 4 | 4 | length of everything behind this field: 36 + entries + 32 |
//! | 8 | 4 | number of entries |
//! | 12 | 32 | hash of the group before (of the header's field, for a segment's first group): the chain |
//! | 44 | … | entries: length, 4 bytes; then that many bytes of protobuf, message `EntryV1` (`entry.rs`) |
//! | … | 32 | hash of everything before it in the group, magic included |
//!
//! A group is written only after the one before is on disk, and a segment is begun only after the one before is complete.
//! So after a crash at most the last group of the last segment can be torn. A bad group with a whole one behind it, or
//! in an earlier segment, is damage, and weir refuses to start on it: it never skips what it cannot read. A torn end is cut
//! off and kept beside its segment, as `journal-%010d.wal.torn-OFFSET`; nothing reads that file.
//!
//! Entries are of requests (`OpenV1`, `CloseV1`; a request that was opened and closed within one group has only the latter), or of changes (`ChangeV1`: keys, raises, reloads, drains, starts and stops), in
//! one chain. Replay passes changes on and books nothing by them.
//!
//! While one process replaces another, the older writes a chain of its own, in a directory of the store, and the newer
//! brings what is in it over into this one (`side`): entries of a further kind, `JoinV1`, say how far.
//!
//! Names are texts in entries, never numbers, so that a segment can be read without the process that wrote it. What repeats
//! itself within an entry, or in all of them, is written shorter (`shorthand`, and the fields of `CloseV1` that say so); entries
//! that were written before that are read as they are. A weir from before it reads newer entries without these fields.
//!
//! Retention takes whole segments away, oldest first, and leaves the format alone: the first remaining header says which
//! hash the chain goes on from. Usage and budgets survive it in the ledger's snapshot (`control::ledger::snapshot`), a further
//! file that names the place in the chain it covers: a start reads it and replays only what comes after that place
//! (`JournalState`). A segment is dropped only when the snapshots on disk cover it.

mod appender;
mod codec;
mod desk;
mod encoder;
mod entry;
mod error;
mod group;
mod handle;
mod health;
mod moves;
mod replay;
mod retention;
mod segment;
mod shorthand;
mod side;
mod state;
mod storage;
mod walk;
mod writer;

#[cfg(test)]
pub(super) mod tests;

pub(super) use codec::{change_bytes, change_of, record_bytes, records_of};
pub use desk::{CHANGE_WAIT, ChangeDesk, NotRecorded, Receipt};
pub use error::JournalError;
pub(super) use group::{HEADER_BYTES, Hash, IntactGroup, SegmentHeader};
pub use handle::{Journal, JournalHandle, JournalOptions, Resume, Sink, Store};
pub use health::JournalHealth;
pub use moves::Moves;
pub use replay::{Replay, read};
pub(super) use side::{Joined, side_chains};
pub use side::{Retired, somebody_retires};
pub use state::JournalState;
pub use storage::{DiskStorage, SegmentFile, Storage};
pub(super) use storage::{segment_path, segments};
pub(super) use walk::{ChainPlace, GroupPlace, Tail, Visit, Walk, created_at};

use crate::{
    control::changes::{CHANGES_WAITING_MAX, DETAIL_BYTES_MAX},
    kernel::limits::USAGE_RAW_BYTES_MAX,
};

/// `refused_by` of requests that were in flight when weir died.
pub const CRASH: &str = "crash";
/// A segment this large is the last one's end. Bytes.
pub const SEGMENT_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Entries in one group, at most: what one pass takes from all rings together.
pub const GROUP_ENTRIES_MAX: usize = 16 * 1024;

const _: () = assert!(
    GROUP_ENTRIES_MAX as u64 * 4 * USAGE_RAW_BYTES_MAX as u64 <= u32::MAX as u64,
    "a group's length is 32 bits"
);
const _: () = assert!(
    2 * CHANGES_WAITING_MAX as u64 * DETAIL_BYTES_MAX as u64 <= 64 * 1024 * 1024,
    "changes are a small part of a group"
);
