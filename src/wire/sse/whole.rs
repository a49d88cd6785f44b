//! Events that lie whole in what is fed, written the way providers write them: a name, one line of data, a blank line, and
//! LF alone as line end. Nearly every event of a stream is one, and most of them are content that nobody looks into, so
//! that finding the end of their data is all the work. What is written otherwise is left to the line machine.

use fearless_simd::{Level, dispatch, prelude::*, u8x64};

use super::class::EventClass;

/// Bytes looked at together.
const BLOCK_BYTES: usize = 64;

const NAME: &[u8] = b"event: ";
const DATA: &[u8] = b"\ndata:";
/// What the events that make up a stream begin with.
const CONTENT: &[u8; 32] = b"event: content_block_delta\ndata:";
const END: &[u8] = b"\n\n";

/// One such event.
pub(super) struct WholeEvent<'a> {
    pub(super) class: EventClass,
    pub(super) data: &'a [u8],
    /// Bytes of all of it, its blank line included.
    pub(super) len: usize,
}

impl<'a> WholeEvent<'a> {
    /// The event that `bytes` begin with. `None`: it is not whole, or not written this way.
    #[inline]
    pub(super) fn first_of(level: Level, bytes: &'a [u8]) -> Option<Self> {
        let (class, start) = head(bytes)?;
        let end = line_end(level, bytes, start)?;
        let len = end + END.len();
        (bytes.get(end..len)? == END).then_some(Self { class, data: bytes.get(start..end)?, len })
    }
}

/// The event's kind, and where its data begins.
#[inline]
fn head(bytes: &[u8]) -> Option<(EventClass, usize)> {
    let (class, colon_end) = if bytes.first_chunk().is_some_and(|first| first == CONTENT) {
        (EventClass::ContentBlockDelta, CONTENT.len())
    } else {
        other_head(bytes)?
    };
    Some((class, colon_end + usize::from(bytes.get(colon_end) == Some(&b' '))))
}

/// The kind of an event that is something else, and where the colon before its data ends.
#[inline(never)]
fn other_head(bytes: &[u8]) -> Option<(EventClass, usize)> {
    let rest = bytes.strip_prefix(NAME)?;
    // An empty name is no name.
    let name = rest.get(..memchr::memchr2(b'\n', b'\r', rest)?).filter(|name| !name.is_empty())?;
    let colon_end = NAME.len() + name.len() + DATA.len();
    bytes.get(..colon_end)?.ends_with(DATA).then(|| (EventClass::of_name(name), colon_end))
}

/// Where the line that holds `from` ends.
pub(super) fn line_end(level: Level, bytes: &[u8], from: usize) -> Option<usize> {
    if bytes.len() < BLOCK_BYTES {
        return memchr::memchr2(b'\n', b'\r', bytes.get(from..)?).map(|len| from + len);
    }
    dispatch!(level, simd => search(simd, bytes, from))
}

/// The same, for at least a block. The last bytes are looked at together with those before them, so that none are copied.
#[inline(always)]
fn search<S: Simd>(simd: S, bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(block) = bytes.get(at..).and_then(|rest| rest.first_chunk::<BLOCK_BYTES>()) {
        let ends = line_ends(simd, block);
        if ends != 0 {
            return Some(at + ends.trailing_zeros() as usize);
        }
        at += BLOCK_BYTES;
    }
    let before = (at + BLOCK_BYTES).checked_sub(bytes.len())?;
    let ends = line_ends(simd, bytes.last_chunk()?).checked_shr(before as u32)?;
    (ends != 0).then(|| at + ends.trailing_zeros() as usize)
}

/// Bit `n` says that byte `n` is LF or CR.
#[inline(always)]
fn line_ends<S: Simd>(simd: S, block: &[u8; BLOCK_BYTES]) -> u64 {
    let bytes = u8x64::simd_from(simd, *block);
    bytes.simd_eq(b'\n').to_bitmask() | bytes.simd_eq(b'\r').to_bitmask()
}
