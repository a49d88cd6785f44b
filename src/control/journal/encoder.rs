//! Entries of requests straight into a group's bytes: the messages of `entry.rs` without making them first, since every request
//! leaves one. Byte for byte what `codec` encodes (a test compares). Names are looked up once and kept encoded.

use super::{
    codec::{
        FORMATS, KEPT, OPERATIONS, OUTCOMES, RESULTS, SOURCES, encode_objects, is_served_as_requested, number,
        other_request,
    },
    shorthand::{shorten, uuid},
};
use crate::kernel::{
    ids::{PrincipalId, RequestId},
    names::{NameId, Names},
    record::{Attempt, Kept, Open, Record},
    usage::Usage,
};
use prost::Message;
use std::sync::Arc;

/// Principals kept encoded, by the end of their number; a power of two. Some 100 bytes each.
const PRINCIPALS_KEPT: usize = 4096;
/// Upstreams kept, by their number.
const UPSTREAMS_KEPT: usize = 1024;

const OPEN: u32 = 1;
const CLOSE: u32 = 2;

/// Encodes entries.
pub(super) struct Encoder {
    names: Arc<Names>,
    principals: Vec<Option<(PrincipalId, Box<[u8]>)>>,
    upstreams: Vec<Option<Arc<str>>>,
}

impl Encoder {
    /// An encoder that knows no name yet.
    pub fn new(names: Arc<Names>) -> Self {
        Self { names, principals: vec![None; PRINCIPALS_KEPT], upstreams: Vec::new() }
    }

    /// Appends an opening note as an `EntryV1`, its length in front.
    pub fn open(&mut self, open: &Open, out: &mut Vec<u8>) {
        let place = begin(out, OPEN);
        let m = &mut *out;
        id(m, open.request_id);
        uint(m, 3, open.started_at.0);
        self.principal(m, 4, open.principal);
        let session_uuid = session(m, 5, &open.session);
        uint(m, 6, number(&FORMATS, open.format).into());
        uint(m, 7, number(&OPERATIONS, open.operation).into());
        text(m, 8, &open.model_requested);
        text(m, 9, &self.upstream(open.upstream));
        uint(m, 10, open.request_bytes);
        sint(m, 11, open.reserved.0);
        usage(m, 12, &open.estimate);
        sint(m, 13, open.estimate_cost.0);
        present(m, 14, session_uuid.as_ref().map_or(&[], |uuid| uuid));
        end(out, place);
    }

    /// Appends a closed request as an `EntryV1`, its length in front.
    pub fn close(&mut self, record: &Record, out: &mut Vec<u8>) {
        let place = begin(out, CLOSE);
        let m = &mut *out;
        id(m, record.request_id);
        text(m, 3, &record.upstream_request_id);
        uint(m, 4, record.started_at.0);
        uint(m, 5, record.ended_at.0);
        if let Some(principal) = record.principal {
            self.principal(m, 6, principal);
        }
        let session_uuid = session(m, 7, &record.session);
        text(m, 8, &record.agent);
        text(m, 9, &record.request_class);
        uint(m, 10, number(&FORMATS, record.format).into());
        uint(m, 11, number(&OPERATIONS, record.operation).into());
        text(m, 12, &record.model_requested);
        let served_as_requested = is_served_as_requested(record);
        text(m, 13, if served_as_requested { "" } else { &record.model_served });
        if let Some(upstream) = record.upstream {
            bytes(m, 14, self.upstream(upstream).as_bytes());
        }
        uint(m, 15, record.status.into());
        uint(m, 16, number(&OUTCOMES, record.outcome).into());
        if let Some(refused_by) = record.refused_by {
            bytes(m, 17, refused_by.as_bytes());
        }
        uint(m, 18, record.stream.into());
        uint(m, 19, record.request_bytes);
        uint(m, 20, record.response_bytes);
        usage(m, 21, &record.usage);
        uint(m, 22, number(&SOURCES, record.usage_source).into());
        sint(m, 23, record.cost.0);
        sint(m, 24, record.reserved.0);
        text(m, 25, &record.price_version);
        for attempt in &record.attempts {
            self.attempt(m, attempt, record.upstream);
        }
        uint(m, 27, record.ttfb_us);
        uint(m, 28, record.duration_us);
        uint(m, 29, record.gateway_us);
        present(m, 30, record.request_sha256.as_ref().map_or(&[], |sha| sha));
        if let Some(raw) = &record.usage_raw {
            usage_raw(m, raw);
        }
        present(m, 40, record.response_sha256.as_ref().map_or(&[], |sha| sha));
        uint(m, 41, if record.body.kept == Kept::None { 0 } else { number(&KEPT, record.body.kept).into() });
        uint(m, 42, record.body.request_cut.into());
        uint(m, 43, record.body.response_cut.into());
        if let Some(note) = &record.objects {
            // Rare: the message does.
            bytes(m, 60, &encode_objects(note, &self.names).encode_to_vec());
        }
        present(m, 62, &other_request(record, |turn| turn.duplicate_of));
        present(m, 63, &other_request(record, |turn| turn.repeated_by));
        present(m, 64, session_uuid.as_ref().map_or(&[], |uuid| uuid));
        uint(m, 65, served_as_requested.into());
        end(out, place);
    }

