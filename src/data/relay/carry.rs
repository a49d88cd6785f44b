//! How an answer is carried between two formats: as it is where both say it alike, else event by event, or as a whole where it
//! is short (an error, a count).

use super::meter::Meter;
use crate::{
    dialect::{
        answer::reason_phrase,
        bridge::{FramesToSse, Said, SseToFrames, Unreadable, counted, translate},
    },
    kernel::{
        ids::RequestId,
        limits::BRIDGED_ANSWER_BYTES_MAX,
        record::{Format, Operation},
    },
};
use std::io::Write;

/// An answer on its way between formats.
pub enum Carry {
    /// The bytes are the client's format already.
    AsIs,
    /// Bedrock's frames for a client that reads SSE.
    Frames(Box<FramesToSse>),
    /// SSE for a client of Bedrock.
    Events(Box<SseToFrames>),
    /// Read to its end, then said anew.
    Whole(Box<Whole>),
}

/// A short answer.
pub struct Whole {
    /// The most that is kept of it. Bytes.
    pub bytes_max: usize,
    /// Its lines say what kind of content it has.
    pub typed: bool,
    /// Header lines that go on.
    pub lines: Vec<u8>,
    /// `x-amzn-errortype`, where there is one.
    pub error_type: Vec<u8>,
    /// The body so far; cut where it is longer than an error can be.
    pub body: Vec<u8>,
}

impl Default for Whole {
    fn default() -> Self {
        Self::of(BRIDGED_ANSWER_BYTES_MAX, false)
    }
}

impl Whole {
    /// An answer of which so many bytes are kept.
    pub fn of(bytes_max: usize, typed: bool) -> Self {
        Self { bytes_max, typed, lines: Vec::new(), error_type: Vec::new(), body: Vec::new() }
    }
}

/// From which format, to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The upstream's.
    pub from: Format,
    /// The client's.
    pub to: Format,
}

impl Carry {
    /// Takes payload that the meter has seen, and appends what the client gets of it.
    pub fn feed(&mut self, payload: &[u8], meter: &Meter, out: &mut Vec<u8>) -> Result<(), Unreadable> {
        match self {
            Self::AsIs => out.extend_from_slice(payload),
            Self::Frames(frames) => return frames.feed(payload, out),
            Self::Events(events) => return events.feed(payload, || meter.tally().usage(), out),
            Self::Whole(whole) => {
                let room = whole.bytes_max - whole.body.len();
                whole.body.extend_from_slice(payload.get(..room).unwrap_or(payload));
            }
        }
        Ok(())
    }

    /// May the answer end here?
    pub fn at_boundary(&self) -> bool {
        match self {
            Self::AsIs | Self::Whole(_) => true,
            Self::Frames(frames) => frames.at_boundary(),
            Self::Events(events) => events.at_boundary(),
        }
    }
}

impl Whole {
    /// What the client reads. `None`: the upstream's answer makes no sense, be it that nobody can read it.
    pub fn said(&self, way: Way, operation: Operation, status: u16, id: RequestId) -> Option<Said> {
        if status < 300 && operation == Operation::CountTokens {
            let body = counted(way.from, way.to, &self.body)?;
            return Some(Said { status, body, lines: String::new() });
        }
        if status < 300 {
            return None;
        }
        Some(translate(way.to, status, &self.error_type, &self.body, id))
    }

    /// What was said, with its head in front, as it goes to the client. `close`: the connection ends after it.
    pub fn rendered(&self, said: &Said, id: RequestId, close: bool) -> Vec<u8> {
        let Said { status, body, lines } = said;
        let mut out = Vec::with_capacity(512 + self.lines.len() + body.len());
        // Writing to memory does not fail.
        let _ok = write!(out, "HTTP/1.1 {status} {}\r\n", reason_phrase(*status));
        if !self.typed {
            out.extend_from_slice(b"content-type: application/json\r\n");
        }
        out.extend_from_slice(&self.lines);
        out.extend_from_slice(lines.as_bytes());
        let _ok = write!(out, "content-length: {}\r\nx-weir-request-id: {id}\r\n", body.len());
        out.extend_from_slice(if close { b"connection: close\r\n\r\n" } else { b"\r\n" });
        out.extend_from_slice(body);
        out
    }
}
