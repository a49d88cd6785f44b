//! The chunked transfer coding (RFC 9112 7.1), read in place.
//!
//! The relay passes wire bytes on as they are; this scanner only says which of them are payload, and whether the
//! framing is sound. Sound means one reading: anything a second implementation could take differently is an error.

use std::fmt;
use std::ops::Range;

use super::lines::is_token_byte;

/// Largest chunk: 2^53 - 1 bytes, the largest size that no implementation rounds.
const CHUNK_BYTES_MAX: u64 = (1 << 53) - 1;
/// Most hexadecimal digits of a chunk size, leading zeros included.
const SIZE_DIGITS_MAX: u8 = 16;
/// So many digits are never too large a size.
const SHORT_DIGITS_MAX: usize = 13;
const _: () = assert!(CHUNK_BYTES_MAX >> (4 * SHORT_DIGITS_MAX) > 0);

/// Caps on what surrounds the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkLimits {
    /// Longest extension of one chunk, from its `;` to the CRLF.
    pub extension_bytes_max: usize,
    /// Longest trailer section without its closing CRLF.
    pub trailer_bytes_max: usize,
}

/// What one step found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChunkEvent {
    /// Payload bytes inside the slice given to this step.
    Data(Range<usize>),
    /// The slice is used up.
    NeedMore,
    /// The body is complete; bytes not consumed belong to the next message.
    End,
}

/// Why a chunked body was refused. The connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkError {
    /// A chunk size is missing or holds a byte that is no hexadecimal digit.
    Size,
    /// A chunk size beyond 2^53 - 1, or of more than 16 digits.
    SizeTooLarge,
    /// A chunk extension holds a control character.
    Extension,
    /// A chunk extension is longer than the limit.
    ExtensionTooLong,
    /// CRLF is missing where one must be.
    LineEnd,
    /// A trailer line is not `token ":" value`.
    Trailer,
    /// The trailer section is longer than the limit.
    TrailerTooLong,
}

impl ChunkError {
    /// What is wrong, as a sentence for the client.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Size => "a chunk size is not a hexadecimal number",
            Self::SizeTooLarge => "a chunk size is too large",
            Self::Extension => "a chunk extension holds a control character",
            Self::ExtensionTooLong => "a chunk extension is too long",
            Self::LineEnd => "a chunk or chunk line does not end in CRLF",
            Self::Trailer => "a trailer line is malformed",
            Self::TrailerTooLong => "the trailer section is too long",
        }
    }
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ChunkError {}

/// What the next byte must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaiting {
    Size { digits: u8, size: u64 },
    Extension { size: u64, bytes: usize },
    SizeLf { size: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    TrailerLine { bytes: usize },
    TrailerName { bytes: usize },
    TrailerValue { bytes: usize },
    TrailerLf { bytes: usize },
    LastLf,
    Nothing,
    Failed(ChunkError),
}

const BETWEEN_CHUNKS: Awaiting = Awaiting::Size { digits: 0, size: 0 };

/// Follows one chunked body, resumable at any byte.
#[derive(Clone, Debug)]
pub struct ChunkedScanner {
    limits: ChunkLimits,
    awaiting: Awaiting,
}

impl ChunkedScanner {
    /// A scanner at the start of a body.
    pub fn new(limits: ChunkLimits) -> Self {
        Self { limits, awaiting: BETWEEN_CHUNKS }
    }

    /// One step: how many bytes of `input` were consumed, and what was found. Call in a loop with the rest until it
    /// is `NeedMore` (all was consumed) or `End`.
    ///
    /// # Errors
    /// [`ChunkError`] where the coding is broken; every later step returns it again.
    #[inline]
    pub fn step(&mut self, input: &[u8]) -> Result<(usize, ChunkEvent), ChunkError> {
        // Nearly every step: over what stands between the payloads of two chunks and is all there, into that of the second.
        let mut at = 0;
        if self.awaiting == Awaiting::DataCr && input.starts_with(b"\r\n") {
            self.awaiting = BETWEEN_CHUNKS;
            at = 2;
            if input.len() == at {
                return Ok((at, ChunkEvent::NeedMore));
            }
        }
        if let Awaiting::Size { digits: 0, .. } = self.awaiting
            && let Some((line, left)) = input.get(at..).and_then(size_line)
        {
            self.awaiting = Awaiting::Data { left };
            at += line;
        }
        if let Awaiting::Data { left } = self.awaiting
            && at < input.len()
        {
            return Ok(self.payload(input, at, left));
        }
        self.step_by_bytes(input, at)
    }

    /// Takes what there is of the payload, of which so much is left.
    #[inline]
    fn payload(&mut self, input: &[u8], start: usize, left: u64) -> (usize, ChunkEvent) {
        let rest = input.len() - start;
        let len = usize::try_from(left).map_or(rest, |left| left.min(rest));
        let left = left - len as u64;
        self.awaiting = if left == 0 { Awaiting::DataCr } else { Awaiting::Data { left } };
        (start + len, ChunkEvent::Data(start..start + len))
    }

    fn step_by_bytes(&mut self, input: &[u8], mut at: usize) -> Result<(usize, ChunkEvent), ChunkError> {
        loop {
            match self.awaiting {
                Awaiting::Nothing => return Ok((at, ChunkEvent::End)),
                Awaiting::Failed(error) => return Err(error),
                Awaiting::Data { left } if at < input.len() => return Ok(self.payload(input, at, left)),
                awaiting => {
                    let Some(byte) = input.get(at) else { return Ok((at, ChunkEvent::NeedMore)) };
                    self.awaiting = self.after(awaiting, *byte).inspect_err(|error| {
                        self.awaiting = Awaiting::Failed(*error);
                    })?;
                    at += 1;
                }
            }
        }
    }

