//! What an export needs of the place it goes to, and how a directory gives it.

use super::bucket::Bucket;
use super::target::Target;
use crate::control::audit::{AuditError, failed, sync_directory, write_whole};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// Of what administrators changed.
const CHANGES_FOLDER: &str = "changes/";
/// A part under this ending is being written.
const UNFINISHED: &str = ".tmp";

/// A place that holds parts by their names, `day=2026-11-21/part-….parquet`, and a manifest.
pub(super) trait Destination {
    /// Its name, for people.
    fn shown(&self) -> String;

    /// The content of a small file; `None` if it is not there.
    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, AuditError>;

    /// Replaces a file that `read` has read or not found, whole and durable. Fails if somebody else replaced it meanwhile,
    /// where the place can tell.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), AuditError>;

    /// A file for a part to be written to, which is nobody's part yet.
    fn draft(&mut self, name: &str) -> Result<File, AuditError>;

    /// Makes a written draft the part of that name, whole and durable.
    fn publish(&mut self, name: &str, file: File) -> Result<(), AuditError>;

    /// Names of all files in folders of days, those being written included.
    fn files(&mut self) -> Result<Vec<String>, AuditError>;

    /// Removes a file.
    fn remove(&mut self, name: &str) -> Result<(), AuditError>;
}

/// Opens a destination. A directory is locked while it is open.
pub(super) fn open(target: &Target) -> Result<Box<dyn Destination>, AuditError> {
    Ok(match target {
        Target::Directory(path) => Box::new(Directory::open(path)?),
        Target::Bucket(bucket) => Box::new(Bucket::open(bucket)?),
    })
}

/// The name of a part without the ending that says that it is being written; whether it had that.
pub(super) fn finished_name(name: &str) -> (&str, bool) {
    name.strip_suffix(UNFINISHED).map_or((name, false), |name| (name, true))
}

struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    fn open(path: &Path) -> Result<Self, AuditError> {
        fs::create_dir_all(path).map_err(|error| failed("make", path, error))?;
        let lock = path.join(".lock");
        let file = File::options().write(true).create(true).truncate(false).open(&lock);
        let file = file.map_err(|error| failed("lock", &lock, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.into(), _lock: file }),
            Err(TryLockError::WouldBlock) => {
                Err(AuditError::Other(format!("another export is writing into {}; wait for it", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(failed("lock", &lock, error)),
        }
    }
}

impl Destination for Directory {
    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, AuditError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed("read", &path, error)),
        }
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
        let path = self.path.join(name);
        write_whole(&path, bytes).map_err(|error| failed("write", &path, error))
    }

    fn draft(&mut self, name: &str) -> Result<File, AuditError> {
        let path = self.path.join(format!("{name}{UNFINISHED}"));
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&path));
        made.map_err(|error| failed("write", &path, error))
    }

    fn publish(&mut self, name: &str, file: File) -> Result<(), AuditError> {
        let (draft, path) = (self.path.join(format!("{name}{UNFINISHED}")), self.path.join(name));
        let durable = || {
            file.sync_all()?;
            fs::rename(&draft, &path)?;
            sync_directory(path.parent().unwrap_or(&self.path))?;
            sync_directory(&self.path)
        };
        durable().map_err(|error| failed("write", &path, error))
    }

    fn files(&mut self) -> Result<Vec<String>, AuditError> {
        let mut files = Vec::new();
        for above in ["", CHANGES_FOLDER] {
            let folder = self.path.join(above);
            if !folder.is_dir() {
                continue;
            }
            for day in names_in(&folder)?.into_iter().filter(|name| name.starts_with("day=")) {
                let path = folder.join(&day);
                if path.is_dir() {
                    files.extend(names_in(&path)?.into_iter().map(|name| format!("{above}{day}/{name}")));
                }
            }
        }
        Ok(files)
    }

    fn remove(&mut self, name: &str) -> Result<(), AuditError> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(|error| failed("remove", &path, error))
    }
}

/// Names that are text; others are not of this export.
fn names_in(folder: &Path) -> Result<Vec<String>, AuditError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| failed("list", folder, error))? {
        let entry = entry.map_err(|error| failed("list", folder, error))?;
        names.extend(entry.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
