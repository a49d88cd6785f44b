//! Reading bodies back: with the key, without the gateway.

use super::{
    files::{look_up, segment_path, segments},
    frame::{FRAME_HEAD_BYTES, FrameHead, HEADER_BYTES, Header, Kind, Opener, decode_end},
    key::KeyRing,
};
use crate::{
    kernel::{ids::RequestId, time::UnixMs},
    link::bodies::{ExchangeEnd, Way},
};
use std::{
    fmt,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// Why bodies cannot be read.
#[derive(Debug)]
pub enum BodyError {
    /// The system refused.
    Io(PathBuf, io::Error),
    /// A segment holds something weir did not write, or its key is not at hand.
    Damaged {
        /// The segment.
        path: PathBuf,
        /// Where in it. Bytes.
        offset: u64,
        /// What is wrong there.
        why: String,
    },
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "cannot read {}: {error}", path.display()),
            Self::Damaged { path, offset, why } => {
                write!(f, "the segment of bodies {} at byte {offset}: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for BodyError {}

/// One frame, opened.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The next bytes of a body.
    Bytes(Way, Vec<u8>),
    /// The exchange is over.
    End(ExchangeEnd),
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentEnd {
    /// As its writer ended it.
    Whole,
    /// It is being written, or was when its writer died; so many bytes behind the last whole frame are none.
    Unfinished(u64),
}

/// The frames of one segment, one after the other.
pub struct Frames {
    path: PathBuf,
    file: BufReader<File>,
    opener: Opener,
    /// When the segment was begun.
    pub created_at: UnixMs,
    length: u64,
    at: u64,
    /// The number that the next frame must have; none after a jump.
    next: Option<u64>,
    ended: Option<SegmentEnd>,
}

/// Opens a segment of a directory of bodies. `None`: its header was never completed.
pub fn frames(directory: &Path, segment: u64, keys: &KeyRing) -> Result<Option<Frames>, BodyError> {
    let path = segment_path(directory, segment);
    let failed = |error| BodyError::Io(path.clone(), error);
    let mut file = File::open(&path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut head = Vec::with_capacity(HEADER_BYTES);
    file.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut head).map_err(failed)?;
    if head.len() < HEADER_BYTES {
        return Ok(None);
    }
    let damaged = |why| BodyError::Damaged { path: path.clone(), offset: 0, why };
    let header = Header::decode(&head).map_err(damaged)?;
    if header.segment != segment {
        return Err(damaged(format!("it says that it is segment {}", header.segment)));
    }
    let opener = header.opener(keys).map_err(damaged)?;
    let at = HEADER_BYTES as u64;
    let (created_at, file) = (header.created_at, BufReader::with_capacity(256 * 1024, file));
    Ok(Some(Frames { path, file, opener, created_at, length, at, next: Some(0), ended: None }))
}

impl Frames {
    /// The segment's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the next frame begins. Bytes.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// How the segment ends; known once `next` has given `None`.
    pub fn end(&self) -> Option<SegmentEnd> {
        self.ended
    }

    /// The next frame and whose it is; `None` at the end. `wanted`: others are passed by unopened.
    pub fn next(&mut self, wanted: Option<RequestId>) -> Result<Option<(RequestId, Part)>, BodyError> {
        loop {
            let Some(head) = self.head()? else { return Ok(None) };
            let at = self.at;
            let whole = FRAME_HEAD_BYTES as u64 + head.sealed_bytes as u64;
            if self.next.is_some_and(|next| next != head.number) {
                return Err(self.damaged(at, "a frame is missing before it, or stands twice"));
            }
            self.next = Some(head.number + 1);
            self.at += whole;
            if wanted.is_some_and(|wanted| wanted != head.id) && head.kind != Kind::SegmentEnd {
                self.file.seek_relative(head.sealed_bytes as i64).map_err(|e| BodyError::Io(self.path.clone(), e))?;
                continue;
            }
            let mut sealed = vec![0; head.sealed_bytes];
            self.file.read_exact(&mut sealed).map_err(|error| BodyError::Io(self.path.clone(), error))?;
            let opened = self.opener.open(&head, &mut sealed);
            let content = opened.ok_or_else(|| {
                self.damaged(
                    at,
                    "a frame does not open: it was changed, or the machine lost power while it was written",
                )
            })?;
            let part = match head.kind {
                Kind::Bytes(way) => Part::Bytes(way, content),
                Kind::End => {
                    Part::End(decode_end(&content).ok_or_else(|| self.damaged(at, "an end of another length"))?)
                }
                Kind::SegmentEnd => {
                    self.ended = Some(SegmentEnd::Whole);
                    if self.at < self.length {
                        return Err(self.damaged(self.at, "something stands behind the segment's end"));
                    }
                    return Ok(None);
                }
            };
            return Ok(Some((head.id, part)));
        }
    }

    /// The head of the next frame, if that is there whole.
    fn head(&mut self) -> Result<Option<FrameHead>, BodyError> {
        let rest = self.length.saturating_sub(self.at);
        if self.ended.is_some() {
            return Ok(None);
        }
        let mut bytes = [0; FRAME_HEAD_BYTES];
        if rest >= FRAME_HEAD_BYTES as u64 {
            self.file.read_exact(&mut bytes).map_err(|error| BodyError::Io(self.path.clone(), error))?;
            // Space that a file system gave and a crash left empty.
            let unwritten = bytes == [0; FRAME_HEAD_BYTES];
            match FrameHead::decode(&bytes) {
                Some(Ok(head)) if FRAME_HEAD_BYTES as u64 + head.sealed_bytes as u64 <= rest => return Ok(Some(head)),
                Some(Err(why)) if !unwritten => return Err(self.damaged(self.at, why)),
                _ => {}
            }
        }
        self.ended = Some(SegmentEnd::Unfinished(rest));
        Ok(None)
    }

    /// Goes to a frame that an index names.
    fn jump(&mut self, offset: u64) -> Result<(), BodyError> {
        self.file.seek(SeekFrom::Start(offset)).map_err(|error| BodyError::Io(self.path.clone(), error))?;
        (self.at, self.next) = (offset, None);
        Ok(())
    }

    fn damaged(&self, offset: u64, why: impl Into<String>) -> BodyError {
        BodyError::Damaged { path: self.path.clone(), offset, why: why.into() }
    }
}

/// The segments of a directory of bodies, in order.
pub fn numbers(directory: &Path) -> Result<Vec<u64>, BodyError> {
    segments(directory).map_err(|error| BodyError::Io(directory.into(), error))
}

/// What is kept of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Its end; none if the bodies were still on their way when their writer died, or are now.
    pub end: Option<ExchangeEnd>,
    /// Frames of it.
    pub frames: u64,
}

/// Who is shown the bytes of bodies; an error ends the reading.
pub type Show<'a> = dyn FnMut(Way, &[u8]) -> Result<(), String> + 'a;

/// Shows the bytes of a request's bodies, in order. `None` if nothing is kept of it.
pub fn find(directory: &Path, id: RequestId, keys: &KeyRing, show: &mut Show<'_>) -> Result<Option<Body>, BodyError> {
    let mut body = Body::default();
    for segment in numbers(directory)? {
        let first = match look_up(directory, segment, id) {
            Some(None) => continue,
            Some(Some(first)) => Some(first),
            None => None,
        };
        let Some(mut frames) = frames(directory, segment, keys)? else { continue };
        if let Some(first) = first {
            frames.jump(first)?;
        }
        while body.end.is_none() {
            let at = frames.offset();
            let Some((of, part)) = frames.next(Some(id))? else { break };
            if of != id {
                return Err(frames.damaged(at, "an index leads to another request's frame"));
            }
            body.frames += 1;
            match part {
                Part::Bytes(way, content) => show(way, &content).map_err(|why| frames.damaged(at, why))?,
                Part::End(end) => body.end = Some(end),
            }
        }
    }
    Ok((body.frames > 0).then_some(body))
}
