//! A snapshot as a file: header, checksum, atomic replacement.

use super::{CURRENT, PREVIOUS, SnapshotError, UNFINISHED};
use aws_lc_rs::digest::{Context, SHA256, digest};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

const MAGIC: &[u8; 8] = b"WEIRSNAP";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
/// What is given to the system at once.
const BUFFER_BYTES: usize = 1024 * 1024;
/// What is read of a file to know its place: requests in flight are in it.
const PEEK_BYTES: u64 = 16 * 1024 * 1024;

fn header(length: u64, hash: &[u8]) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[0..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..20].copy_from_slice(&length.to_le_bytes());
    out[20..52].copy_from_slice(hash);
    let crc = crc32fast::hash(&out[..60]);
    out[60..64].copy_from_slice(&crc.to_le_bytes());
    out
}

/// Reads a snapshot and checks that it is one, whole; what is behind its header.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, SnapshotError> {
    let mut bytes = fs::read(path)?;
    let damaged = |why: &str| SnapshotError::Damaged(why.into());
    let Some((head, body)) = bytes.split_at_checked(HEADER_BYTES) else { return Err(damaged("it has no header")) };
    if &head[0..8] != MAGIC {
        return Err(damaged("it does not begin like a snapshot"));
    }
    if crc32fast::hash(&head[..60]).to_le_bytes() != head[60..64] {
        return Err(damaged("its header does not match its checksum"));
    }
    let version = head[8..12].iter().rev().fold(0, |sum: u32, byte| (sum << 8) | u32::from(*byte));
    if version != VERSION {
        return Err(SnapshotError::Newer(version));
    }
    if (body.len() as u64).to_le_bytes() != head[12..20] {
        return Err(damaged("it is cut off"));
    }
    if digest(&SHA256, body).as_ref() != &head[20..52] {
        return Err(damaged("it does not match its hash"));
    }
    bytes.drain(..HEADER_BYTES);
    Ok(bytes)
}

/// The beginning of what is behind the header, unchecked: enough for its first section, if that is not a large one.
pub(super) fn peek(path: &Path) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    file.take(PEEK_BYTES).read_to_end(&mut bytes).ok()?;
    (bytes.len() > HEADER_BYTES).then(|| bytes.split_off(HEADER_BYTES))
}

/// Takes what is written, adds it up, and passes it on in large pieces.
pub(super) struct Hashing {
    file: File,
    buffer: Vec<u8>,
    hash: Context,
    length: u64,
}

impl Hashing {
    fn flush(&mut self) -> io::Result<()> {
        self.hash.update(&self.buffer);
        self.length += self.buffer.len() as u64;
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// Writes one section.
    pub fn section(&mut self, tag: u32, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("a section is too large"))?;
        self.buffer.extend_from_slice(&tag.to_le_bytes());
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }
}

/// Writes a snapshot beside the newest and puts it in its place, durably; the newest becomes the one before if it is `kept`.
/// Gives its size in bytes. If anything fails, the files there were stay as they are.
pub(super) fn write(
    directory: &Path,
    kept: bool,
    fill: impl FnOnce(&mut Hashing) -> io::Result<()>,
) -> io::Result<u64> {
    let path = directory.join(UNFINISHED);
    let written: io::Result<u64> = (|| {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all(&[0; HEADER_BYTES])?;
        let mut out = Hashing { file, buffer: Vec::new(), hash: Context::new(&SHA256), length: 0 };
        fill(&mut out)?;
        out.flush()?;
        let Hashing { file, hash, length, .. } = out;
        file.write_all_at(&header(length, hash.finish().as_ref()), 0)?;
        file.sync_all()?;
        Ok(length + HEADER_BYTES as u64)
    })();
    if written.is_err() {
        // What it took of a full disk is wanted elsewhere.
        let _ = fs::remove_file(&path);
    }
    let size = written?;
    if kept {
        match fs::rename(directory.join(CURRENT), directory.join(PREVIOUS)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(&path, directory.join(CURRENT))?;
    File::open(directory)?.sync_all()?;
    Ok(size)
}
