//! Why the journal cannot be used, and what to do about it.

use std::{fmt, io, path::PathBuf};

/// Why the journal cannot be opened or could not be finished.
#[derive(Debug)]
pub enum JournalError {
    /// Another process uses the store.
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A segment holds something weir did not write, or no longer holds what it wrote.
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it, bytes from its start.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
    /// A segment is not there.
    Missing {
        /// The segment.
        path: PathBuf,
    },
    /// The journal was stopped while its disk refused to write.
    Unwritten {
        /// Entries that are lost with this process.
        entries: usize,
        /// What the disk said last.
        source: io::Error,
    },
    /// The writer ended by a panic.
    Died,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path } => write!(
                f,
                "{} is locked: another weir process uses this store. Stop it, or give this one another store.path",
                path.display()
            ),
            Self::Io { doing, path, source } => {
                write!(f, "cannot {doing} {}: {source}{}", path.display(), mend(source.kind()))
            }
            Self::Damaged { path, offset, why } => write!(
                f,
                "the journal segment {} is damaged at byte {offset}: {why}. weir does not skip records. Restore the file \
                 from a copy; or, to go on without what it holds from there (usage and budgets will lack it), move this \
                 file and every later segment out of the store yourself",
                path.display()
            ),
            Self::Missing { path } => write!(
                f,
                "the journal segment {} is missing between others. weir does not skip records. Restore the file from a \
                 copy; or, to go on without it, move every later segment out of the store yourself",
                path.display()
            ),
            Self::Unwritten { entries, source } => {
                write!(f, "{entries} journal entries could not be written before the end: {source}")
            }
            Self::Died => f.write_str("the journal's writer has died; see the panic in the log"),
        }
    }
}

/// What an operator can do about it.
fn mend(kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{
        AlreadyExists, NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    match kind {
        AlreadyExists | NotADirectory => ". A part of store.path is a file; name a directory",
        NotFound => ". Name a directory in store.path that weir can make files in",
        PermissionDenied => ". Give the user that weir runs as this directory, or name another one in store.path",
        ReadOnlyFilesystem => ". The disk is read-only; mount it for writing, or name another directory in store.path",
        StorageFull | QuotaExceeded => ". Make room on the disk of store.path; nothing is served before",
        _ => "",
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::Unwritten { source, .. } => Some(source),
            _ => None,
        }
    }
}
