//! Between kernel records and messages on disk: names for numbers on the way out, numbers for names on the way in.

use super::{
    CRASH,
    entry::{AttemptV1, ChangeV1, CloseV1, EntryV1, KindV1, ObjectsV1, OpenV1, PrincipalV1, UsageV1},
    shorthand::{lengthen, session, shorten, uuid},
    side::Joined,
};
use crate::{
    control::changes::{Change, ChangeId},
    kernel::{
        ids::{PrincipalId, RequestId, SnapshotVersion},
        keys::Principal,
        money::Nanos,
        names::{NameId, Names},
        objects::{OBJECTS_PER_ANSWER_MAX, ObjectNote},
        record::{
            Attempt, AttemptResult, BodyMark, Entry, Format, Kept, ObjectEvent, Open, Operation, Outcome, Record,
            TurnMark, inline,
        },
        time::UnixMs,
        usage::{Usage, UsageSource},
    },
    observe::names::REFUSAL_REASONS,
};
use std::{collections::HashMap, sync::Arc};

// A value's number on disk is its place here, from 1; 0 is an absent field. New values go to the end.
pub(super) const FORMATS: [Format; 3] = [Format::Anthropic, Format::Bedrock, Format::Vertex];
pub(super) const OPERATIONS: [Operation; 17] = [
    Operation::Messages,
    Operation::CountTokens,
    Operation::Models,
    Operation::Probe,
    Operation::Unknown,
    Operation::Usage,
    Operation::BatchCreate,
    Operation::BatchList,
    Operation::BatchGet,
    Operation::BatchCancel,
    Operation::BatchDelete,
    Operation::BatchResults,
    Operation::FileUpload,
    Operation::FileList,
    Operation::FileGet,
    Operation::FileContent,
    Operation::FileDelete,
];
pub(super) const OUTCOMES: [Outcome; 5] =
    [Outcome::Completed, Outcome::ClientAborted, Outcome::UpstreamFailed, Outcome::Refused, Outcome::GatewayFailed];
pub(super) const RESULTS: [AttemptResult; 5] = [
    AttemptResult::Answered,
    AttemptResult::Unreachable,
    AttemptResult::TimedOut,
    AttemptResult::Broken,
    AttemptResult::Cancelled,
];
pub(super) const SOURCES: [UsageSource; 3] = [UsageSource::Reported, UsageSource::Estimated, UsageSource::None];
const EVENTS: [ObjectEvent; 3] = [ObjectEvent::Made, ObjectEvent::Settled, ObjectEvent::Gone];
pub(super) const KEPT: [Kept; 3] = [Kept::Hashed, Kept::Stored, Kept::Dropped];
/// What an unknown reason reads as: a label of a later weir.
const OTHER_REASON: &str = "other";

pub(super) fn number<T: PartialEq>(table: &[T], value: T) -> u32 {
    table.iter().position(|v| *v == value).map_or(0, |place| place as u32 + 1)
}

fn value<T: Copy>(table: &[T], number: u32, field: &'static str) -> Result<T, DecodeError> {
    let place = (number as usize).checked_sub(1);
    place.and_then(|p| table.get(p)).copied().ok_or(DecodeError::UnknownValue { field, number })
}

/// Why an entry of an intact group cannot be read.
#[derive(Debug)]
pub(super) enum DecodeError {
    /// Not the protobuf message it should be.
    NotAnEntry(prost::DecodeError),
    /// A number this version does not know.
    UnknownValue { field: &'static str, number: u32 },
    /// More attempts than a request may make.
    TooManyAttempts,
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAnEntry(error) => write!(f, "an entry is not a journal message ({error})"),
            Self::UnknownValue { field, number } => {
                write!(f, "an entry has {field} number {number}, which this version of weir does not know")
            }
            Self::TooManyAttempts => f.write_str("an entry has more attempts than this version of weir knows"),
        }
    }
}

/// An entry that has been read.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "lives for one look; boxing would allocate per entry")]
pub(super) enum Decoded {
    /// Of a request.
    Entry(Entry),
    /// Of a change.
    Change(Change),
    /// Of a side chain.
    Joined(Joined),
}

