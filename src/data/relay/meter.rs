//! The meter: looks at an answer on its way out and reads off what it used. It is fed copies of nothing, and it cannot break a
//! stream (law 4): on anything odd it gives up, says so, and the bytes keep flowing.

use super::frames::{FrameReader, FrameVisitor};
use crate::{
    data::spare::Spare,
    dialect::anthropic::{
        sticky,
        usage::{Compared, HeadCounts, UsageTally},
    },
    kernel::{
        limits::{MODEL_BYTES_MAX, STICKY_BYTES_MAX, USAGE_CAPTURE_BYTES_MAX},
        objects::OBJECTS_PER_ANSWER_MAX,
        record::Label,
    },
    wire::{
        json::{TopLevelScanner, Wanted, unescape_string},
        sse::{EventClass, SseScanner, SseVisitor},
    },
};

use arrayvec::ArrayVec;
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// Bytes of a content delta event's data that are not content (contract.md §4.1).
const DELTA_ENVELOPE_BYTES: u64 = 88;

static WANTED: [Wanted; 3] = [
    Wanted { key: "usage", capture_bytes_max: USAGE_CAPTURE_BYTES_MAX },
    Wanted { key: "model", capture_bytes_max: MODEL_BYTES_MAX },
    Wanted { key: "container", capture_bytes_max: STICKY_BYTES_MAX },
];
/// The same, of an answer in a thread: what goes on names it.
static WANTED_OF_THREAD: [Wanted; 4] =
    [WANTED[0], WANTED[1], WANTED[2], Wanted { key: "id", capture_bytes_max: MODEL_BYTES_MAX }];

/// Made once: making one costs more than looking through an event.
static CONTAINER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"container\""));

/// The meter of one answer.
pub struct Meter {
    kind: Kind,
    reading: Reading,
    counts: bool,
    /// Boxed, since only Bedrock's answers have them.
    head: Option<Box<HeadCounts>>,
}

enum Kind {
    Blind,
    Json(Box<TopLevelScanner>),
    Stream(Box<SseScanner>),
    Frames(Box<FrameReader>),
}

/// What has been read off.
#[derive(Default)]
struct Reading {
    tally: UsageTally,
    output_bytes: u64,
    odd: bool,
    ended: bool,
    stopped: bool,
    compared: Compared,
    /// Messages of this answer's thread go on from it.
    thread: bool,
    /// Boxed, since hardly any answer shows one.
    sticky: Option<Box<ArrayVec<Label, OBJECTS_PER_ANSWER_MAX>>>,
}

/// What an answer looks like from its head.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The operation is one that costs.
    pub billable: bool,
    /// Its status.
    pub status: u16,
    /// Its `content-type`.
    pub content_type: &'a [u8],
    /// Its bytes are compressed, so that nothing can be read off.
    pub encoded: bool,
}

impl Meter {
    /// A meter for an answer not yet seen.
    pub fn new(billable: bool) -> Self {
        Self { kind: Kind::Blind, reading: Reading::default(), counts: billable, head: None }
    }

    /// Gives its scanner back, if it has one that fits other answers. Nothing may be asked afterwards of what only that knows.
    pub fn give_back(&mut self, spare: &mut Spare<Box<TopLevelScanner>>) {
        if let Kind::Json(_) = &self.kind
            && !self.reading.thread
            && let Kind::Json(scanner) = std::mem::replace(&mut self.kind, Kind::Blind)
        {
            spare.put(scanner);
        }
    }

    /// The answer is part of a thread, so its id is wanted.
    pub fn expect_thread(&mut self) {
        self.reading.thread = true;
    }

    /// The container that the answer ran in, and the message that a thread goes on from, as far as told.
    pub fn sticky(&self) -> ArrayVec<Label, OBJECTS_PER_ANSWER_MAX> {
        let Kind::Json(scanner) = &self.kind else {
            return self.reading.sticky.as_deref().cloned().unwrap_or_default();
        };
        let raw = |place| scanner.value(place).filter(|value| !value.truncated).map(|value| value.raw);
        let message = if self.reading.thread { raw(3) } else { None };
        raw(2).and_then(sticky::described).into_iter().chain(message.and_then(sticky::label)).collect()
    }

    /// Has it told of one?
    pub fn shows_sticky(&self) -> bool {
        match &self.kind {
            Kind::Json(scanner) => scanner.value(2).is_some() || (self.reading.thread && scanner.value(3).is_some()),
            _ => self.reading.sticky.is_some(),
        }
    }

    /// Fits the meter to the answer, with scanners that were given back.
    pub fn fit(&mut self, look: Look<'_>, spare: &mut Spare<Box<TopLevelScanner>>) {
        let is = |kind: &[u8]| look.content_type.get(..kind.len()).is_some_and(|c| c.eq_ignore_ascii_case(kind));
        self.counts = look.billable;
        self.kind = match look {
            // Compressed events cannot be read, and one of ours could not be put between them.
            Look { encoded: false, .. } if is(b"text/event-stream") => {
                Kind::Stream(Box::new(SseScanner::new(USAGE_CAPTURE_BYTES_MAX)))
            }
            Look { encoded: false, .. } if is(b"application/vnd.amazon.eventstream") => {
                Kind::Frames(Box::new(FrameReader::new()))
            }
            Look { billable: true, status: 200..=299, encoded: false, .. } if is(b"application/json") => {
                let used = if self.reading.thread { None } else { spare.take() };
                Kind::Json(match used {
                    Some(mut scanner) => {
                        scanner.reset();
                        scanner
                    }
                    None if self.reading.thread => Box::new(TopLevelScanner::new(&WANTED_OF_THREAD)),
                    None => Box::new(TopLevelScanner::new(&WANTED)),
                })
            }
            _ => Kind::Blind,
        };
        self.reading.odd = look.billable && look.encoded && look.status < 300;
    }

