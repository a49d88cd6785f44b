//! Buffers that calls fill and the kernel is lent to send from: owned, pooled per shard, always initialised memory.
#![allow(unsafe_code, reason = "the runtime's buffer traits are unsafe to implement")]

use crate::kernel::limits::{
    BODY_READ_BYTES_MAX, BULK_BUFFER_BYTES, IDLE_BUFFER_BYTES_MAX, LITTLE_BUFFER_BYTES, SMALL_BUFFER_BYTES,
};
use std::{cell::RefCell, ops::Range, rc::Rc};

/// A buffer with a filled part, `start..end`. Its storage goes back to the shard's pool when it is dropped. The default one is no
/// memory at all: what stands in a buffer's place while it is lent.
#[derive(Default)]
pub struct Buf {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

/// The sizes that are kept for the next use, smallest first.
const CLASSES: [usize; 5] =
    [LITTLE_BUFFER_BYTES, SMALL_BUFFER_BYTES, BULK_BUFFER_BYTES, BODY_READ_BYTES_MAX / 2, BODY_READ_BYTES_MAX];
/// Of the buffers that nobody needed between two trims, one in so many goes.
const TRIM_SHARE: usize = 2;
/// What is kept of each size, needed or not: a shard that is hardly busy must not allocate for each event. Bytes.
const WARM_BYTES: usize = 256 * 1024;

#[derive(Default)]
struct Pool {
    classes: [Class; CLASSES.len()],
    idle_bytes: usize,
    lent_bytes: usize,
}

/// Buffers of one size that wait for their next use, last in first out.
#[derive(Default)]
struct Class {
    idle: Vec<Vec<u8>>,
    /// The fewest that waited at any time since the last trim: so many were not needed.
    fewest: usize,
}

impl Pool {
    fn class(&mut self, bytes: usize) -> Option<&mut Class> {
        CLASSES.iter().position(|size| *size == bytes).map(|place| &mut self.classes[place])
    }

    fn trim(&mut self) -> bool {
        let before = self.idle_bytes;
        for (class, bytes) in self.classes.iter_mut().zip(CLASSES) {
            let more = class.idle.len().saturating_sub(WARM_BYTES / bytes);
            let gone = class.fewest.div_ceil(TRIM_SHARE).min(more);
            // The oldest: what was used last is warm.
            class.idle.drain(..gone);
            self.idle_bytes -= gone * bytes;
            class.fewest = class.idle.len();
        }
        self.idle_bytes < before
    }
}

thread_local! {
    static POOL: RefCell<Pool> = RefCell::default();
}

/// Frees what this shard has not needed since it was last asked: a burst is over some time. True if there was something.
pub fn trim() -> bool {
    POOL.with_borrow_mut(Pool::trim)
}

/// Bytes of this shard's buffers that wait for their next use.
pub fn idle_bytes() -> usize {
    POOL.with_borrow(|pool| pool.idle_bytes)
}

/// Bytes of this shard's buffers that are in use.
pub fn lent_bytes() -> usize {
    POOL.with_borrow(|pool| pool.lent_bytes)
}

impl Buf {
    /// A buffer for heads and small messages.
    pub fn small() -> Self {
        Self::of(SMALL_BUFFER_BYTES)
    }

    /// A buffer that so much fits in, of the sizes for small messages and up, as far as they go.
    pub(super) fn fitting(bytes: usize) -> Self {
        let fits = CLASSES[1..].iter().find(|size| bytes <= **size);
        Self::of(*fits.unwrap_or(&BODY_READ_BYTES_MAX))
    }

    /// The size of buffer for the next read of a body, by what the last one brought into this: a read that fills its buffer had
    /// more behind it.
    pub fn next_bytes(&self, read_bytes: usize) -> usize {
        match self.capacity() {
            _ if self.room() == 0 => BULK_BUFFER_BYTES,
            BULK_BUFFER_BYTES if read_bytes * 4 > BULK_BUFFER_BYTES => BULK_BUFFER_BYTES,
            _ => SMALL_BUFFER_BYTES,
        }
    }

    /// An empty buffer of that size: this one, if it is.
    pub fn or_of(mut self, bytes: usize) -> Self {
        if self.capacity() != bytes {
            return Self::of(bytes);
        }
        self.clear_with_head_room(0);
        self
    }

    /// A buffer of any size; only the usual ones are pooled.
    pub fn of(bytes: usize) -> Self {
        let storage = POOL
            .with_borrow_mut(|pool| {
                pool.lent_bytes += bytes;
                let class = pool.class(bytes)?;
                let found = class.idle.pop()?;
                class.fewest = class.fewest.min(class.idle.len());
                pool.idle_bytes -= bytes;
                Some(found)
            })
            .unwrap_or_else(|| vec![0; bytes]);
        Self { storage, start: 0, end: 0 }
    }

    /// A buffer that holds a copy of these bytes and no more.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let class = [LITTLE_BUFFER_BYTES, SMALL_BUFFER_BYTES].into_iter().find(|size| bytes.len() <= *size);
        let Some(class) = class else {
            // Made as a copy, so that it need not be cleared first.
            POOL.with_borrow_mut(|pool| pool.lent_bytes += bytes.len());
            return Self { storage: bytes.to_vec(), start: 0, end: bytes.len() };
        };
        let mut buf = Self::of(class);
        buf.append(bytes);
        buf
    }

