//! The SSE form of an answer: which bytes are sent in which order (contract.md §4.1).
//!
//! Text deltas come from a ring that is built once per shape and shared, so that a stream costs no formatting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::cloud;
use super::message::{Message, THOUGHT, quoted};
use super::script::ContentScript;
use super::text::{Corpus, SPICE};
use crate::loadtest::generator::live::STAMP_DIGITS;

/// Deltas in a ring; longer streams go around.
const RING_DELTAS: usize = 64;
/// Bytes of text in a ring.
const RING_BYTES: usize = 1 << 20;
/// Rings kept; a request beyond them builds its own.
const RINGS_MAX: usize = 64;

/// Bytes of one event, or of something between events.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Vec<u8>,
    /// Whether it counts for `error_at=N` and the like.
    pub(super) counted: bool,
}

/// What tells rings apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RingKey {
    event_bytes: usize,
    index: u32,
    crlf: bool,
    comments: bool,
}

/// Text deltas of one shape.
#[derive(Debug)]
struct Ring {
    deltas: Vec<Vec<u8>>,
}

impl Ring {
    fn new(key: RingKey, corpus: &Corpus) -> Ring {
        let count = (RING_BYTES / key.event_bytes.max(1)).clamp(1, RING_DELTAS);
        let delta = |at: usize| {
            let mut text = Vec::with_capacity(key.event_bytes);
            let spiced = at.is_multiple_of(4) && key.event_bytes >= SPICE.len();
            if spiced {
                text.extend_from_slice(SPICE.as_bytes());
            }
            let rest = key.event_bytes - text.len();
            corpus.append(&mut text, at * 257, rest);
            let mut bytes = Vec::new();
            if key.comments && at.is_multiple_of(3) {
                bytes.extend_from_slice(if key.crlf { b": sim comment\r\n\r\n" } else { b": sim comment\n\n" });
            }
            append_event(&mut bytes, "content_block_delta", &text_delta(key.index, &text), key.crlf);
            bytes
        };
        Ring { deltas: (0..count).map(delta).collect() }
    }
}

/// Rings by shape.
#[derive(Debug, Default)]
pub(super) struct Rings(Mutex<HashMap<RingKey, Arc<Ring>>>);

impl Rings {
    fn take(&self, key: RingKey, corpus: &Corpus) -> Arc<Ring> {
        if let Some(ring) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Arc::clone(ring);
        }
        let ring = Arc::new(Ring::new(key, corpus));
        let mut rings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rings.len() < RINGS_MAX {
            rings.insert(key, Arc::clone(&ring));
        }
        ring
    }
}

/// The pieces of one stream.
#[derive(Debug)]
pub(super) struct Plan {
    before: Vec<Piece>,
    first: Vec<u8>,
    ring: Arc<Ring>,
    after: Vec<Piece>,
    pub(super) deltas: u32,
}

impl Plan {
    pub(super) fn new(message: &Message, content: &ContentScript, rings: &Rings, corpus: &Corpus) -> Plan {
        let crlf = content.crlf;
        let index = u32::from(message.thinking);
        let mut pieces = Pieces { list: Vec::with_capacity(8), crlf, ping_due: content.first_ping };
        pieces.event("message_start", &message.start_json());
        if content.unknown_events {
            pieces.unknown();
        }
        if message.thinking {
            pieces.thinking(message);
        }
        let block =
            format!(r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}"#);
        pieces.event("content_block_start", &block);
        pieces.ping();
        let before = std::mem::take(&mut pieces.list);
        pieces.event("content_block_stop", &block_stop(index));
        if let Some((id, name)) = &message.tool {
            pieces.tool(index + 1, id, name, &message.tool_input);
        }
        pieces.event("message_delta", &message.delta_json());
        if content.unknown_events {
            pieces.unknown();
        }
        pieces.event("message_stop", r#"{"type":"message_stop"}"#);
        let mut text = Vec::with_capacity(content.event_bytes);
        corpus.append_marked(&mut text, message.mark, content.event_bytes);
        let mut first = Vec::with_capacity(text.len() + 160);
        append_event(&mut first, "content_block_delta", &text_delta(index, &text), crlf);
        let key = RingKey { event_bytes: content.event_bytes, index, crlf, comments: content.comments };
        Plan { before, first, ring: rings.take(key, corpus), after: pieces.list, deltas: content.events }
    }

    /// Number of pieces.
    pub(super) fn len(&self) -> usize {
        self.before.len() + self.deltas as usize + self.after.len()
    }

    /// The piece at `at`: its bytes, whether it counts as an event, and whether it is a text delta.
    pub(super) fn piece(&self, at: usize) -> (&[u8], bool, bool) {
        let listed = |piece: &'_ Piece| piece.counted;
        if let Some(piece) = self.before.get(at) {
            return (&piece.bytes, listed(piece), false);
        }
        let delta = at - self.before.len();
        if delta == 0 && self.deltas > 0 {
            return (&self.first, true, true);
        }
        if delta < self.deltas as usize {
            return (&self.ring.deltas[delta % self.ring.deltas.len()], true, true);
        }
        let piece = &self.after[delta - self.deltas as usize];
        (&piece.bytes, listed(piece), false)
    }

    /// A text delta that begins with the time `nanos`, in place of the one it has.
    pub(super) fn stamped(&self, content: &ContentScript, nanos: u64) -> Vec<u8> {
        let text = format!("{nanos:016x}{:x<1$}", "", content.event_bytes.saturating_sub(STAMP_DIGITS));
        let mut bytes = Vec::with_capacity(text.len() + 160);
        let index = u32::from(content.thinking);
        append_event(&mut bytes, "content_block_delta", &text_delta(index, text.as_bytes()), content.crlf);
        bytes
    }

    /// Bytes of all pieces as frames.
    pub(super) fn frames_bytes(&self, message: &Message) -> usize {
        (0..self.len()).map(|at| cloud::frames(self.piece(at).0, message).len()).sum()
    }

    /// Bytes of all pieces.
    pub(super) fn payload_bytes(&self) -> usize {
        (0..self.len()).map(|at| self.piece(at).0.len()).sum()
    }
}

struct Pieces {
    list: Vec<Piece>,
    crlf: bool,
    ping_due: bool,
}

impl Pieces {
    fn event(&mut self, name: &str, json: &str) {
        let mut bytes = Vec::with_capacity(json.len() + name.len() + 20);
        append_event(&mut bytes, name, json.as_bytes(), self.crlf);
        self.list.push(Piece { bytes, counted: true });
    }

