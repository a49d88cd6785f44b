//! The meter's eye for Bedrock streams: reads the events off the frames that pass (contract.md §4.4, §4.5). Frames are checked,
//! never held up; one that cannot be read ends the reading, not the stream (law 4).

use crate::{
    dialect::bedrock::chunk::{self, Carried},
    kernel::limits::USAGE_CAPTURE_BYTES_MAX,
    wire::{
        eventstream::{Frame, FrameScanner},
        sse::{EventClass, SseVisitor},
    },
};

/// Bytes of an event by which it is known what it is.
const EVENT_HEAD_BYTES: usize = 129;

/// Reads one stream of frames.
pub(super) struct FrameReader {
    scanner: FrameScanner,
    decoded: Vec<u8>,
    /// A frame was none, or an event could not be read.
    odd: bool,
}

/// Is told of the events in the frames: the visitor of SSE streams, and what only Bedrock says.
pub(super) trait FrameVisitor: SseVisitor {
    /// The data of `message_stop`, which carries Bedrock's own counts.
    fn stop(&mut self, data: &[u8]);
}

impl FrameReader {
    pub(super) fn new() -> Self {
        Self { scanner: FrameScanner::new(USAGE_CAPTURE_BYTES_MAX * 2), decoded: Vec::new(), odd: false }
    }

    /// Something could not be read.
    pub(super) fn is_odd(&self) -> bool {
        self.odd
    }

    /// Between two frames: one of ours could follow here.
    pub(super) fn at_boundary(&self) -> bool {
        self.scanner.at_boundary()
    }

    /// Looks at payload.
    pub(super) fn feed(&mut self, payload: &[u8], visitor: &mut impl FrameVisitor) {
        let Self { scanner, decoded, odd } = self;
        let fed = scanner.feed(payload, |frame| *odd |= !read(&frame, decoded, visitor));
        self.odd |= fed.is_err();
    }
}

/// Tells the visitor of a frame's event. False if it needed more of it than is there.
fn read(frame: &Frame<'_>, decoded: &mut Vec<u8>, visitor: &mut impl FrameVisitor) -> bool {
    let encoded = match chunk::carried(frame) {
        Carried::Event(encoded) => encoded,
        Carried::Exception(..) => {
            visitor.event(EventClass::Error, &[], 0);
            return true;
        }
        Carried::Other => return true,
    };
    if !chunk::decode_head(encoded, EVENT_HEAD_BYTES, decoded) {
        return false;
    }
    let mut class = EventClass::of_data(decoded);
    if class == EventClass::Other && !frame.is_cut() {
        // No known word at the usual place: rarely, and then all of it is looked at.
        if !chunk::decode(encoded, decoded) {
            return false;
        }
        class = EventClass::of_whole(decoded);
    }
    let data_len = encoded.len() as u64 / 4 * 3;
    if !class.is_needed(decoded) && class != EventClass::MessageStop {
        visitor.event(class, &[], data_len);
        return true;
    }
    if frame.is_cut() || !chunk::decode(encoded, decoded) {
        return false;
    }
    if class == EventClass::MessageStop {
        visitor.stop(decoded);
    }
    visitor.event(class, decoded, data_len);
    true
}
