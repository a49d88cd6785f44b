//! The files of a store of bodies: names, indexes, and what age takes away.

use super::frame::{HEADER_BYTES, Header};
use crate::kernel::{ids::RequestId, time::UnixMs};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

/// An index's entry: a request's id and where its first frame is.
const ENTRY_BYTES: usize = 24;

/// Where the bodies of a store are.
pub fn directory_of(store: &Path) -> PathBuf {
    store.join("bodies")
}

pub(super) fn segment_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("bodies-{segment:010}.seg"))
}

fn index_path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("bodies-{segment:010}.idx"))
}

/// The numbers of the segments, in order; none without a directory.
pub(super) fn segments(directory: &Path) -> io::Result<Vec<u64>> {
    let files = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for file in files {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = name.strip_prefix("bodies-").and_then(|rest| rest.strip_suffix(".seg"));
        let number = digits.and_then(|d| d.parse().ok()).filter(|number| segment_path(directory, *number) == path);
        found.extend(number);
    }
    found.sort_unstable();
    Ok(found)
}

/// Makes a segment with this header, durable together with its name. A number that is taken is an error: while one process
/// replaces another, both make segments here.
pub(super) fn create(directory: &Path, segment: u64, header: &[u8; HEADER_BYTES]) -> io::Result<File> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let path = segment_path(directory, segment);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all_at(header, 0)?;
    file.sync_all()?;
    sync(directory)?;
    Ok(file)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Reads a segment's header; `Err` inside if it is none.
pub(super) fn header(directory: &Path, segment: u64) -> io::Result<Result<Header, String>> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    File::open(segment_path(directory, segment))?.take(HEADER_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(Header::decode(&bytes))
}

/// Writes the index of a complete segment. It only saves time: whoever finds none looks through the segment.
pub(super) fn write_index(directory: &Path, segment: u64, mut first_frames: Vec<(RequestId, u64)>) -> io::Result<()> {
    first_frames.sort_unstable();
    let mut bytes = Vec::with_capacity(first_frames.len() * ENTRY_BYTES + 4);
    for (id, offset) in first_frames {
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    let aside = directory.join(format!("index-{segment:010}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(aside, index_path(directory, segment))
}

/// Where a request's first frame is in a segment. Outside: whether there is an index that says.
pub(super) fn look_up(directory: &Path, segment: u64, id: RequestId) -> Option<Option<u64>> {
    let bytes = fs::read(index_path(directory, segment)).ok()?;
    let (entries, crc) = bytes.split_last_chunk::<4>()?;
    if crc32fast::hash(entries) != u32::from_le_bytes(*crc) || !entries.len().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let key_at = |place: usize| &entries[place * ENTRY_BYTES..place * ENTRY_BYTES + 16];
    let (mut low, mut high) = (0, entries.len() / ENTRY_BYTES);
    while low < high {
        let middle = (low + high) / 2;
        if key_at(middle) < &id.0.to_be_bytes()[..] { low = middle + 1 } else { high = middle }
    }
    let found = low * ENTRY_BYTES < entries.len() && key_at(low) == id.0.to_be_bytes();
    let offset =
        || u64::from_le_bytes(entries[low * ENTRY_BYTES + 16..(low + 1) * ENTRY_BYTES].try_into().unwrap_or_default());
    Some(found.then(offset))
}

/// What a look for aged segments came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments that are gone now.
    pub dropped: usize,
    /// Segments that are left.
    pub left: usize,
}

/// Removes whole segments, oldest first, in which nothing is younger than `keep`: the next one was begun before that. The newest
/// one stays.
pub(super) fn age_out(directory: &Path, keep: Duration, now: UnixMs) -> io::Result<Retained> {
    let numbers = segments(directory)?;
    let cutoff = now.0.saturating_sub(keep.as_millis().min(u128::from(u64::MAX)) as u64);
    let mut dropped = 0;
    for pair in numbers.windows(2) {
        let begun = header(directory, pair[1])?.map(|header| header.created_at.0);
        if begun.map_or(true, |begun| begun >= cutoff) {
            break;
        }
        match fs::remove_file(index_path(directory, pair[0])) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::remove_file(segment_path(directory, pair[0]))?,
        }
        dropped += 1;
    }
    if dropped > 0 {
        sync(directory)?;
    }
    Ok(Retained { dropped, left: numbers.len() - dropped })
}
