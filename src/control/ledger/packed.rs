//! Records in little memory: what every record has stands in a row of fixed size, its texts one behind the other with their
//! lengths in the row, and what hardly any has apart. Records of a page share its memory, so keeping one more costs some copies
//! and no allocation of its own. `Record` itself gives each text the room of the longest.

use crate::kernel::{
    ids::{PrincipalId, RequestId, SnapshotVersion},
    money::Nanos,
    names::NameId,
    objects::ObjectNote,
    record::{Attempt, BodyMark, Format, Label, ModelLabel, Operation, Outcome, Record, TurnMark, inline},
    time::UnixMs,
    usage::{Usage, UsageSource},
};

/// Records of a page. A page that goes should leave memory that the next one can have: pages of 256 records took blocks of 128 or
/// 256 KiB, as the clients' names happened to be long, half of them room that nobody needed.
pub(super) const PAGE_RECORDS: usize = 64;
/// Labels and model names of a record, and its price version: texts that are there, if only empty.
const TEXTS: usize = 7;

/// Some records in the order they came.
#[derive(Clone, Default)]
pub(super) struct Page {
    rows: Vec<Row>,
    texts: String,
    rest: Vec<(usize, Rest)>,
}

/// What every record has.
#[derive(Clone, Copy)]
struct Row {
    request_id: RequestId,
    started_at: UnixMs,
    ended_at: UnixMs,
    principal: Option<PrincipalId>,
    format: Format,
    operation: Operation,
    upstream: Option<NameId>,
    status: u16,
    outcome: Outcome,
    refused_by: Option<&'static str>,
    stream: bool,
    request_bytes: u64,
    response_bytes: u64,
    usage: Usage,
    usage_source: UsageSource,
    cost: Nanos,
    reserved: Nanos,
    /// The first.
    attempt: Option<Attempt>,
    ttfb_us: u64,
    duration_us: u64,
    gateway_us: u64,
    body: BodyMark,
    config_version: SnapshotVersion,
    /// Where its texts begin.
    texts_at: usize,
    lengths: [u8; TEXTS],
    /// Bytes of `usage_raw`, which stands behind the other texts.
    usage_raw: Option<u32>,
}

// A text's length fits in a byte.
const _: () = assert!(size_of::<ModelLabel>() <= u8::MAX as usize && size_of::<Label>() <= u8::MAX as usize);

/// What hardly any record has.
#[derive(Clone)]
struct Rest {
    /// From the second on.
    attempts: Box<[Attempt]>,
    request_sha256: Option<[u8; 32]>,
    response_sha256: Option<[u8; 32]>,
    turn: Option<Box<TurnMark>>,
    objects: Option<Box<ObjectNote>>,
}

impl Page {
    /// A page with room for rows and for a little more text than this one has.
    pub fn like(&self) -> Self {
        let texts = String::with_capacity(self.texts.len() + self.texts.len() / 8);
        Self { rows: Vec::with_capacity(PAGE_RECORDS), texts, rest: Vec::new() }
    }

    /// Nothing more comes: gives back the room that was left for it.
    pub fn close(&mut self) {
        self.texts.shrink_to_fit();
        self.rest.shrink_to_fit();
    }

