//! Where segments live. A trait, so that tests can put a full disk in its place.

use super::JournalError;
use crate::sys::pages;
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a lock that is held is waited for, in case its holder is just going.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// How often it is tried.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Makes and opens segments.
pub trait Storage: Send {
    /// Makes a segment, empty even if it exists, with this header, durable together with its name.
    fn create(&mut self, segment: u64, header: &[u8]) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens a segment for writing and cuts what is behind `length` bytes.
    fn reopen(&mut self, segment: u64, length: u64) -> io::Result<Box<dyn SegmentFile>>;

    /// Removes a segment and what was cut off it, durably.
    fn remove(&mut self, segment: u64) -> io::Result<()>;
}

/// A segment being written.
pub trait SegmentFile: Send {
    /// Writes all of these bytes at a place.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Returns when everything written is on disk.
    fn sync(&mut self) -> io::Result<()>;
}

/// Segments as files in one directory.
pub struct DiskStorage {
    directory: PathBuf,
}

impl DiskStorage {
    /// Keeps segments in this directory.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.into() }
    }
}

impl Storage for DiskStorage {
    fn create(&mut self, segment: u64, header: &[u8]) -> io::Result<Box<dyn SegmentFile>> {
        let path = segment_path(&self.directory, segment);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all_at(header, 0)?;
        file.sync_all()?;
        File::open(&self.directory)?.sync_all()?;
        Ok(DiskSegment::boxed(file))
    }

    fn reopen(&mut self, segment: u64, length: u64) -> io::Result<Box<dyn SegmentFile>> {
        let file = OpenOptions::new().write(true).open(segment_path(&self.directory, segment))?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
            file.sync_all()?;
        }
        Ok(DiskSegment::boxed(file))
    }

    fn remove(&mut self, segment: u64) -> io::Result<()> {
        let path = segment_path(&self.directory, segment);
        // Torn ends first: what is left after a crash in between is still found from the segment's name.
        let torn = format!("journal-{segment:010}.wal.torn-");
        for file in fs::read_dir(&self.directory)? {
            let file = file?;
            if file.file_name().to_string_lossy().starts_with(&torn) {
                fs::remove_file(file.path())?;
            }
        }
        fs::remove_file(path)?;
        File::open(&self.directory)?.sync_all()
    }
}

struct DiskSegment {
    file: File,
    /// Behind what was written last.
    end: u64,
    /// So much of its beginning the kernel was told to forget.
    forgotten: u64,
}

impl DiskSegment {
    fn boxed(file: File) -> Box<dyn SegmentFile> {
        Box::new(Self { file, end: 0, forgotten: 0 })
    }
}

impl SegmentFile for DiskSegment {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)?;
        self.end = offset + bytes.len() as u64;
        Ok(())
    }

    /// What is on disk is hardly ever read again, so that the kernel need not keep it: the next group finds its pages warm, where
    /// pages that were never used before cost more than everything else about a write. The page that is not full yet stays.
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        let full = self.end - self.end % pages::PAGE_BYTES_MAX;
        if full > self.forgotten {
            pages::forget(&self.file, full);
            self.forgotten = full;
        }
        Ok(())
    }
}

/// Where a segment is.
pub(in crate::control) fn segment_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("journal-{segment:010}.wal"))
}

/// The numbers of the segments in a directory, in order.
pub(in crate::control) fn segments(directory: &Path) -> Result<Vec<u64>, JournalError> {
    let failed = |source| JournalError::Io { doing: "list", path: directory.into(), source };
    let mut found = Vec::new();
    for file in fs::read_dir(directory).map_err(failed)? {
        let path = file.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_prefix("journal-").and_then(|rest| rest.strip_suffix(".wal"));
        // A copy such as `journal-1.wal` is nobody's segment.
        let number = digits.and_then(|d| d.parse().ok()).filter(|number| segment_path(directory, *number) == path);
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Does a process use the store in this directory?
pub(super) fn is_locked(directory: &Path) -> Result<bool, JournalError> {
    let path = directory.join("lock");
    let failed = |source| JournalError::Io { doing: "look at", path: path.clone(), source };
    let file = match OpenOptions::new().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Makes the directory if need be, and takes the store for this process. The lock goes with the file.
pub(super) fn lock(directory: &Path) -> Result<File, JournalError> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(directory);
    made.map_err(|source| JournalError::Io { doing: "create the store", path: directory.into(), source })?;
    let path = directory.join("lock");
    let failed = |source| JournalError::Io { doing: "lock", path: path.clone(), source };
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(failed)?;
    // A process that is being replaced, or a child between fork and exec, holds it a moment longer.
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            Err(TryLockError::WouldBlock) => return Err(JournalError::Locked { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}
