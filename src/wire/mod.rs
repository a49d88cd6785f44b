//! Codecs, sans-io: HTTP/1.1 heads and framing, server-sent events, AWS event streams, JSON scanning.
//!
//! Bytes in, offsets and events out. Nothing here reads a socket or a clock, nothing copies a payload, and nothing
//! panics on bytes of a stranger. Every scanner gives the same answer however its input is split.

pub mod eventstream;
pub mod h1;
pub mod json;
pub mod sse;
