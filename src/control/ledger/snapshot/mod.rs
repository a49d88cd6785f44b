//! Snapshots: the ledger at a place in the journal, so that a start replays only what comes after that place.
//!
//! # The file
//!
//! `ledger.snapshot` in the store, and `ledger.snapshot.previous`, the one before it. Both are derived from the journal and can be
//! removed at any time; then everything is replayed. Integers are little-endian. Header, 64 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `WEIRSNAP` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 8 | bytes behind this header |
//! | 20 | 32 | SHA-256 of them |
//! | 52 | 8 | zeros |
//! | 60 | 4 | CRC-32 (IEEE) of bytes 0..60 |
//!
//! Behind it sections: a tag (4 bytes), a length (4 bytes), so many bytes of protobuf (`body`, `slots`). The first names the place
//! in the chain: segment, byte, and the hash of the last group before it.
//!
//! # What holds
//!
//! - A snapshot counts only if it is whole, of a version that is known, and the chain has that hash at that place, with the
//!   segments before it leading there. Else it is said in the log why not, the one before is tried, and then everything is
//!   replayed. Numbers are never made of a snapshot that does not fit.
//! - It is written by a thread of its own (`keeper`) from an image, into a new file, which is synced and moved. Neither the
//!   journal's thread nor an answer waits for it. A full disk costs the snapshot, nothing else.
//! - Sums outlive the segments they came from: retention drops a segment only when both files cover it. What is lost if both are
//!   lost as well is said at the start that finds it so.
//! - It is no part of the tamper-evident chain: the journal's records prove the sums, `weir audit verify` proves the records.
//!   Removing both files makes the next start add everything up again from what the journal still holds.

mod body;
mod file;
mod keeper;
mod slots;

pub use keeper::Keeper;

use super::{CELLS_MAX, Ledger};
use crate::{
    control::journal::{Resume, Store, segments},
    kernel::{ids::RequestId, names::Names},
};
use std::{fmt, fs, io, path::Path, sync::Arc};

/// The newest snapshot.
const CURRENT: &str = "ledger.snapshot";
/// The one before it.
const PREVIOUS: &str = "ledger.snapshot.previous";
/// One being written.
const UNFINISHED: &str = "ledger.snapshot.new";

/// Why a snapshot does not count.
#[derive(Debug)]
pub enum SnapshotError {
    /// It cannot be read.
    Io(io::Error),
    /// It is no snapshot, or not whole.
    Damaged(String),
    /// A later weir wrote it, in this version of the format.
    Newer(u32),
    /// It is of another journal, or of one that has been changed since.
    Foreign(String),
}

impl fmt::Display for SnapshotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
            Self::Damaged(why) => write!(f, "it is damaged: {why}"),
            Self::Newer(version) => write!(f, "it has format version {version}, a later weir's"),
            Self::Foreign(why) => write!(f, "it is not of the journal in this store: {why}"),
        }
    }
}

impl From<io::Error> for SnapshotError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A ledger, and the place in the journal from which it must still be told.
pub struct Restored {
    /// As it was there.
    pub ledger: Ledger,
    /// Where that is.
    pub resume: Resume,
    /// It is the newest one: the next one may push it back.
    current: bool,
    /// Segment that the other file goes on in, as it says.
    other: Option<u64>,
}

/// Reads the newest snapshot that fits the journal of a store; `None` if there is none, and all is to be replayed. What is wrong
/// with those that do not fit is logged.
pub fn load(store: &Store, names: &Arc<Names>) -> Option<Restored> {
    let directory = store.directory();
    let mut refused = false;
    for name in [CURRENT, PREVIOUS] {
        match read(directory, name, names, CELLS_MAX) {
            Ok((ledger, resume)) => {
                let current = name == CURRENT;
                let other = current.then(|| file::peek(&directory.join(PREVIOUS))).flatten();
                let other = other.and_then(|bytes| body::state_of(&bytes, names).ok()).map(|state| state.segment());
                return Some(Restored { ledger, resume, current, other });
            }
            Err(SnapshotError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                refused = true;
                let file = directory.join(name);
                tracing::warn!(file = %file.display(), "the ledger's snapshot is not used: {error}");
            }
        }
    }
    if refused {
        tracing::warn!("no snapshot fits: replaying the whole journal; the next snapshot mends this");
    }
    tell_what_is_gone(directory);
    None
}

/// Without a snapshot, what retention has dropped is in no sum.
fn tell_what_is_gone(directory: &Path) {
    let first = segments(directory).ok().and_then(|segments| segments.first().copied());
    if let Some(first) = first.filter(|first| *first > 1) {
        tracing::warn!(
            first_segment = first,
            "the journal's older segments were dropped and no snapshot has their sums: usage and budgets begin with this segment"
        );
    }
}

fn read(directory: &Path, name: &str, names: &Arc<Names>, cells_max: usize) -> Result<(Ledger, Resume), SnapshotError> {
    let path = directory.join(name);
    // Said before, since reading a large one takes a while.
    let bytes = fs::metadata(&path)?.len();
    tracing::info!(file = %path.display(), bytes, "reading the ledger's snapshot");
    let bytes = file::read(&path)?;
    let (state, image) = body::decode(&bytes, names, cells_max).map_err(SnapshotError::Damaged)?;
    state.check(directory).map_err(SnapshotError::Foreign)?;
    let closed: Vec<RequestId> = image.newest.records().map(|record| record.request_id).collect();
    Ok((Ledger::restored(image), Resume { state, closed }))
}

#[cfg(test)]
mod tests;