    /// Records in it.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Memory in use, roughly. Bytes.
    pub fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.texts.len() + self.rest.len() * size_of::<Rest>()
    }

    /// Takes a record down.
    pub fn push(&mut self, record: &Record) {
        let texts_at = self.texts.len();
        let lengths = texts(record).map(|text| {
            self.texts.push_str(text);
            text.len() as u8
        });
        let usage_raw = record.usage_raw.as_deref().map(|raw| {
            self.texts.push_str(raw);
            raw.len() as u32
        });
        if let Some(rest) = Rest::of(record) {
            self.rest.push((self.rows.len(), rest));
        }
        self.rows.push(Row {
            request_id: record.request_id,
            started_at: record.started_at,
            ended_at: record.ended_at,
            principal: record.principal,
            format: record.format,
            operation: record.operation,
            upstream: record.upstream,
            status: record.status,
            outcome: record.outcome,
            refused_by: record.refused_by,
            stream: record.stream,
            request_bytes: record.request_bytes,
            response_bytes: record.response_bytes,
            usage: record.usage,
            usage_source: record.usage_source,
            cost: record.cost,
            reserved: record.reserved,
            attempt: record.attempts.first().copied(),
            ttfb_us: record.ttfb_us,
            duration_us: record.duration_us,
            gateway_us: record.gateway_us,
            body: record.body,
            config_version: record.config_version,
            texts_at,
            lengths,
            usage_raw,
        });
    }

    /// The record at a place, as it was.
    pub fn get(&self, place: usize) -> Option<Record> {
        let row = self.rows.get(place)?;
        let mut texts = self.texts.get(row.texts_at..)?;
        let mut next = |bytes: usize| {
            let (text, behind) = texts.split_at_checked(bytes).unwrap_or_default();
            texts = behind;
            text
        };
        let [upstream_request_id, session, agent, request_class, requested, served, price_version] =
            row.lengths.map(|bytes| next(bytes.into()));
        let usage_raw = row.usage_raw.map(|bytes| next(bytes as usize).into());
        let rest = self.rest.binary_search_by_key(&place, |(place, _)| *place).ok();
        let mut record = Record {
            request_id: row.request_id,
            upstream_request_id: inline(upstream_request_id.as_bytes()),
            started_at: row.started_at,
            ended_at: row.ended_at,
            principal: row.principal,
            session: inline(session.as_bytes()),
            agent: inline(agent.as_bytes()),
            request_class: inline(request_class.as_bytes()),
            format: row.format,
            operation: row.operation,
            model_requested: inline(requested.as_bytes()),
            model_served: inline(served.as_bytes()),
            upstream: row.upstream,
            status: row.status,
            outcome: row.outcome,
            refused_by: row.refused_by,
            stream: row.stream,
            request_bytes: row.request_bytes,
            response_bytes: row.response_bytes,
            usage: row.usage,
            usage_source: row.usage_source,
            usage_raw,
            cost: row.cost,
            reserved: row.reserved,
            price_version: inline(price_version.as_bytes()),
            attempts: row.attempt.into_iter().collect(),
            ttfb_us: row.ttfb_us,
            duration_us: row.duration_us,
            gateway_us: row.gateway_us,
            body: row.body,
            config_version: row.config_version,
            ..Record::default()
        };
        if let Some((_, rest)) = rest.and_then(|at| self.rest.get(at)) {
            rest.clone().restore(&mut record);
        }
        Some(record)
    }
}

fn texts(record: &Record) -> [&str; TEXTS] {
    [
        &record.upstream_request_id,
        &record.session,
        &record.agent,
        &record.request_class,
        &record.model_requested,
        &record.model_served,
        &record.price_version,
    ]
}

impl Rest {
    fn of(record: &Record) -> Option<Self> {
        let attempts = record.attempts.get(1..).unwrap_or_default();
        let (request_sha256, response_sha256) = (record.request_sha256, record.response_sha256);
        let hashed = request_sha256.is_some() || response_sha256.is_some();
        let rare = !attempts.is_empty() || hashed || record.turn.is_some() || record.objects.is_some();
        rare.then(|| Self {
            attempts: attempts.into(),
            request_sha256,
            response_sha256,
            turn: record.turn.clone(),
            objects: record.objects.clone(),
        })
    }