    /// What Bedrock says in the head of an answer, to be compared with its body.
    pub fn told_by_head(&mut self, counts: HeadCounts) {
        self.head = Some(Box::new(counts));
    }

    /// Looks at payload.
    pub fn feed(&mut self, payload: &[u8]) {
        match &mut self.kind {
            Kind::Blind => {}
            Kind::Json(scanner) => {
                self.reading.output_bytes += payload.len() as u64;
                if !self.reading.odd && scanner.feed(payload).is_err() {
                    self.reading.odd = true;
                }
            }
            Kind::Stream(scanner) => {
                scanner.feed(payload, &mut self.reading);
                self.reading.odd |= scanner.overflowed();
            }
            Kind::Frames(reader) => {
                reader.feed(payload, &mut self.reading);
                self.reading.odd |= reader.is_odd();
            }
        }
    }

    /// The answer is whole: read what an answer that is not streamed says.
    pub fn finish(&mut self) {
        let Kind::Json(scanner) = &self.kind else { return };
        if let Some(model) = scanner.value(1) {
            let id = unescape_string(model.raw).map(|id| id.into_owned());
            self.reading.tally.served_by(id);
        }
        match scanner.value(0) {
            Some(usage) if !usage.truncated => {
                self.reading.odd |= !self.reading.tally.whole(usage.raw);
                if let Some(head) = &self.head {
                    self.reading.compared = self.reading.tally.compared_with(head);
                }
            }
            _ => self.reading.odd = true,
        }
    }

    /// Is the answer a stream of events?
    pub fn is_stream(&self) -> bool {
        matches!(self.kind, Kind::Stream(_) | Kind::Frames(_))
    }

    /// Between two events: one of ours could follow here.
    pub fn at_event_boundary(&self) -> bool {
        match &self.kind {
            Kind::Stream(scanner) => scanner.at_event_boundary(),
            Kind::Frames(reader) => reader.at_boundary(),
            Kind::Blind | Kind::Json(_) => false,
        }
    }

    /// How Bedrock's own counts compare with the usage that was read.
    pub fn compared(&self) -> Compared {
        self.reading.compared
    }

    /// Does this request cost anything at all?
    pub fn counts(&self) -> bool {
        self.counts
    }

    /// Something could not be read.
    pub fn gave_up(&self) -> bool {
        self.reading.odd
    }

    /// What the provider told.
    pub fn tally(&self) -> &UsageTally {
        &self.reading.tally
    }

    /// Hands over the usage objects as they came.
    pub fn take_raw(&mut self) -> Option<Box<str>> {
        self.reading.tally.take_raw()
    }

    /// The model that answers, once told.
    pub fn model(&self) -> Option<&str> {
        self.reading.tally.model()
    }

    /// Bytes of content that have passed.
    pub fn output_bytes(&self) -> u64 {
        self.reading.output_bytes
    }

    /// The stream came to its own end, `message_stop`.
    pub fn said_its_last(&self) -> bool {
        self.reading.stopped
    }

    /// The stream said its last word, so that what follows is not a loss.
    pub fn stream_ended(&self) -> bool {
        self.reading.ended
    }
}

impl SseVisitor for Reading {
    #[inline]
    fn event(&mut self, class: EventClass, data: &[u8], data_len: u64) {
        // Nearly all events of a stream are content.
        match class {
            EventClass::ContentBlockDelta => self.output_bytes += data_len.saturating_sub(DELTA_ENVELOPE_BYTES),
            _ => self.telling(class, data),
        }
    }
}

impl Reading {
    /// An event that tells of the answer, and carries none of it.
    #[inline(never)]
    fn telling(&mut self, class: EventClass, data: &[u8]) {
        match class {
            EventClass::MessageStart => {
                self.odd |= !self.tally.start(data);
                if self.thread {
                    self.stick(sticky::of_start(data));
                }
            }
            EventClass::MessageDelta => {
                self.odd |= !self.tally.delta(data);
                if CONTAINER.find(data).is_some() {
                    self.stick(sticky::of_delta(data));
                }
            }
            // Shown only where its first bytes look like a takeover by another model.
            EventClass::ContentBlockStart if !data.is_empty() => self.odd |= !self.tally.block(data),
            EventClass::MessageStop => (self.ended, self.stopped) = (true, true),
            EventClass::Error => self.ended = true,
            _ => {}
        }
    }

    fn stick(&mut self, shown: Option<Label>) {
        if let Some(id) = shown {
            // More than an answer may show are not kept.
            let _full = self.sticky.get_or_insert_default().try_push(id);
        }
    }
}

impl FrameVisitor for Reading {
    fn stop(&mut self, data: &[u8]) {
        self.compared = self.tally.metrics(data);
    }
}

#[cfg(test)]
mod tests;