    fn attempt(&mut self, out: &mut Vec<u8>, attempt: &Attempt, answered: Option<NameId>) {
        nested(out, 26, |out| {
            if answered != Some(attempt.upstream) {
                text(out, 1, &self.upstream(attempt.upstream));
            }
            uint(out, 2, attempt.status.into());
            uint(out, 3, number(&RESULTS, attempt.result).into());
            uint(out, 4, attempt.duration_us);
            uint(out, 5, attempt.maybe_billed.into());
        });
    }

    /// Names of upstreams are numbered with all other names of the configuration, so that the first ones are enough.
    fn upstream(&mut self, id: NameId) -> Arc<str> {
        let place = id.0 as usize;
        if place >= UPSTREAMS_KEPT {
            return self.names.name_of(id);
        }
        if self.upstreams.len() <= place {
            self.upstreams.resize(place + 1, None);
        }
        self.upstreams[place].get_or_insert_with(|| self.names.name_of(id)).clone()
    }

    fn principal(&mut self, out: &mut Vec<u8>, tag: u32, id: PrincipalId) {
        let kept = &mut self.principals[id.0 as usize % PRINCIPALS_KEPT];
        if kept.as_ref().is_none_or(|(whose, _)| *whose != id) {
            let principal = self.names.principal_of(id);
            let mut message = Vec::new();
            text(&mut message, 1, &principal.key);
            text(&mut message, 2, &principal.user);
            text(&mut message, 3, &principal.team);
            text(&mut message, 4, &principal.project);
            *kept = Some((id, message.into()));
        }
        if let Some((_, message)) = kept {
            bytes(out, tag, message);
        }
    }
}

/// What comes before an entry's message: the entry's length, the kind, the message's length. Nearly all messages have from 128 to
/// 16,383 bytes, so that their length takes two; else they move.
const ENTRY_HEAD_BYTES: usize = 7;

/// Begins an entry of a kind; its message comes behind.
fn begin(out: &mut Vec<u8>, kind: u32) -> usize {
    let place = out.len();
    out.extend_from_slice(&[0; 4]);
    key(out, kind, 2);
    out.extend_from_slice(&[0; 2]);
    debug_assert_eq!(out.len(), place + ENTRY_HEAD_BYTES, "kinds are small numbers");
    place
}

/// Ends the entry that began at a place.
fn end(out: &mut Vec<u8>, place: usize) {
    let message = place + ENTRY_HEAD_BYTES;
    let length = out.len() - message;
    match length {
        0x80..0x4000 => out[message - 2..message].copy_from_slice(&[length as u8 | 0x80, (length >> 7) as u8]),
        _ => {
            let moved = out.split_off(message);
            out.truncate(message - 2);
            varint(out, length as u64);
            out.extend_from_slice(&moved);
        }
    }
    let whole = (out.len() - place - 4) as u32;
    out[place..place + 4].copy_from_slice(&whole.to_le_bytes());
}

// The wire types of protobuf. A field that has its default is left out, except where the message says it is optional.

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, tag: u32, wire_type: u32) {
    varint(out, u64::from(tag << 3 | wire_type));
}

fn uint(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        key(out, tag, 0);
        varint(out, value);
    }
}

fn sint(out: &mut Vec<u8>, tag: u32, value: i64) {
    uint(out, tag, ((value << 1) ^ (value >> 63)) as u64);
}

fn fixed(out: &mut Vec<u8>, tag: u32, value: u64) {
    if value != 0 {
        key(out, tag, 1);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    key(out, tag, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn present(out: &mut Vec<u8>, tag: u32, value: &[u8]) {
    if !value.is_empty() {
        bytes(out, tag, value);
    }
}

fn text(out: &mut Vec<u8>, tag: u32, value: &str) {
    present(out, tag, value.as_bytes());
}

fn id(out: &mut Vec<u8>, id: RequestId) {
    fixed(out, 1, (id.0 >> 64) as u64);
    fixed(out, 2, id.0 as u64);
}

/// The session as text, unless it is the UUID that is returned.
fn session(out: &mut Vec<u8>, tag: u32, session: &str) -> Option<[u8; 16]> {
    let uuid = uuid(session);
    text(out, tag, if uuid.is_some() { "" } else { session });
    uuid
}

/// The usage objects, short where that can be.
fn usage_raw(out: &mut Vec<u8>, raw: &str) {
    let place = out.len();
    let mut shortened = false;
    nested(out, 32, |out| shortened = shorten(raw, out));
    if !shortened {
        out.truncate(place);
        bytes(out, 31, raw.as_bytes());
    }
}

fn usage(out: &mut Vec<u8>, tag: u32, usage: &Usage) {
    if *usage == Usage::default() {
        return;
    }
    let Usage { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, fast, batch, geo_us } = *usage;
    nested(out, tag, |out| {
        let counts = [input, output, cache_read, cache_write_5m, cache_write_1h, web_search];
        (1..).zip(counts).for_each(|(tag, count)| uint(out, tag, count));
        uint(out, 7, fast.into());
        uint(out, 8, batch.into());
        uint(out, 9, geo_us.into());
    });
}

/// A message within a message. Nearly all are short, so that their length takes one byte; else they move.
fn nested(out: &mut Vec<u8>, tag: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    key(out, tag, 2);
    let place = out.len();
    out.push(0);
    fill(out);
    let length = out.len() - place - 1;
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out[place] = short,
        _ => {
            let message = out.split_off(place + 1);
            out.truncate(place);
            varint(out, length as u64);
            out.extend_from_slice(&message);
        }
    }
}