    fn restore(self, record: &mut Record) {
        let Self { attempts, request_sha256, response_sha256, turn, objects } = self;
        record.attempts.extend(attempts);
        (record.request_sha256, record.response_sha256) = (request_sha256, response_sha256);
        (record.turn, record.objects) = (turn, objects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::record::{AttemptResult, Kept, ObjectEvent};
    use proptest::prelude::*;

    fn attempt(status: u16) -> Attempt {
        let (upstream, result) = (NameId(status.into()), AttemptResult::Broken);
        Attempt { upstream, status, result, duration_us: 7, maybe_billed: status.is_multiple_of(2) }
    }

    /// A record with something in every field that may have something in it.
    fn record(n: u64, texts: &[String], attempts: u16, rare: u8) -> Record {
        let text = |at: usize| texts[at].as_bytes();
        let has = |bit: u8| rare & (1 << bit) != 0;
        let mark = TurnMark { duplicate_of: Some(RequestId(3)), repeated_by: None };
        Record {
            request_id: RequestId(u128::from(n) << 70 | 5),
            upstream_request_id: inline(text(0)),
            started_at: UnixMs(n),
            ended_at: UnixMs(n + 1),
            principal: has(0).then_some(PrincipalId(4)),
            session: inline(text(1)),
            agent: inline(text(2)),
            request_class: inline(text(3)),
            format: Format::Vertex,
            operation: Operation::BatchList,
            model_requested: inline(text(4)),
            model_served: inline(text(5)),
            upstream: has(1).then_some(NameId(9)),
            status: 429,
            outcome: Outcome::Refused,
            refused_by: has(2).then_some("budget"),
            stream: has(3),
            request_bytes: n + 2,
            response_bytes: n + 3,
            usage: Usage { input: n, output: 2, cache_read: 3, fast: has(0), geo_us: has(1), ..Usage::default() },
            usage_source: UsageSource::Estimated,
            usage_raw: has(4).then(|| texts[7].as_str().into()),
            cost: Nanos(-5),
            reserved: Nanos(n as i64),
            price_version: inline(text(6)),
            attempts: (0..attempts).map(attempt).collect(),
            ttfb_us: n + 4,
            duration_us: n + 5,
            gateway_us: n + 6,
            request_sha256: has(5).then_some([8; 32]),
            response_sha256: has(6).then_some([9; 32]),
            body: BodyMark { kept: Kept::Stored, request_cut: has(5), response_cut: has(6) },
            config_version: SnapshotVersion(n),
            turn: has(7).then(|| Box::new(mark)),
            objects: has(6).then(|| ObjectNote::one(inline(text(0)), ObjectEvent::Gone)),
        }
    }

    proptest! {
        #[test]
        fn a_packed_record_is_another_one(
            made in proptest::collection::vec(
                (any::<u32>(), proptest::collection::vec("\\PC{0,70}", 8), 0..=3u16, any::<u8>()),
                0..12,
            ),
        ) {
            let records: Vec<Record> =
                made.iter().map(|(n, texts, attempts, rare)| record((*n).into(), texts, *attempts, *rare)).collect();
            let mut page = Page::default();
            records.iter().for_each(|record| page.push(record));
            for (place, record) in records.iter().enumerate() {
                // Says every field, and has no equality of its own.
                prop_assert_eq!(format!("{:?}", page.get(place)), format!("{:?}", Some(record)));
            }
            prop_assert!(page.get(records.len()).is_none());
            prop_assert_eq!(page.len(), records.len());
        }
    }

    #[test]
    fn a_full_page_keeps_room_that_nobody_needs() {
        let texts: Vec<String> = (0..8).map(|_| "0123456789".to_owned()).collect();
        let filled = |mut page: Page| {
            (0..PAGE_RECORDS as u64).for_each(|n| page.push(&record(n, &texts, 3, 0b1111_1111)));
            page.close();
            page
        };
        let first = filled(Page::default());
        let second = filled(first.like());
        for page in [&first, &second] {
            assert_eq!((page.texts.capacity(), page.rest.capacity()), (page.texts.len(), page.rest.len()));
            assert_eq!(page.len(), PAGE_RECORDS);
        }
        assert_eq!(second.rows.capacity(), PAGE_RECORDS, "rows are made room for once");
        assert_eq!(format!("{:?}", first.get(7)), format!("{:?}", second.get(7)));
    }

    #[test]
    fn a_packed_record_takes_as_much_as_a_whole_one() {
        let mut page = Page::default();
        let texts: Vec<String> = (0..8).map(|_| "0123456789".to_owned()).collect();
        (0..100).for_each(|n| page.push(&record(n, &texts, 1, 0b1_1111)));
        assert!(page.bytes() / 100 < 400, "{}", page.bytes() / 100);
        assert!(size_of::<Row>() <= 288, "{}", size_of::<Row>());
    }
}
