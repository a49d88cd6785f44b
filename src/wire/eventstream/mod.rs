//! AWS event streams: frames of headers and payload with two checksums (contract.md §4.4).
//!
//! The scanner watches frames go by and checks them, at any split of the bytes; the encoder writes them. What the headers
//! and the payload mean is the dialect's matter. Deliberately absent: header values other than strings, which nobody here
//! sends or reads; they are skipped.

mod encode;
mod error;
mod frame;
mod scanner;

pub use encode::encode;
pub use error::FrameError;
pub use frame::Frame;
pub use scanner::FrameScanner;

#[cfg(test)]
mod tests;

/// Total length, length of the headers, and the checksum of both. Bytes.
const PRELUDE_BYTES: usize = 12;
/// The checksum at the end of a frame. Bytes.
const CHECKSUM_BYTES: usize = 4;
/// Headers of a frame, at most. Bytes (botocore `eventstream`).
const HEADERS_BYTES_MAX: usize = 128 * 1024;
/// Payload of a frame, at most. Bytes (botocore `eventstream`).
const PAYLOAD_BYTES_MAX: usize = 24 * 1024 * 1024;