/// Turns a change into its message.
pub(super) fn encode_change(change: &Change) -> EntryV1 {
    let Change { id, at, kind, who, peer, subject, before, after, failed } = change.clone();
    let kind = KindV1::Change(ChangeV1 {
        id_high: (id.0 >> 64) as u64,
        id_low: id.0 as u64,
        at_ms: at.0,
        kind: kind.into_owned(),
        who,
        peer,
        subject,
        before,
        after,
        failed,
    });
    EntryV1 { kind: Some(kind) }
}

fn decode_change(change: ChangeV1) -> Change {
    let ChangeV1 { id_high, id_low, at_ms, kind, who, peer, subject, before, after, failed } = change;
    let id = ChangeId((u128::from(id_high) << 64) | u128::from(id_low));
    Change { id, at: UnixMs(at_ms), kind: kind.into(), who, peer, subject, before, after, failed }
}

/// Turns an entry into its message.
pub(super) fn encode(entry: &Entry, names: &Names) -> EntryV1 {
    let kind = match entry {
        Entry::Open(open) => KindV1::Open(encode_open(open, names)),
        Entry::Close(record) => KindV1::Close(encode_close(record, names)),
    };
    EntryV1 { kind: Some(kind) }
}

pub(super) fn encode_open(open: &Open, names: &Names) -> OpenV1 {
    let (request_id_high, request_id_low) = halves(open.request_id);
    let session_uuid = uuid(&open.session).map_or_else(Vec::new, Into::into);
    OpenV1 {
        request_id_high,
        request_id_low,
        started_at_ms: open.started_at.0,
        principal: Some(encode_principal(open.principal, names)),
        session: if session_uuid.is_empty() { open.session.as_str().into() } else { String::new() },
        session_uuid,
        format: number(&FORMATS, open.format),
        operation: number(&OPERATIONS, open.operation),
        model_requested: open.model_requested.as_str().into(),
        upstream: names.name_of(open.upstream).as_ref().into(),
        request_bytes: open.request_bytes,
        reserved_nanos: open.reserved.0,
        estimate: encode_usage(&open.estimate),
        estimate_cost_nanos: open.estimate_cost.0,
    }
}

pub(super) fn encode_close(record: &Record, names: &Names) -> CloseV1 {
    let (request_id_high, request_id_low) = halves(record.request_id);
    let session_uuid = uuid(&record.session).map_or_else(Vec::new, Into::into);
    let served_as_requested = is_served_as_requested(record);
    let mut usage_short = Vec::new();
    let usage_raw = record.usage_raw.as_deref().filter(|raw| !shorten(raw, &mut usage_short)).map(Into::into);
    CloseV1 {
        request_id_high,
        request_id_low,
        upstream_request_id: record.upstream_request_id.as_str().into(),
        started_at_ms: record.started_at.0,
        ended_at_ms: record.ended_at.0,
        principal: record.principal.map(|id| encode_principal(id, names)),
        session: if session_uuid.is_empty() { record.session.as_str().into() } else { String::new() },
        session_uuid,
        agent: record.agent.as_str().into(),
        request_class: record.request_class.as_str().into(),
        format: number(&FORMATS, record.format),
        operation: number(&OPERATIONS, record.operation),
        model_requested: record.model_requested.as_str().into(),
        model_served: if served_as_requested { String::new() } else { record.model_served.as_str().into() },
        served_as_requested,
        upstream: record.upstream.map(|id| names.name_of(id).as_ref().into()),
        status: u32::from(record.status),
        outcome: number(&OUTCOMES, record.outcome),
        refused_by: record.refused_by.map(Into::into),
        stream: record.stream,
        request_bytes: record.request_bytes,
        response_bytes: record.response_bytes,
        usage: encode_usage(&record.usage),
        usage_source: number(&SOURCES, record.usage_source),
        cost_nanos: record.cost.0,
        reserved_nanos: record.reserved.0,
        price_version: record.price_version.as_str().into(),
        attempts: record.attempts.iter().map(|a| encode_attempt(a, record.upstream, names)).collect(),
        ttfb_us: record.ttfb_us,
        duration_us: record.duration_us,
        gateway_us: record.gateway_us,
        request_sha256: record.request_sha256.map_or_else(Vec::new, Into::into),
        usage_raw,
        usage_short,
        response_sha256: record.response_sha256.map_or_else(Vec::new, Into::into),
        body_kept: if record.body.kept == Kept::None { 0 } else { number(&KEPT, record.body.kept) },
        request_cut: record.body.request_cut,
        response_cut: record.body.response_cut,
        duplicate_of: other_request(record, |turn| turn.duplicate_of),
        repeated_by: other_request(record, |turn| turn.repeated_by),
        objects: record.objects.as_deref().map(|note| encode_objects(note, names)),
    }
}

