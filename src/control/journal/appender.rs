//! The end of the chain: where the next group goes, and how it gets there.

use super::{
    group::{Group, GroupBuilder, HEADER_BYTES, Hash, SegmentHeader},
    storage::{SegmentFile, Storage},
};
use crate::kernel::time::UnixMs;
use std::io;

/// Writes groups one behind the other. A failed append changes nothing: the same group can be tried again, and goes to the
/// same place. That also answers a failed sync, after which the kernel may have forgotten what it was to write.
pub(super) struct Appender {
    storage: Box<dyn Storage>,
    file: Box<dyn SegmentFile>,
    position: Position,
    segment_bytes_max: u64,
}

/// The end of what is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub segment: u64,
    pub offset: u64,
    pub last: Hash,
}

impl Appender {
    /// Begins a journal with its first segment.
    pub fn begin(mut storage: Box<dyn Storage>, first: Position, max: u64, now: UnixMs) -> io::Result<Self> {
        let file = create(&mut *storage, first.segment, first.last, now)?;
        let position = Position { offset: HEADER_BYTES as u64, ..first };
        Ok(Self { storage, file, position, segment_bytes_max: max })
    }

    /// Goes on at the end of a segment; what is behind it there is cut off.
    pub fn resume(mut storage: Box<dyn Storage>, position: Position, max: u64) -> io::Result<Self> {
        let file = storage.reopen(position.segment, position.offset)?;
        Ok(Self { storage, file, position, segment_bytes_max: max })
    }

    /// Completes a group that is to come next.
    pub fn seal(&self, builder: GroupBuilder) -> Group {
        builder.seal(&self.position.last)
    }

    /// The end of what is on disk.
    pub fn position(&self) -> Position {
        self.position
    }

    /// The segment being written.
    pub fn segment(&self) -> u64 {
        self.position.segment
    }

    /// Removes a segment that is complete.
    pub fn remove(&mut self, segment: u64) -> io::Result<()> {
        if segment >= self.position.segment {
            return Err(io::Error::other("a segment being written is not removed"));
        }
        self.storage.remove(segment)
    }

    /// Puts a group on disk.
    pub fn append(&mut self, group: &Group, now: UnixMs) -> io::Result<()> {
        let size = group.bytes.len() as u64;
        let begun = self.position.offset > HEADER_BYTES as u64;
        if begun && self.position.offset + size > self.segment_bytes_max {
            let segment = self.position.segment + 1;
            self.file = create(&mut *self.storage, segment, self.position.last, now)?;
            self.position = Position { segment, offset: HEADER_BYTES as u64, ..self.position };
        }
        self.file.write_at(&group.bytes, self.position.offset)?;
        self.file.sync()?;
        self.position.offset += size;
        self.position.last = group.hash;
        Ok(())
    }
}

fn create(storage: &mut dyn Storage, segment: u64, previous: Hash, now: UnixMs) -> io::Result<Box<dyn SegmentFile>> {
    storage.create(segment, &SegmentHeader { segment, created_at_ms: now.0, previous }.encode())
}
