//! A Bedrock stream for a client that reads SSE: each frame's event, and exceptions as `error` events (contract.md §6.3).

use super::{Unreadable, errors};
use crate::{
    dialect::bedrock::chunk::{self, Carried},
    kernel::limits::BRIDGED_EVENT_BYTES_MAX,
    wire::{
        eventstream::{Frame, FrameScanner},
        json::{TopLevelScanner, Wanted, unescape_string},
    },
};

static TYPE: [Wanted; 1] = [Wanted { key: "type", capture_bytes_max: 64 }];

/// Turns frames into events.
pub struct FramesToSse {
    scanner: FrameScanner,
    decoded: Vec<u8>,
}

impl Default for FramesToSse {
    fn default() -> Self {
        Self { scanner: FrameScanner::new(BRIDGED_EVENT_BYTES_MAX), decoded: Vec::new() }
    }
}

impl FramesToSse {
    /// Takes the next bytes, and appends the events that are whole by now.
    ///
    /// # Errors
    /// [`Unreadable`] where the bytes are no frames of events: nothing behind them can be read.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Unreadable> {
        let Self { scanner, decoded } = self;
        let mut sound = true;
        let fed = scanner.feed(bytes, |frame| sound = sound && write(&frame, decoded, out));
        if fed.is_ok() && sound { Ok(()) } else { Err(Unreadable) }
    }

    /// Between two frames: the stream may end here.
    pub fn at_boundary(&self) -> bool {
        self.scanner.at_boundary()
    }
}

fn write(frame: &Frame<'_>, decoded: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    match chunk::carried(frame) {
        Carried::Other => true,
        Carried::Exception(name, payload) => {
            event(out, b"error", &errors::event_data(name, payload));
            true
        }
        Carried::Event(_) if frame.is_cut() => false,
        Carried::Event(encoded) => {
            if !chunk::decode(encoded, decoded) {
                return false;
            }
            let mut scanner = TopLevelScanner::new(&TYPE);
            if scanner.feed(decoded).is_err() {
                return false;
            }
            // An event without a type says nothing: it keeps the connection alive.
            if let Some(name) = scanner.value(0).and_then(|value| unescape_string(value.raw)) {
                event(out, name.as_bytes(), decoded);
            }
            true
        }
    }
}

/// Appends one event.
fn event(out: &mut Vec<u8>, name: &[u8], data: &[u8]) {
    out.extend_from_slice(b"event: ");
    out.extend(name.iter().filter(|b| !b.is_ascii_control()));
    // White space between tokens may hold line ends, and each is a line of data; strings hold none.
    for line in data.split(|b| matches!(b, b'\n' | b'\r')) {
        out.extend_from_slice(b"\ndata: ");
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b"\n\n");
}
