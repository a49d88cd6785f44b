//! The walk over frames, resumable at any byte.

use super::{CHECKSUM_BYTES, FrameError, HEADERS_BYTES_MAX, PAYLOAD_BYTES_MAX, PRELUDE_BYTES, frame::Frame};

/// Watches one event stream.
///
/// Checks both checksums of every frame. A frame that lies whole in what is fed is shown from there, uncopied; of others
/// the headers and the beginning of the payload are kept.
#[derive(Clone, Debug)]
pub struct FrameScanner {
    kept_bytes_max: usize,
    /// The prelude, headers and the beginning of the payload of a frame that comes in parts.
    kept: Vec<u8>,
    lengths: Lengths,
    /// Bytes of the current frame so far.
    seen: usize,
    checksum: crc32fast::Hasher,
    /// The last bytes of the frame, which are its checksum.
    tail: [u8; CHECKSUM_BYTES],
    error: Option<FrameError>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lengths {
    total: usize,
    headers: usize,
}

impl Lengths {
    fn of(prelude: &[u8]) -> Result<Self, FrameError> {
        let word =
            |at: usize| prelude.get(at..at + 4).and_then(|b| b.first_chunk()).copied().map_or(0, u32::from_be_bytes);
        if crc32fast::hash(prelude.get(..8).unwrap_or_default()) != word(8) {
            return Err(FrameError::PreludeChecksum);
        }
        let (total, headers) = (word(0) as usize, word(4) as usize);
        let payload = total.checked_sub(PRELUDE_BYTES + CHECKSUM_BYTES).and_then(|rest| rest.checked_sub(headers));
        match payload {
            Some(payload) if headers <= HEADERS_BYTES_MAX && payload <= PAYLOAD_BYTES_MAX => {
                Ok(Self { total, headers })
            }
            _ => Err(FrameError::Length),
        }
    }

    fn payload(self) -> usize {
        self.total - PRELUDE_BYTES - CHECKSUM_BYTES - self.headers
    }
}

impl FrameScanner {
    /// A scanner at the start of a stream, which shows up to `kept_bytes_max` bytes of headers and payload of a frame.
    pub fn new(kept_bytes_max: usize) -> Self {
        Self {
            kept_bytes_max,
            kept: Vec::new(),
            lengths: Lengths::default(),
            seen: 0,
            checksum: crc32fast::Hasher::new(),
            tail: [0; CHECKSUM_BYTES],
            error: None,
        }
    }

    /// Whether the bytes so far end between two frames: one of ours could follow.
    pub fn at_boundary(&self) -> bool {
        self.seen == 0 && self.error.is_none()
    }

    /// Watches the next bytes. `show` is told of every whole frame, in order.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes cannot be frames; every later call returns it again.
    pub fn feed(&mut self, chunk: &[u8], mut show: impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let mut rest = chunk;
        while !rest.is_empty() {
            let taken = self.step(rest, &mut show).inspect_err(|error| self.error = Some(*error))?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn step(&mut self, rest: &[u8], show: &mut impl FnMut(Frame<'_>)) -> Result<usize, FrameError> {
        if self.seen == 0
            && let Some(prelude) = rest.get(..PRELUDE_BYTES)
        {
            let lengths = Lengths::of(prelude)?;
            if let Some(bytes) = rest.get(..lengths.total) {
                return self.whole(bytes, lengths, show);
            }
        }
        if self.seen < PRELUDE_BYTES {
            return self.prelude(rest);
        }
        self.part(rest, show)
    }

    /// A frame that lies whole in the chunk.
    fn whole(&self, bytes: &[u8], lengths: Lengths, show: &mut impl FnMut(Frame<'_>)) -> Result<usize, FrameError> {
        let (covered, checksum) = bytes.split_at(lengths.total - CHECKSUM_BYTES);
        if crc32fast::hash(covered).to_be_bytes() != checksum {
            return Err(FrameError::MessageChecksum);
        }
        let inside = covered.get(PRELUDE_BYTES..).unwrap_or_default();
        self.show(inside, lengths, show)?;
        Ok(lengths.total)
    }

    /// More of the first twelve bytes.
    fn prelude(&mut self, rest: &[u8]) -> Result<usize, FrameError> {
        if self.seen == 0 {
            self.kept.clear();
        }
        let taken = rest.len().min(PRELUDE_BYTES - self.seen);
        self.kept.extend_from_slice(rest.get(..taken).unwrap_or_default());
        self.seen += taken;
        if self.seen == PRELUDE_BYTES {
            self.lengths = Lengths::of(&self.kept)?;
            self.checksum = crc32fast::Hasher::new();
            self.checksum.update(&self.kept);
        }
        Ok(taken)
    }

    /// More of headers, payload and checksum.
    fn part(&mut self, rest: &[u8], show: &mut impl FnMut(Frame<'_>)) -> Result<usize, FrameError> {
        let covered_end = self.lengths.total - CHECKSUM_BYTES;
        let taken = rest.len().min(self.lengths.total - self.seen);
        let bytes = rest.get(..taken).unwrap_or_default();
        let (covered, tail) = bytes.split_at(covered_end.saturating_sub(self.seen).min(taken));
        self.checksum.update(covered);
        let room = (PRELUDE_BYTES + self.kept_bytes_max).saturating_sub(self.kept.len());
        self.kept.extend_from_slice(covered.get(..room).unwrap_or(covered));
        let at = (self.seen + covered.len()).saturating_sub(covered_end);
        if let Some(place) = self.tail.get_mut(at..at + tail.len()) {
            place.copy_from_slice(tail);
        }
        self.seen += taken;
        if self.seen < self.lengths.total {
            return Ok(taken);
        }
        self.seen = 0;
        if std::mem::take(&mut self.checksum).finalize().to_be_bytes() != self.tail {
            return Err(FrameError::MessageChecksum);
        }
        self.show(self.kept.get(PRELUDE_BYTES..).unwrap_or_default(), self.lengths, show)?;
        Ok(taken)
    }

    fn show(&self, inside: &[u8], lengths: Lengths, show: &mut impl FnMut(Frame<'_>)) -> Result<(), FrameError> {
        let kept = inside.get(..self.kept_bytes_max).unwrap_or(inside);
        let (headers, payload) = kept.split_at_checked(lengths.headers).ok_or(FrameError::HeadersTooLarge)?;
        show(Frame { headers, payload, payload_len: lengths.payload() });
        Ok(())
    }
}
