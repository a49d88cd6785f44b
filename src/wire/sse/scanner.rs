//! The line machine of an event stream, resumable at any byte.

use arrayvec::ArrayVec;
use fearless_simd::Level;

use super::{
    class::{EventClass, HEAD_BYTES_MAX},
    whole::WholeEvent,
};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Is told of every event, in order, as soon as its blank line has passed.
pub trait SseVisitor {
    /// One event. `data` holds the data of [`EventClass::MessageStart`], [`EventClass::MessageDelta`] and
    /// [`EventClass::Error`], and of [`EventClass::ContentBlockStart`] when its first bytes name a `fallback` block;
    /// else it is empty. `data_len` counts the data bytes of any event.
    fn event(&mut self, class: EventClass, data: &[u8], data_len: u64);
}

/// What the current line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing of it has come.
    Start,
    /// Its field name, in `field`, goes on.
    Field,
    /// An `event` value goes on, in `name`; `fresh` before its first byte.
    Name { fresh: bool },
    /// A `data` value goes on.
    Data { fresh: bool },
    /// A comment or a field of no interest.
    Skipped,
}

/// Where the data of the current event lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Nothing,
    /// In the chunk being fed.
    Chunk {
        start: usize,
        end: usize,
    },
    /// In the scratch buffer.
    Scratch,
}

/// Watches one event stream.
///
/// Takes the whole grammar: LF, CRLF and CR line ends, comments, several data lines, a byte order mark, fields in any
/// order. Events without a name are classified by the `type` member of their data.
#[derive(Clone, Debug)]
pub struct SseScanner {
    /// The vectors this machine has.
    level: Level,
    capture_bytes_max: usize,
    line: Line,
    /// The field name of a line that came in parts, and a byte order mark before it.
    field: ArrayVec<u8, 8>,
    /// The event name of a line that came in parts; cut where it can be no known one any more.
    name: ArrayVec<u8, 32>,
    is_first_line: bool,
    /// The last byte was CR: an LF belongs to it.
    after_cr: bool,
    class: Option<EventClass>,
    /// A field has come since the last blank line.
    in_event: bool,
    has_data: bool,
    data_len: u64,
    held: Held,
    /// Data was left out because the name said it would not be needed.
    skipped_data: bool,
    scratch: Vec<u8>,
    overflowed: bool,
}

impl SseScanner {
    /// A scanner at the start of a stream, which shows data up to `capture_bytes_max` bytes per event.
    pub fn new(capture_bytes_max: usize) -> Self {
        Self {
            level: Level::new(),
            capture_bytes_max,
            line: Line::Start,
            field: ArrayVec::new(),
            name: ArrayVec::new(),
            is_first_line: true,
            after_cr: false,
            class: None,
            in_event: false,
            has_data: false,
            data_len: 0,
            held: Held::Nothing,
            skipped_data: false,
            scratch: Vec::new(),
            overflowed: false,
        }
    }

    /// Makes ready for another stream, keeping what was allocated.
    pub fn reset(&mut self) {
        let scratch = std::mem::take(&mut self.scratch);
        *self = Self { scratch, ..Self::new(self.capture_bytes_max) };
        self.scratch.clear();
    }

    /// Whether the bytes so far end between two events: one of ours could follow.
    pub fn at_event_boundary(&self) -> bool {
        self.line == Line::Start && !self.in_event && !self.after_cr
    }

    /// Whether an event that should have been shown was larger than the cap and was left out.
    pub fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// Watches the next bytes of the stream. Data that lies whole in `chunk` is shown from there, uncopied.
    pub fn feed(&mut self, chunk: &[u8], visitor: &mut impl SseVisitor) {
        let mut at = 0;
        if self.after_cr && !chunk.is_empty() {
            self.after_cr = false;
            at = usize::from(chunk.first() == Some(&b'\n'));
        }
        loop {
            if self.line == Line::Start && !self.in_event {
                at = self.whole_events(chunk, at, visitor);
            }
            if at >= chunk.len() {
                break;
            }
            at = self.next_line(chunk, at, visitor);
        }
        self.spill(chunk);
    }