    fn ping(&mut self) {
        if std::mem::take(&mut self.ping_due) {
            self.list.push(Piece { bytes: ping(self.crlf), counted: false });
        }
    }

    fn unknown(&mut self) {
        let mut bytes = Vec::new();
        append_event(
            &mut bytes,
            "sim_notice",
            br#"{"type":"sim_notice","detail":{"usage":{"output_tokens":999999}}}"#,
            self.crlf,
        );
        bytes.extend_from_slice(if self.crlf {
            b"data: {\"nameless\":true}\r\n\r\n"
        } else {
            b"data: {\"nameless\":true}\n\n"
        });
        self.list.push(Piece { bytes, counted: false });
    }

    fn thinking(&mut self, message: &Message) {
        let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#;
        self.event("content_block_start", start);
        self.ping();
        let (first, second) = THOUGHT.split_at(THOUGHT.len() / 2);
        for part in [first, second] {
            let delta = format!(
                r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"thinking_delta","thinking":"{part}"}}}}"#
            );
            self.event("content_block_delta", &delta);
        }
        let signature = message.signature();
        let delta = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"signature_delta","signature":"{signature}"}}}}"#
        );
        self.event("content_block_delta", &delta);
        self.event("content_block_stop", &block_stop(0));
    }

    fn tool(&mut self, index: u32, id: &str, name: &str, input: &str) {
        let name = quoted(name);
        let start = format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"tool_use","id":"{id}","name":{name},"input":{{}}}}}}"#
        );
        self.event("content_block_start", &start);
        let (first, second) = input.split_at(input.floor_char_boundary(input.len() / 2));
        for part in ["", first, second] {
            let part = quoted(part);
            let delta = format!(
                r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"input_json_delta","partial_json":{part}}}}}"#
            );
            self.event("content_block_delta", &delta);
        }
        self.event("content_block_stop", &block_stop(index));
    }
}

fn block_stop(index: u32) -> String {
    format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
}

fn text_delta(index: u32, text: &[u8]) -> Vec<u8> {
    let mut json = format!(r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"text_delta","text":""#)
        .into_bytes();
    json.extend_from_slice(text);
    json.extend_from_slice(br#""}}"#);
    json
}

fn append_event(out: &mut Vec<u8>, name: &str, json: &[u8], crlf: bool) {
    let end: &[u8] = if crlf { b"\r\n" } else { b"\n" };
    for part in [&b"event: "[..], name.as_bytes(), end, &b"data: "[..], json, end, end] {
        out.extend_from_slice(part);
    }
}

/// The `ping` event.
pub(super) fn ping(crlf: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    append_event(&mut bytes, "ping", br#"{"type": "ping"}"#, crlf);
    bytes
}

/// The `error` event that ends a broken stream.
pub(super) fn error_event(json: &[u8], crlf: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(json.len() + 24);
    append_event(&mut bytes, "error", json, crlf);
    bytes
}
