//! Bodies of teams with `bodies = "full"`: compressed, encrypted, in segments of their own, apart from the journal.
//!
//! Invariants: a body is on disk only encrypted; a data key serves one segment of one process and no nonce under it twice; what a
//! crash or a full disk left is found out by whoever reads, never taken for a whole body. Nothing here is on a request's way: taps
//! in the data plane copy bytes onto the body lane (`link::bodies`), one thread takes them off (`writer`).
//! Deliberately absent: headers, which are never kept; search in bodies; deletion of single ones (whole segments age out).
//!
//! # The files, byte by byte
//!
//! `store.path/bodies` holds segments `bodies-%010d.seg` and, beside complete ones, an index `bodies-%010d.idx`. Integers are
//! little-endian, request ids big-endian. A segment's header, 128 bytes:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `WEIRBODY` |
//! | 8 | 4 | format version, 1 |
//! | 12 | 4 | length of this header, 128 |
//! | 16 | 8 | segment number, as in the file's name |
//! | 24 | 8 | creation time, Unix milliseconds |
//! | 32 | 8 | id of the key that the data key is wrapped with (`BodyKey::id`) |
//! | 40 | 12 | nonce of the wrapping, drawn at random |
//! | 52 | 48 | the data key, AES-256-GCM under the body key; bytes 0..40 are authenticated with it |
//! | 100 | 24 | zeros, reserved |
//! | 124 | 4 | CRC-32 (IEEE) of bytes 0..124 |
//!
//! Then frames, one after the other, each:
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | length of the sealed part |
//! | 4 | 1 | kind: 1 request bytes, 2 response bytes, 3 end of an exchange, 4 end of the segment |
//! | 5 | 1 | 1 if the content is compressed (zstd) |
//! | 6 | 2 | zeros, reserved |
//! | 8 | 8 | number of the frame in the segment, from 0 |
//! | 16 | 16 | the request's id; zeros for kind 4 |
//! | 32 | … | the content, AES-256-GCM under the data key, tag at its end |
//!
//! **Nonces.** A frame's nonce is four zeros and its number; authenticated with it are the segment's number and bytes 0..32. The
//! data key is drawn at random for each segment, a segment is written by one process and never gone on with after a restart, and
//! a refused write is tried again with the very bytes that were sealed: so no nonce is used twice with a data key. Wrapping uses
//! a random nonce, once for each segment: 2^32 segments under one body key are far away. Frames can neither be changed nor moved,
//! left out or repeated without being found out; that a segment's end was cut is seen by its missing last frame.
//!
//! **Rotation of the key.** A new `audit.body_key` is used from the next segment on, which begins at once. Old segments say which
//! key they want; `--body-key-file` may hold many.

mod files;
mod frame;
mod key;
mod read;
#[cfg(test)]
mod tests;
mod writer;

pub use files::{Retained, directory_of};
pub use key::{BodyKey, KeyId, KeyRing};
pub use read::{Body, BodyError, Frames, Part, SegmentEnd, find, frames, numbers};
pub use writer::{BodyDesk, BodySettings, BodyStore};

/// Content of one frame before compression, at most. Bytes.
pub(super) const FRAME_CONTENT_MAX: usize = 1024 * 1024;
/// A body gathers so much before it becomes a frame, unless it ends before. Bytes.
const FRAME_CONTENT: usize = 128 * 1024;
/// All gathered bytes together; beyond it everything becomes frames. Bytes.
const GATHERED_MAX: usize = 8 * 1024 * 1024;
/// A segment this large is the last one's end, unless the configuration says otherwise. Bytes.
pub const BODY_SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

const _: () = assert!(FRAME_CONTENT <= FRAME_CONTENT_MAX && GATHERED_MAX > FRAME_CONTENT_MAX);