    /// Gives an empty buffer's memory to whoever reads next, until it is taken up again.
    pub(super) fn rest(self) -> Rested {
        if self.is_empty() && CLASSES.contains(&self.capacity()) {
            Rested::Empty { bytes: self.capacity(), head_room: self.head_room() }
        } else {
            Rested::Filled(self)
        }
    }

    /// The filled part.
    pub fn filled(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The filled part, to edit in place.
    pub fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// Filled bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Is nothing filled?
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes that still fit behind the filled part.
    pub fn room(&self) -> usize {
        self.storage.len() - self.end
    }

    /// Bytes that fit in front of the filled part.
    pub fn head_room(&self) -> usize {
        self.start
    }

    /// Size of the storage.
    pub fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Empties it and leaves `bytes` free in front of what comes next.
    pub fn clear_with_head_room(&mut self, bytes: usize) {
        self.start = bytes.min(self.storage.len());
        self.end = self.start;
    }

    /// Forgets the first filled bytes.
    pub fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// Forgets all filled bytes behind the first `bytes`.
    pub fn truncate(&mut self, bytes: usize) {
        self.end = (self.start + bytes).min(self.end);
    }

    /// Adds behind the filled part as much as fits, and says how much that was.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let fits = bytes.len().min(self.room());
        self.storage[self.end..self.end + fits].copy_from_slice(&bytes[..fits]);
        self.end += fits;
        fits
    }

    /// The free space behind the filled part; `advance` makes what was written there count.
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.end..]
    }

    /// Counts bytes written to `spare_mut` as filled.
    pub fn advance(&mut self, bytes: usize) {
        self.end = (self.end + bytes).min(self.storage.len());
    }

    /// Puts bytes right in front of the filled part; false if they do not fit.
    pub fn prepend(&mut self, bytes: &[u8]) -> bool {
        let Some(start) = self.start.checked_sub(bytes.len()) else { return false };
        self.storage[start..self.start].copy_from_slice(bytes);
        self.start = start;
        true
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        let storage = std::mem::take(&mut self.storage);
        if storage.is_empty() {
            return;
        }
        // The thread's pool may be gone already when the thread ends; then the memory is simply freed.
        let _gone = POOL.try_with(|pool| {
            let Ok(mut pool) = pool.try_borrow_mut() else { return };
            let bytes = storage.len();
            pool.lent_bytes = pool.lent_bytes.saturating_sub(bytes);
            if pool.idle_bytes + bytes <= IDLE_BUFFER_BYTES_MAX
                && let Some(class) = pool.class(bytes)
            {
                class.idle.push(storage);
                pool.idle_bytes += bytes;
            }
        });
    }
}

/// A buffer that nothing is read into yet.
pub(super) enum Rested {
    /// There is none yet: what waits to be read says how large it will be, up to that many bytes.
    Sized { bytes_max: usize },
    /// It had nothing in it, and has no memory.
    Empty { bytes: usize, head_room: usize },
    /// It holds something.
    Filled(Buf),
}

impl Default for Rested {
    /// No memory at all, as a buffer's is.
    fn default() -> Self {
        Self::Filled(Buf::default())
    }
}

impl Rested {
    /// The same once more, if it is none yet.
    pub(super) fn sized(&self) -> Option<Self> {
        match self {
            Self::Sized { bytes_max } => Some(Self::Sized { bytes_max: *bytes_max }),
            _ => None,
        }
    }

    /// The buffer, as large and as filled as it was, or large enough for what waits.
    pub(super) fn taken_up(self, waiting_bytes: impl FnOnce() -> usize) -> Buf {
        match self {
            // Up to 64 KiB there is nothing to choose, and nobody need be asked.
            Self::Sized { bytes_max } if bytes_max <= BULK_BUFFER_BYTES => Buf::fitting(bytes_max),
            Self::Sized { bytes_max } => Buf::fitting(waiting_bytes().min(bytes_max)),
            Self::Empty { bytes, head_room } => {
                let mut buf = Buf::of(bytes);
                buf.clear_with_head_room(head_room);
                buf
            }
            Self::Filled(buf) => buf,
        }
    }
}

/// A range of a buffer that several owners share, for bodies that may have to be sent again.
#[derive(Clone)]
pub struct Part {
    buf: Rc<Buf>,
    start: usize,
    end: usize,
}

