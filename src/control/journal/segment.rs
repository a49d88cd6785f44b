//! One segment, read group by group through a window, never as a whole: a segment may be larger than memory is willing.

use super::{
    JournalError,
    group::{HEADER_BYTES, Hash, IntactGroup, SegmentHeader},
    storage::segment_path,
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// What is read at once, unless a group is larger. Bytes.
const WINDOW_BYTES: usize = 1024 * 1024;

/// A segment as it was when it was opened: what a writer appends later is not seen, so what is seen never changes.
pub(super) struct SegmentReader {
    path: PathBuf,
    file: File,
    length: u64,
    /// Where in the file `window[used..]` begins.
    at: u64,
    window: Vec<u8>,
    used: usize,
}

/// A segment's file, opened.
pub(super) enum Opened {
    /// With a header.
    Begun(SegmentReader, SegmentHeader),
    /// Without one: what is there instead, and why that is none.
    Headless {
        /// The first bytes, at most a header's.
        bytes: Vec<u8>,
        /// Length of the file.
        length: u64,
        /// What is wrong.
        why: String,
    },
}

impl SegmentReader {
    /// Opens a segment and reads its header; the reader stands at the first group.
    pub fn open(directory: &Path, segment: u64) -> Result<Opened, JournalError> {
        let path = segment_path(directory, segment);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (length, file) = opened.map_err(|source| JournalError::Io { doing: "read", path: path.clone(), source })?;
        let mut reader = Self { path, file, length, at: 0, window: Vec::new(), used: 0 };
        reader.fill(HEADER_BYTES)?;
        let head = &reader.window[..reader.window.len().min(HEADER_BYTES)];
        match SegmentHeader::decode(head) {
            Ok(header) => {
                reader.skip(HEADER_BYTES);
                Ok(Opened::Begun(reader, header))
            }
            Err(why) => Ok(Opened::Headless { bytes: head.to_vec(), length, why }),
        }
    }

    /// Goes to a place that is known to be a group's end.
    pub fn at(mut self, offset: u64) -> Self {
        (self.at, self.used) = (offset, 0);
        self.window.clear();
        self
    }

    /// The hash that ends just before `offset`, as a group's own does; `None` if the file is not that long.
    pub fn hash_before(&self, offset: u64) -> Result<Option<Hash>, JournalError> {
        let mut hash = [0; 32];
        let Some(start) = offset.checked_sub(32).filter(|_| offset <= self.length) else { return Ok(None) };
        match self.file.read_exact_at(&mut hash, start) {
            Ok(()) => Ok(Some(hash)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// How long the file was when it was opened. Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Where the next group begins.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks the group that comes next, without passing it; `None` at the end of the file.
    pub fn peek(&mut self) -> Result<Option<Result<IntactGroup<'_>, String>>, JournalError> {
        let rest = self.rest();
        if rest == 0 {
            return Ok(None);
        }
        self.fill(IntactGroup::HEAD_BYTES)?;
        let wanted = IntactGroup::size_of(&self.window[self.used..]).unwrap_or(0);
        if wanted as u64 <= rest {
            self.fill(wanted)?;
        }
        Ok((self.rest() > 0).then(|| IntactGroup::check(&self.window[self.used..])))
    }

    /// Passes what has been peeked at.
    pub fn skip(&mut self, bytes: usize) {
        self.at += bytes as u64;
        self.used += bytes;
    }

    /// Everything that is left. Only for an end that is no group: it is as long as what was cut.
    pub fn read_rest(&mut self) -> Result<&[u8], JournalError> {
        self.fill(self.rest() as usize)?;
        Ok(&self.window[self.used..])
    }

    fn rest(&self) -> u64 {
        self.length.saturating_sub(self.at)
    }

    /// Sees to it that the window has this many bytes from here, or all there are.
    fn fill(&mut self, wanted: usize) -> Result<(), JournalError> {
        let have = self.window.len() - self.used;
        if have >= wanted || have as u64 >= self.rest() {
            return Ok(());
        }
        self.window.drain(..self.used);
        self.used = 0;
        let target = (wanted.max(WINDOW_BYTES) as u64).min(self.rest()) as usize;
        self.window.resize(target, 0);
        let mut filled = have;
        while filled < target {
            match self.file.read_at(&mut self.window[filled..], self.at + filled as u64) {
                // Cut since it was opened: a gateway that starts cuts a torn end.
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        self.window.truncate(filled);
        if filled < target {
            self.length = self.at + filled as u64;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> JournalError {
        JournalError::Io { doing: "read", path: self.path.clone(), source }
    }
}