    /// Passes the events that lie whole in the chunk from `at` on, which is between two events. Returns where they end.
    #[inline]
    fn whole_events(&mut self, chunk: &[u8], at: usize, visitor: &mut impl SseVisitor) -> usize {
        let mut at = at;
        while at < chunk.len()
            && let Some(event) = chunk.get(at..).and_then(|rest| WholeEvent::first_of(self.level, rest))
        {
            self.is_first_line = false;
            self.overflowed |= !show(&event, self.capture_bytes_max, visitor);
            at += event.len;
        }
        at
    }

    /// Takes one line, or what the chunk has of it. Returns where to go on.
    #[inline(never)]
    fn next_line(&mut self, chunk: &[u8], at: usize, visitor: &mut impl SseVisitor) -> usize {
        let rest = chunk.get(at..).unwrap_or_default();
        let Some(len) = memchr::memchr2(b'\n', b'\r', rest) else {
            self.spill(chunk);
            self.line_part(rest);
            return chunk.len();
        };
        let end = at + len;
        if self.line == Line::Start {
            self.whole_line(chunk, at, end, visitor);
        } else {
            self.line_part(rest.get(..len).unwrap_or_default());
            self.line_end();
        }
        match (rest.get(len), chunk.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) => end + 2,
            (Some(b'\r'), None) => {
                self.after_cr = true;
                end + 1
            }
            _ => end + 1,
        }
    }

    /// A line that lies whole in the chunk.
    fn whole_line(&mut self, chunk: &[u8], start: usize, end: usize, visitor: &mut impl SseVisitor) {
        let mut line = chunk.get(start..end).unwrap_or_default();
        if self.is_first_line {
            self.is_first_line = false;
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.blank_line(chunk, visitor);
        }
        if line.first() == Some(&b':') {
            return;
        }
        self.in_event = true;
        if let Some(value) = value_of(line, b"data") {
            if self.has_data || !self.wants_data() || self.held != Held::Nothing {
                self.spill(chunk);
                self.begin_data();
                self.data_part(value);
            } else {
                self.has_data = true;
                self.data_len = value.len() as u64;
                self.held = Held::Chunk { start: end - value.len(), end };
            }
        } else if let Some(value) = value_of(line, b"event") {
            self.set_class(EventClass::of_name(value), value.is_empty());
        }
    }

    /// Part of a line whose end is not in the chunk, or whose start was in an earlier one.
    fn line_part(&mut self, part: &[u8]) {
        let mut part = part;
        while matches!(self.line, Line::Start | Line::Field) {
            let Some((byte, rest)) = part.split_first() else { return };
            part = rest;
            self.line = if *byte == b':' {
                self.after_colon()
            } else if self.field.try_push(*byte).is_ok() {
                Line::Field
            } else {
                self.in_event = true;
                Line::Skipped
            };
        }
        if let Line::Name { fresh } | Line::Data { fresh } = &mut self.line
            && !part.is_empty()
            && std::mem::take(fresh)
        {
            part = part.strip_prefix(b" ").unwrap_or(part);
        }
        match self.line {
            Line::Name { .. } => {
                let room = self.name.remaining_capacity().min(part.len());
                self.name.extend(part.iter().take(room).copied());
            }
            Line::Data { .. } => self.data_part(part),
            _ => {}
        }
    }

    /// What the value after the colon is, going by the field name in `field`.
    fn after_colon(&mut self) -> Line {
        let name = self.field_name();
        self.in_event |= !name.is_empty();
        match name.as_slice() {
            b"data" => {
                self.begin_data();
                Line::Data { fresh: true }
            }
            b"event" => {
                self.name.clear();
                Line::Name { fresh: true }
            }
            _ => Line::Skipped,
        }
    }

    /// Takes the collected field name, without the stream's byte order mark.
    fn field_name(&mut self) -> ArrayVec<u8, 8> {
        let mut name = std::mem::take(&mut self.field);
        if std::mem::take(&mut self.is_first_line) && name.starts_with(BYTE_ORDER_MARK) {
            name.drain(..BYTE_ORDER_MARK.len());
        }
        name
    }

    /// The end of a line that came in parts; it was not empty, except for a lone byte order mark.
    fn line_end(&mut self) {
        match self.line {
            Line::Field => {
                let name = self.field_name();
                self.in_event |= !name.is_empty();
                match name.as_slice() {
                    b"data" => self.begin_data(),
                    b"event" => self.class = None,
                    _ => {}
                }
            }
            Line::Name { .. } => self.set_class(EventClass::of_name(&self.name), self.name.is_empty()),
            _ => {}
        }
        self.is_first_line = false;
        self.field.clear();
        self.line = Line::Start;
    }

    /// An empty name is no name.
    fn set_class(&mut self, class: EventClass, is_unnamed: bool) {
        self.class = if is_unnamed { None } else { Some(class) };
    }

    /// Whether the event's data may have to be shown, or is needed to classify it.
    fn wants_data(&self) -> bool {
        self.class.is_none_or(EventClass::is_shown)
    }

    /// A `data` line begins: lines are joined by LF.
    fn begin_data(&mut self) {
        if self.has_data {
            self.data_part(b"\n");
        }
        self.has_data = true;
    }

    /// Data that cannot be shown from the chunk.
    fn data_part(&mut self, part: &[u8]) {
        self.data_len += part.len() as u64;
        if part.is_empty() {
            return;
        }
        if self.wants_data() {
            self.keep(part);
        } else {
            self.skipped_data = true;
        }
    }

    /// Copies to scratch what fits under the cap, and always enough to classify the event.
    fn keep(&mut self, part: &[u8]) {
        if self.held != Held::Scratch {
            self.held = Held::Scratch;
            self.scratch.clear();
        }
        let room = self.capture_bytes_max.max(HEAD_BYTES_MAX).saturating_sub(self.scratch.len());
        self.scratch.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    /// Saves data held in the chunk before the chunk goes away.
    #[inline]
    fn spill(&mut self, chunk: &[u8]) {
        if let Held::Chunk { start, end } = self.held {
            self.keep(chunk.get(start..end).unwrap_or_default());
        }
    }

    /// A blank line: the event, if there was one, is over.
    fn blank_line(&mut self, chunk: &[u8], visitor: &mut impl SseVisitor) {
        let data = match self.held {
            Held::Nothing => &[],
            Held::Chunk { start, end } => chunk.get(start..end).unwrap_or_default(),
            Held::Scratch => &self.scratch,
        };
        if self.class.is_some() || self.has_data {
            let class = self.class.unwrap_or_else(|| EventClass::of_data(data));
            let shown = class.is_needed(data);
            if !shown {
                visitor.event(class, &[], self.data_len);
            } else if self.skipped_data || self.data_len > self.capture_bytes_max as u64 {
                self.overflowed = true;
            } else {
                visitor.event(class, data, self.data_len);
            }
        }
        self.class = None;
        self.in_event = false;
        self.has_data = false;
        self.data_len = 0;
        self.held = Held::Nothing;
        self.skipped_data = false;
    }
}

/// Tells of an event that lies whole in the chunk. False if it should have been shown and is above the cap.
#[inline]
fn show(event: &WholeEvent<'_>, capture_bytes_max: usize, visitor: &mut impl SseVisitor) -> bool {
    let WholeEvent { class, data, .. } = *event;
    let shown = if class.is_needed(data) { data } else { &[] };
    let fits = shown.len() <= capture_bytes_max;
    if fits {
        visitor.event(class, shown, data.len() as u64);
    }
    fits
}

/// The value of a line of this field, without the one space that may come first.
#[inline]
fn value_of<'l>(line: &'l [u8], field: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(field)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}
