//! Where an answer's body ends, and which of its bytes are payload. Sans-io; the bytes stay where they are.

use crate::{
    kernel::limits::{CHUNK_EXTENSION_BYTES_MAX, TRAILER_BYTES_MAX},
    wire::h1::{ChunkEvent, ChunkLimits, ChunkedScanner, ResponseBody},
};
use std::ops::Range;

/// A body on its way down.
pub enum BodyFraming {
    /// None at all, or nothing left.
    Done,
    /// So many bytes are left.
    Length(u64),
    /// Chunks.
    Chunked(Box<ChunkedScanner>),
    /// Until the upstream closes.
    UntilClose,
}

/// What a piece of the body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// Bytes of it that belong to this body.
    pub taken: usize,
    /// The body ends there.
    pub done: bool,
}

/// The upstream's chunks are not what HTTP says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

impl BodyFraming {
    /// The framing a head announced.
    pub fn new(body: ResponseBody) -> Self {
        match body {
            ResponseBody::None | ResponseBody::Length(0) => Self::Done,
            ResponseBody::Length(bytes) => Self::Length(bytes),
            ResponseBody::Chunked => Self::Chunked(Box::new(ChunkedScanner::new(ChunkLimits {
                extension_bytes_max: CHUNK_EXTENSION_BYTES_MAX,
                trailer_bytes_max: TRAILER_BYTES_MAX,
            }))),
            ResponseBody::UntilClose => Self::UntilClose,
        }
    }

    /// Looks at the next bytes and names the payload in them, in order.
    pub fn scan(&mut self, bytes: &[u8], mut payload: impl FnMut(Range<usize>)) -> Result<Scanned, BadChunk> {
        match self {
            Self::Done => Ok(Scanned { taken: 0, done: true }),
            Self::UntilClose => {
                payload(0..bytes.len());
                Ok(Scanned { taken: bytes.len(), done: false })
            }
            Self::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                payload(0..taken);
                Ok(Scanned { taken, done: *left == 0 })
            }
            Self::Chunked(scanner) => {
                let mut at = 0;
                loop {
                    let (taken, event) = scanner.step(&bytes[at..]).map_err(|_| BadChunk)?;
                    match event {
                        ChunkEvent::Data(range) => payload(at + range.start..at + range.end),
                        ChunkEvent::End => return Ok(Scanned { taken: at + taken, done: true }),
                        ChunkEvent::NeedMore => return Ok(Scanned { taken: at + taken, done: false }),
                    }
                    at += taken;
                }
            }
        }
    }

    /// Could a chunk of ours follow here?
    pub fn takes_a_chunk(&self) -> bool {
        matches!(self, Self::Chunked(scanner) if scanner.at_chunk_boundary())
    }

    /// Is an end of the connection the end of the body?
    pub fn ends_with_connection(&self) -> bool {
        matches!(self, Self::UntilClose)
    }
}