impl Part {
    /// A range of the filled part of a shared buffer; cut to what is there.
    pub fn new(buf: Rc<Buf>, range: Range<usize>) -> Self {
        let end = range.end.min(buf.len());
        let start = range.start.min(end);
        Self { start, end, buf }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.buf.filled()[self.start..self.end]
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Memory this part keeps alive.
    pub fn footprint(&self) -> usize {
        self.buf.capacity()
    }

    /// A range of this range.
    pub fn slice(&self, range: Range<usize>) -> Self {
        let end = (self.start + range.end).min(self.end);
        Self { buf: self.buf.clone(), start: (self.start + range.start).min(end), end }
    }
}

/// A buffer on its way into the kernel to be sent.
pub(super) struct Send(pub Buf);

// SAFETY: the pointer and length are those of the filled part, initialised memory that does not move while `Send` owns it.
unsafe impl monoio::buf::IoBuf for Send {
    fn read_ptr(&self) -> *const u8 {
        self.0.filled().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

/// A shared part on its way into the kernel to be sent.
pub(super) struct SendPart(pub Part);

// SAFETY: the pointer and length are those of a range inside a shared, immutable, initialised buffer that the part keeps alive.
unsafe impl monoio::buf::IoBuf for SendPart {
    fn read_ptr(&self) -> *const u8 {
        self.0.bytes().as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_fits_right_before_the_body_it_replaces() {
        let mut buf = Buf::small();
        buf.clear_with_head_room(16);
        buf.append(b"OLD HEADbody");
        buf.consume(8);
        assert!(buf.prepend(b"A LONGER NEW HEAD "));
        assert_eq!(buf.filled(), b"A LONGER NEW HEAD body");
        assert!(!buf.prepend(&[0; 64]));
    }

    #[test]
    fn memory_returns_to_the_pool_and_is_counted() {
        let before = lent_bytes();
        let buf = Buf::of(BULK_BUFFER_BYTES);
        let place = buf.storage.as_ptr();
        assert_eq!(lent_bytes(), before + BULK_BUFFER_BYTES);
        drop(buf);
        assert_eq!(lent_bytes(), before);
        assert_eq!(Buf::of(BULK_BUFFER_BYTES).storage.as_ptr(), place);
    }

    #[test]
    fn a_full_stream_is_read_in_small_pieces_or_a_slow_one_holds_a_large_buffer() {
        let next = |capacity: usize, bytes: usize| {
            let mut buf = Buf::of(capacity);
            buf.advance(bytes);
            buf.next_bytes(bytes)
        };
        assert_eq!(next(SMALL_BUFFER_BYTES, 300), SMALL_BUFFER_BYTES);
        assert_eq!(next(SMALL_BUFFER_BYTES, SMALL_BUFFER_BYTES - 1), SMALL_BUFFER_BYTES);
        assert_eq!(next(SMALL_BUFFER_BYTES, SMALL_BUFFER_BYTES), BULK_BUFFER_BYTES);
        assert_eq!(next(BULK_BUFFER_BYTES, BULK_BUFFER_BYTES / 2), BULK_BUFFER_BYTES);
        assert_eq!(next(BULK_BUFFER_BYTES, 2_000), SMALL_BUFFER_BYTES);
    }

    #[test]
    fn a_connection_that_waits_holds_memory_or_loses_what_it_has() {
        let before = lent_bytes();
        let mut buf = Buf::small();
        buf.clear_with_head_room(100);
        let rested = buf.rest();
        assert_eq!(lent_bytes(), before);
        let mut buf = rested.taken_up(|| 0);
        assert_eq!(
            (buf.capacity(), buf.head_room(), lent_bytes()),
            (SMALL_BUFFER_BYTES, 100, before + SMALL_BUFFER_BYTES)
        );
        buf.append(b"half a head");
        let kept = buf.rest().taken_up(|| 0);
        assert_eq!((kept.filled(), kept.head_room()), (&b"half a head"[..], 100));
        // A size that no pool has would have to be made anew each time.
        let odd = Buf::of(SMALL_BUFFER_BYTES + 1).rest();
        assert_eq!(lent_bytes(), before + 2 * SMALL_BUFFER_BYTES + 1);
        drop((odd, kept));
    }

    #[test]
    fn memory_of_a_burst_goes_and_what_is_in_use_stays_warm() {
        let (size, warm) = (LITTLE_BUFFER_BYTES, WARM_BYTES / LITTLE_BUFFER_BYTES);
        let burst = 8 * warm;
        drop((0..burst).map(|_| Buf::of(size)).collect::<Vec<_>>());
        assert_eq!(idle_bytes(), burst * size);
        // The burst itself was need: what it left is first unneeded from now on.
        trim();
        assert_eq!(idle_bytes(), burst * size);
        for _ in 0..40 {
            // Two at a time are needed all along.
            let needed = [Buf::of(size), Buf::of(size)];
            let places = needed.each_ref().map(|buf| buf.storage.as_ptr());
            drop(needed);
            trim();
            let again = [Buf::of(size), Buf::of(size)];
            assert!(again.iter().all(|buf| places.contains(&buf.storage.as_ptr())), "the warm ones are used again");
        }
        assert_eq!(idle_bytes(), WARM_BYTES);
    }

    #[test]
    fn a_slice_of_a_part_never_reaches_outside_it() {
        let part = Part::new(Rc::new(Buf::copy_of(b"0123456789")), 2..8);
        assert_eq!(part.slice(1..3).bytes(), b"34");
        assert_eq!(part.slice(4..99).bytes(), b"67");
        assert!(part.slice(99..100).is_empty());
    }
}
