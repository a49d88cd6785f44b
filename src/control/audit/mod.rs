//! The audit: what can be said of a journal from its files alone, beside a running gateway or long after it.
//!
//! Invariants: nothing here writes to the store or takes its lock; segments are read group by group, never as a whole; what
//! is found in the newest segment behind the last whole group is a group being written, not an error.
//! What the chain proves: nothing in it was changed, removed or reordered without every later hash being made anew. It has
//! no secret, so whoever can write the store can make it anew, or cut its end; against that stand signed checkpoints kept
//! elsewhere (`checkpoint`): a journal that does not contain the checkpoint's prefix is found out.
//! Stored bodies are looked at with their key only (`bodies`).
//! Deliberately absent: the export, which is `control::export`.

mod bodies;
mod changes;
mod checkpoint;
mod keys;
mod query;
mod scan;
mod sides;
mod verify;

#[cfg(test)]
pub(super) mod tests;

pub use bodies::{BadBody, BodiesVerified, Show, show_body};
pub use changes::changes;
pub use checkpoint::{Checkpoint, read_checkpoint, take_checkpoint};
pub use keys::{PublicKey, SigningKey, generate_keys};
pub use query::{Found, query};
pub(super) use scan::Ids;
pub use verify::{BadPlace, Verified, VerifyError, VerifyOptions, verify};

use super::journal::{Hash, JournalError, segment_path, segments};
use std::{fmt, fs, io, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

/// How far a walk through the journal is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number of the segment being read.
    pub segment: u64,
    /// Groups read.
    pub groups: u64,
    /// Entries read.
    pub entries: u64,
    /// Bytes of groups read.
    pub bytes: u64,
}

/// Why the audit cannot answer.
#[derive(Debug)]
pub enum AuditError {
    /// The journal cannot be read, or is damaged.
    Journal(JournalError),
    /// Anything else, in a sentence that says what to do.
    Other(String),
}

impl From<JournalError> for AuditError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => error.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for AuditError {}

pub(super) fn failed(doing: &str, path: &Path, error: impl fmt::Display) -> AuditError {
    AuditError::Other(format!("cannot {doing} {}: {error}", path.display()))
}

/// The segments of a store that has some.
pub(super) fn need_segments(store: &Path) -> Result<Vec<u64>, AuditError> {
    let hint = "name the directory that store.path names with --store";
    if !store.is_dir() {
        return Err(AuditError::Other(format!("there is no directory {}; {hint}", store.display())));
    }
    let numbers = segments(store)?;
    if numbers.is_empty() {
        return Err(AuditError::Other(format!("there is no journal in {}; {hint}", store.display())));
    }
    Ok(numbers)
}

/// Returns when a segment is on disk as far as it has been read: what is signed or exported of it beside a running gateway
/// must not be undone by a loss of power.
pub(super) fn settle(store: &Path, segment: u64) -> Result<(), AuditError> {
    let path = segment_path(store, segment);
    fs::File::open(&path).and_then(|file| file.sync_data()).map_err(|error| failed("sync", &path, error))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let plain = digits.len().is_multiple_of(2) && digits.iter().all(u8::is_ascii_hexdigit);
    plain.then(|| digits.chunks(2).map(pair).collect()).flatten()
}

pub(super) fn hash_of(text: &str) -> Option<Hash> {
    unhex(text)?.try_into().ok()
}

/// Writes a file so that it is there whole or not at all, also after a crash.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_directory(path.parent().unwrap_or(Path::new("")))
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    let here = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    fs::File::open(here)?.sync_all()
}
