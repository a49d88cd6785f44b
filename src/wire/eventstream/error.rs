//! Why bytes are no event stream.

use std::fmt;

/// What is wrong with a frame. Nothing behind it can be read: there is no way to find the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The lengths contradict each other, or are beyond what the format allows.
    Length,
    /// The first twelve bytes do not match their checksum.
    PreludeChecksum,
    /// The frame does not match its checksum.
    MessageChecksum,
    /// More headers than this scanner keeps.
    HeadersTooLarge,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "the lengths of an event-stream frame cannot be true",
            Self::PreludeChecksum => "the prelude of an event-stream frame does not match its checksum",
            Self::MessageChecksum => "an event-stream frame does not match its checksum",
            Self::HeadersTooLarge => "an event-stream frame has more headers than are kept",
        })
    }
}

impl std::error::Error for FrameError {}