pub(super) fn encode_objects(note: &ObjectNote, names: &Names) -> ObjectsV1 {
    ObjectsV1 {
        ids: note.ids.iter().map(|id| id.as_str().into()).collect(),
        event: number(&EVENTS, note.event),
        booked_on: note.booked.map(|(principal, _)| encode_principal(principal, names)),
        booked_at_ms: note.booked.map_or(0, |(_, at)| at.0),
    }
}

/// Does the record's entry say so in place of the name?
pub(super) fn is_served_as_requested(record: &Record) -> bool {
    !record.model_served.is_empty() && record.model_served == record.model_requested
}

fn encode_attempt(attempt: &Attempt, answered: Option<NameId>, names: &Names) -> AttemptV1 {
    let elsewhere = answered != Some(attempt.upstream);
    AttemptV1 {
        upstream: if elsewhere { names.name_of(attempt.upstream).as_ref().into() } else { String::new() },
        status: u32::from(attempt.status),
        result: number(&RESULTS, attempt.result),
        duration_us: attempt.duration_us,
        maybe_billed: attempt.maybe_billed,
    }
}

fn encode_principal(id: PrincipalId, names: &Names) -> PrincipalV1 {
    let Principal { key, user, team, project } = names.principal_of(id).as_ref().clone();
    PrincipalV1 { key, user, team, project }
}

fn encode_usage(usage: &Usage) -> Option<UsageV1> {
    let Usage { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, fast, batch, geo_us } = *usage;
    (*usage != Usage::default()).then_some(UsageV1 {
        input,
        output,
        cache_read,
        cache_write_5m,
        cache_write_1h,
        web_search,
        fast,
        batch,
        geo_us,
    })
}

fn halves(id: RequestId) -> (u64, u64) {
    ((id.0 >> 64) as u64, id.0 as u64)
}

fn whole(high: u64, low: u64) -> RequestId {
    RequestId((u128::from(high) << 64) | u128::from(low))
}

/// A change as a message, for a file that is not the journal.
pub(in crate::control) fn change_bytes(change: &Change) -> Vec<u8> {
    prost::Message::encode_to_vec(&encode_change(change))
}

/// Reads such a message back, or says what is wrong with it.
pub(in crate::control) fn change_of(message: &[u8], names: &Arc<Names>) -> Result<Change, String> {
    match Decoder::new(names.clone()).decode(message).map_err(|error| error.to_string())? {
        Some(Decoded::Change(change)) => Ok(change),
        _ => Err("an entry is no change".into()),
    }
}

/// A closed request as a message, for a file that is not the journal.
pub(in crate::control) fn record_bytes(record: &Record, names: &Names) -> Vec<u8> {
    prost::Message::encode_to_vec(&encode_close(record, names))
}

/// Reads such messages back, or says what is wrong with the first that is none.
pub(in crate::control) fn records_of<'a>(
    messages: impl Iterator<Item = &'a [u8]>,
    names: &Arc<Names>,
) -> Result<Vec<Record>, String> {
    let mut decoder = Decoder::new(names.clone());
    let mut read = |message| {
        let close: CloseV1 = prost::Message::decode(message).map_err(DecodeError::NotAnEntry)?;
        decoder.close(close)
    };
    messages.map(|message| read(message).map_err(|error: DecodeError| error.to_string())).collect()
}

/// Reads messages back. Names are looked up in tables of its own first, since `Names` is behind a lock.
pub(super) struct Decoder {
    names: Arc<Names>,
    upstreams: HashMap<String, NameId>,
    principals: HashMap<Principal, PrincipalId>,
}

impl Decoder {
    pub fn new(names: Arc<Names>) -> Self {
        Self { names, upstreams: HashMap::new(), principals: HashMap::new() }
    }