    /// Whether the bytes so far end between two chunks: a chunk of ours could legally follow.
    pub fn at_chunk_boundary(&self) -> bool {
        self.awaiting == BETWEEN_CHUNKS
    }

    /// Whether the body is complete, trailers included.
    pub fn is_done(&self) -> bool {
        self.awaiting == Awaiting::Nothing
    }

    /// The state after one byte of framing.
    fn after(&self, awaiting: Awaiting, byte: u8) -> Result<Awaiting, ChunkError> {
        Ok(match (awaiting, byte) {
            (Awaiting::Size { digits, size }, _) => return self.after_size(digits, size, byte),
            (Awaiting::Extension { size, .. }, b'\r') => Awaiting::SizeLf { size },
            (Awaiting::Extension { .. }, byte) if !matches!(byte, b'\t' | b' '..=b'~') => {
                return Err(ChunkError::Extension);
            }
            (Awaiting::Extension { size, bytes }, _) if bytes < self.limits.extension_bytes_max => {
                Awaiting::Extension { size, bytes: bytes + 1 }
            }
            (Awaiting::Extension { .. }, _) => return Err(ChunkError::ExtensionTooLong),
            (Awaiting::SizeLf { size: 0 }, b'\n') => Awaiting::TrailerLine { bytes: 0 },
            (Awaiting::SizeLf { size }, b'\n') => Awaiting::Data { left: size },
            (Awaiting::DataCr, b'\r') => Awaiting::DataLf,
            (Awaiting::DataLf, b'\n') => BETWEEN_CHUNKS,
            (Awaiting::TrailerLine { .. }, b'\r') => Awaiting::LastLf,
            (Awaiting::LastLf, b'\n') => Awaiting::Nothing,
            (
                Awaiting::TrailerLine { bytes }
                | Awaiting::TrailerName { bytes }
                | Awaiting::TrailerValue { bytes }
                | Awaiting::TrailerLf { bytes },
                _,
            ) => {
                if bytes >= self.limits.trailer_bytes_max {
                    return Err(ChunkError::TrailerTooLong);
                }
                return after_trailer(awaiting, bytes + 1, byte);
            }
            _ => return Err(ChunkError::LineEnd),
        })
    }

    fn after_size(&self, digits: u8, size: u64, byte: u8) -> Result<Awaiting, ChunkError> {
        let digit = match DIGITS[usize::from(byte)] {
            NO_DIGIT => return self.after_digits(digits, size, byte),
            digit => digit,
        };
        // The size so far is below 2^53, so sixteen times it fits.
        let size = size * 16 + u64::from(digit);
        if digits == SIZE_DIGITS_MAX || size > CHUNK_BYTES_MAX {
            return Err(ChunkError::SizeTooLarge);
        }
        Ok(Awaiting::Size { digits: digits + 1, size })
    }

    fn after_digits(&self, digits: u8, size: u64, byte: u8) -> Result<Awaiting, ChunkError> {
        match byte {
            b'\r' if digits > 0 => Ok(Awaiting::SizeLf { size }),
            b';' if digits > 0 && self.limits.extension_bytes_max > 0 => Ok(Awaiting::Extension { size, bytes: 1 }),
            b';' if digits > 0 => Err(ChunkError::ExtensionTooLong),
            _ => Err(ChunkError::Size),
        }
    }
}

/// The line in front of a chunk as nearly all are written: a few digits and CRLF, all there. How long it is, and the size it says.
#[inline]
fn size_line(input: &[u8]) -> Option<(usize, u64)> {
    let mut size = 0;
    for (place, byte) in input.iter().enumerate().take(SHORT_DIGITS_MAX + 1) {
        let digit = DIGITS[usize::from(*byte)];
        if digit == NO_DIGIT {
            return (size > 0 && input.get(place..place + 2) == Some(b"\r\n")).then_some((place + 2, size));
        }
        size = size << 4 | u64::from(digit);
    }
    None
}

/// No hexadecimal digit.
const NO_DIGIT: u8 = u8::MAX;

/// What each byte is worth as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digits[b"0123456789ABCDEF"[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
};

fn after_trailer(awaiting: Awaiting, bytes: usize, byte: u8) -> Result<Awaiting, ChunkError> {
    match (awaiting, byte) {
        (Awaiting::TrailerName { .. }, b':') => Ok(Awaiting::TrailerValue { bytes }),
        (Awaiting::TrailerLine { .. } | Awaiting::TrailerName { .. }, byte) if is_token_byte(byte) => {
            Ok(Awaiting::TrailerName { bytes })
        }
        (Awaiting::TrailerValue { .. }, b'\r') => Ok(Awaiting::TrailerLf { bytes }),
        (Awaiting::TrailerValue { .. }, b'\t' | b' '..=b'~' | 0x80..=0xff) => Ok(Awaiting::TrailerValue { bytes }),
        (Awaiting::TrailerLf { .. }, b'\n') => Ok(Awaiting::TrailerLine { bytes }),
        (Awaiting::TrailerLf { .. }, _) => Err(ChunkError::LineEnd),
        _ => Err(ChunkError::Trailer),
    }
}