    /// Reads one entry; `None` for a kind that a later version added.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<Option<Decoded>, DecodeError> {
        let entry: EntryV1 = prost::Message::decode(bytes).map_err(DecodeError::NotAnEntry)?;
        match entry.kind {
            Some(KindV1::Open(open)) => self.open(open).map(|open| Some(Decoded::Entry(Entry::Open(open)))),
            Some(KindV1::Close(close)) => {
                self.close(close).map(|record| Some(Decoded::Entry(Entry::Close(record.into()))))
            }
            Some(KindV1::Change(change)) => Ok(Some(Decoded::Change(decode_change(change)))),
            Some(KindV1::Join(join)) => match Joined::decode(join) {
                Ok(joined) => Ok(Some(Decoded::Joined(joined))),
                Err(_) => Err(DecodeError::UnknownValue { field: "hash", number: 0 }),
            },
            None => Ok(None),
        }
    }

    pub fn open(&mut self, open: OpenV1) -> Result<Open, DecodeError> {
        Ok(Open {
            request_id: whole(open.request_id_high, open.request_id_low),
            started_at: UnixMs(open.started_at_ms),
            principal: self.principal(open.principal.unwrap_or_default()),
            session: session(&open.session, &open.session_uuid),
            format: value(&FORMATS, open.format, "format")?,
            operation: value(&OPERATIONS, open.operation, "operation")?,
            model_requested: inline(open.model_requested.as_bytes()),
            upstream: self.upstream(open.upstream),
            request_bytes: open.request_bytes,
            reserved: Nanos(open.reserved_nanos),
            estimate: decode_usage(open.estimate),
            estimate_cost: Nanos(open.estimate_cost_nanos),
        })
    }

    fn close(&mut self, close: CloseV1) -> Result<Record, DecodeError> {
        let objects = close.objects.map(|objects| self.objects(objects)).transpose()?;
        let upstream = close.upstream.map(|name| self.upstream(name));
        let model_served = if close.served_as_requested { &close.model_requested } else { &close.model_served };
        Ok(Record {
            objects,
            request_id: whole(close.request_id_high, close.request_id_low),
            upstream_request_id: inline(close.upstream_request_id.as_bytes()),
            started_at: UnixMs(close.started_at_ms),
            ended_at: UnixMs(close.ended_at_ms),
            principal: close.principal.map(|p| self.principal(p)),
            session: session(&close.session, &close.session_uuid),
            agent: inline(close.agent.as_bytes()),
            request_class: inline(close.request_class.as_bytes()),
            format: value(&FORMATS, close.format, "format")?,
            operation: value(&OPERATIONS, close.operation, "operation")?,
            model_requested: inline(close.model_requested.as_bytes()),
            model_served: inline(model_served.as_bytes()),
            upstream,
            status: status(close.status)?,
            outcome: value(&OUTCOMES, close.outcome, "outcome")?,
            refused_by: close.refused_by.as_deref().map(reason),
            stream: close.stream,
            request_bytes: close.request_bytes,
            response_bytes: close.response_bytes,
            usage: decode_usage(close.usage),
            usage_source: value(&SOURCES, close.usage_source, "usage source")?,
            cost: Nanos(close.cost_nanos),
            reserved: Nanos(close.reserved_nanos),
            price_version: inline(close.price_version.as_bytes()),
            attempts: self.attempts(close.attempts, upstream)?,
            ttfb_us: close.ttfb_us,
            duration_us: close.duration_us,
            gateway_us: close.gateway_us,
            request_sha256: close.request_sha256.try_into().ok(),
            usage_raw: usage_raw(close.usage_raw, &close.usage_short)?,
            response_sha256: close.response_sha256.try_into().ok(),
            body: BodyMark {
                // An absent field is a record from before, or one of which nothing is kept.
                kept: if close.body_kept == 0 { Kept::None } else { value(&KEPT, close.body_kept, "kept bodies")? },
                request_cut: close.request_cut,
                response_cut: close.response_cut,
            },
            config_version: SnapshotVersion::default(),
            turn: turn_mark(&close.duplicate_of, &close.repeated_by),
        })
    }

    fn objects(&mut self, objects: ObjectsV1) -> Result<Box<ObjectNote>, DecodeError> {
        Ok(Box::new(ObjectNote {
            ids: objects.ids.iter().take(OBJECTS_PER_ANSWER_MAX).map(|id| inline(id.as_bytes())).collect(),
            event: value(&EVENTS, objects.event, "object event")?,
            booked: objects.booked_on.map(|who| (self.principal(who), UnixMs(objects.booked_at_ms))),
        }))
    }

    fn attempts(
        &mut self,
        attempts: Vec<AttemptV1>,
        answered: Option<NameId>,
    ) -> Result<arrayvec::ArrayVec<Attempt, { crate::kernel::limits::ATTEMPTS_MAX }>, DecodeError> {
        let mut out = arrayvec::ArrayVec::new();
        for attempt in attempts {
            let upstream = answered.filter(|_| attempt.upstream.is_empty());
            let attempt = Attempt {
                upstream: upstream.unwrap_or_else(|| self.upstream(attempt.upstream)),
                status: status(attempt.status)?,
                result: value(&RESULTS, attempt.result, "attempt result")?,
                duration_us: attempt.duration_us,
                maybe_billed: attempt.maybe_billed,
            };
            out.try_push(attempt).map_err(|_| DecodeError::TooManyAttempts)?;
        }
        Ok(out)
    }

    fn upstream(&mut self, name: String) -> NameId {
        if let Some(id) = self.upstreams.get(&name) {
            return *id;
        }
        let id = self.names.name(&name);
        self.upstreams.insert(name, id);
        id
    }

    fn principal(&mut self, principal: PrincipalV1) -> PrincipalId {
        let PrincipalV1 { key, user, team, project } = principal;
        let principal = Principal { key, user, team, project };
        if let Some(id) = self.principals.get(&principal) {
            return *id;
        }
        let id = self.names.principal(&principal);
        self.principals.insert(principal, id);
        id
    }
}

fn status(number: u32) -> Result<u16, DecodeError> {
    u16::try_from(number).map_err(|_| DecodeError::UnknownValue { field: "status", number })
}

fn usage_raw(raw: Option<String>, short: &[u8]) -> Result<Option<Box<str>>, DecodeError> {
    if short.is_empty() {
        return Ok(raw.map(Into::into));
    }
    let unknown = |byte: u8| DecodeError::UnknownValue { field: "a word of usage,", number: byte.into() };
    lengthen(short).map(Some).map_err(unknown)
}

/// The static text of a reason, since records carry no owned strings.
fn reason(text: &str) -> &'static str {
    REFUSAL_REASONS.into_iter().chain([CRASH]).find(|known| *known == text).unwrap_or(OTHER_REASON)
}

fn decode_usage(usage: Option<UsageV1>) -> Usage {
    let UsageV1 { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, fast, batch, geo_us } =
        usage.unwrap_or_default();
    Usage { input, output, cache_read, cache_write_5m, cache_write_1h, web_search, fast, batch, geo_us }
}

pub(super) fn other_request(record: &Record, which: impl Fn(&TurnMark) -> Option<RequestId>) -> Vec<u8> {
    let other = record.turn.as_deref().and_then(which);
    other.map_or_else(Vec::new, |id| id.0.to_be_bytes().to_vec())
}

fn turn_mark(duplicate_of: &[u8], repeated_by: &[u8]) -> Option<Box<TurnMark>> {
    let id = |bytes: &[u8]| bytes.try_into().ok().map(|bytes| RequestId(u128::from_be_bytes(bytes)));
    let mark = TurnMark { duplicate_of: id(duplicate_of), repeated_by: id(repeated_by) };
    (mark != TurnMark::default()).then(|| Box::new(mark))
}

/// How a request that was in flight when weir died is closed: with its estimate (law 7). `last_seen` is the latest moment
/// the journal knows of, since the clock has moved on since the crash.
pub(super) fn close_orphan(open: &Open, last_seen: UnixMs) -> Record {
    let ended_at = last_seen.max(open.started_at);
    Record {
        request_id: open.request_id,
        started_at: open.started_at,
        ended_at,
        principal: Some(open.principal),
        session: open.session,
        format: open.format,
        operation: open.operation,
        model_requested: open.model_requested,
        upstream: Some(open.upstream),
        outcome: Outcome::GatewayFailed,
        refused_by: Some(CRASH),
        request_bytes: open.request_bytes,
        usage: open.estimate,
        usage_source: UsageSource::Estimated,
        cost: open.estimate_cost,
        reserved: open.reserved,
        duration_us: (ended_at.0 - open.started_at.0).saturating_mul(1000),
        ..Record::default()
    }
}
