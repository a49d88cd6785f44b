use super::*;
use crate::control::journal::entry::{AttemptV1, CloseV1};
use crate::kernel::ids::{RequestId, SnapshotVersion};
use crate::kernel::names::NameId;
use crate::kernel::objects::ObjectNote;
use crate::kernel::record::{Attempt, AttemptResult, BodyMark, Kept, Label, ObjectEvent, TurnMark};
use crate::observe::names::REFUSAL_REASONS;
use arrayvec::ArrayVec;
use proptest::prelude::*;
use prost::Message;

fn usage() -> impl Strategy<Value = Usage> {
    (any::<[u64; 6]>(), any::<[bool; 3]>()).prop_map(|(n, flags)| Usage {
        input: n[0],
        output: n[1],
        cache_read: n[2],
        cache_write_5m: n[3],
        cache_write_1h: n[4],
        web_search: n[5],
        fast: flags[0],
        batch: flags[1],
        geo_us: flags[2],
    })
}

fn upstream(names: &Names, seed: u64) -> NameId {
    names.name(&format!("upstream-{}", seed % 3))
}

fn attempt(names: &Names, seed: u64) -> Attempt {
    use AttemptResult::*;
    Attempt {
        upstream: upstream(names, seed),
        status: seed as u16,
        result: [Answered, Unreachable, TimedOut, Broken, Cancelled][seed as usize % 5],
        duration_us: seed,
        maybe_billed: seed.is_multiple_of(3),
    }
}

/// Nearly always a UUID, or what could be taken for one.
fn session(text: &str, n: u64) -> Label {
    let uuid = format!("{n:08x}-0d3a-4f5b-9c6d-0000000000ff");
    match n % 4 {
        0 => inline(text.as_bytes()),
        1 => inline(uuid.to_uppercase().as_bytes()),
        _ => inline(uuid.as_bytes()),
    }
}

fn record(names: &Names, texts: &[String; 8], n: &[u64; 12], usage: Usage, attempts: &[u64]) -> Record {
    use Operation::*;
    use Outcome::*;
    let [key, user, team, project, other, agent, model, version] = texts;
    let usage_json = format!(r#"{{"input_tokens":{},"note":"{}","message":{{"speed":"fast"}}}}"#, n[0], agent);
    let principal = Principal { key: key.clone(), user: user.clone(), team: team.clone(), project: project.clone() };
    Record {
        objects: n[9].is_multiple_of(2).then(|| {
            let note = ObjectNote {
                ids: [inline(agent.as_bytes())].into_iter().collect(),
                event: [ObjectEvent::Made, ObjectEvent::Settled, ObjectEvent::Gone][n[9] as usize % 3],
                booked: (!n[8].is_multiple_of(2)).then(|| (names.principal(&principal), UnixMs(n[10]))),
            };
            Box::new(note)
        }),
        request_id: RequestId((u128::from(n[0]) << 64) | u128::from(n[1])),
        upstream_request_id: inline(agent.as_bytes()),
        started_at: UnixMs(n[2]),
        ended_at: UnixMs(n[3]),
        principal: (!n[4].is_multiple_of(3)).then(|| names.principal(&principal)),
        session: session(other, n[11] % (1 << 32)),
        agent: inline(agent.as_bytes()),
        request_class: inline(user.as_bytes()),
        format: [Format::Anthropic, Format::Bedrock, Format::Vertex][n[4] as usize % 3],
        operation: [Messages, CountTokens, Models, Probe, Unknown][n[5] as usize % 5],
        model_requested: inline(model.as_bytes()),
        model_served: inline(if n[10].is_multiple_of(2) { model.as_bytes() } else { other.as_bytes() }),
        upstream: (!n[5].is_multiple_of(3)).then(|| upstream(names, n[5])),
        status: n[6] as u16,
        outcome: [Completed, ClientAborted, UpstreamFailed, Refused, GatewayFailed][n[6] as usize % 5],
        refused_by: (!n[7].is_multiple_of(2)).then(|| REFUSAL_REASONS[n[7] as usize % REFUSAL_REASONS.len()]),
        stream: !n[8].is_multiple_of(2),
        request_bytes: n[8],
        response_bytes: n[9],
        usage,
        usage_raw: match n[7] % 3 {
            0 => None,
            1 => Some(key.as_str().into()),
            _ => Some(usage_json.into()),
        },
        usage_source: [UsageSource::Reported, UsageSource::Estimated, UsageSource::None][n[9] as usize % 3],
        cost: Nanos(n[10] as i64),
        reserved: Nanos(n[11] as i64),
        price_version: inline(version.as_bytes()),
        attempts: attempts.iter().map(|seed| attempt(names, *seed)).collect::<ArrayVec<_, 4>>(),
        ttfb_us: n[2],
        duration_us: n[3],
        gateway_us: n[4],
        request_sha256: (!n[0].is_multiple_of(2)).then_some([n[1] as u8; 32]),
        response_sha256: n[1].is_multiple_of(2).then_some([n[0] as u8; 32]),
        body: BodyMark {
            kept: [Kept::None, Kept::Hashed, Kept::Stored, Kept::Dropped][n[2] as usize % 4],
            request_cut: n[3].is_multiple_of(2),
            response_cut: n[4].is_multiple_of(2),
        },
        config_version: SnapshotVersion::default(),
        turn: n[8].is_multiple_of(5).then(|| {
            let duplicate_of = (!n[9].is_multiple_of(3)).then_some(RequestId(u128::from(n[1]) << 64 | 7));
            Box::new(TurnMark { duplicate_of, repeated_by: Some(RequestId(u128::from(n[2]))) })
        }),
    }
}

proptest! {
    #[test]
    fn no_field_of_a_record_changes_on_its_way_through_the_journal(
        texts in any::<[String; 8]>(),
        numbers in any::<[u64; 12]>(),
        usage in usage(),
        attempts in proptest::collection::vec(any::<u64>(), 0..=4),
    ) {
        let names = Arc::new(Names::default());
        let record = record(&names, &texts, &numbers, usage, &attempts);
        let mut open = open_of(numbers[0], &names);
        (open.estimate, open.session, open.estimate_cost) = (usage, record.session, record.cost);
        let mut builder = GroupBuilder::new();
        let entries = [Entry::Open(open), Entry::Close(record.into())];
        for entry in &entries {
            builder.push(&crate::control::journal::codec::encode(entry, &names));
        }
        let sealed = builder.seal(&[7; 32]);
        let group = group::IntactGroup::check(&sealed.bytes).unwrap();
        prop_assert_eq!((group.previous, group.hash, group.size), ([7; 32], sealed.hash, sealed.bytes.len()));
        let mut decoder = crate::control::journal::codec::Decoder::new(names);
        for (bytes, entry) in group.entries().unwrap().into_iter().zip(&entries) {
            let Some(crate::control::journal::codec::Decoded::Entry(read)) = decoder.decode(bytes).unwrap() else { panic!() };
            prop_assert_eq!(format!("{read:?}"), format!("{entry:?}"));
        }
    }
}

proptest! {
    #[test]
    fn an_entry_encoded_straight_into_a_group_differs_from_its_message(
        texts in any::<[String; 8]>(),
        numbers in any::<[u64; 12]>(),
        usage in usage(),
        attempts in proptest::collection::vec(any::<u64>(), 0..=4),
    ) {
        let names = Arc::new(Names::default());
        let record = record(&names, &texts, &numbers, usage, &attempts);
        let mut open = open_of(numbers[0], &names);
        (open.estimate, open.session, open.principal) = (usage, record.session, record.principal.unwrap_or(open.principal));
        let mut encoder = crate::control::journal::encoder::Encoder::new(names.clone());
        let (mut straight, mut by_message) = (GroupBuilder::new(), GroupBuilder::new());
        // The second time names are known.
        for _ in 0..2 {
            straight.push_encoded(|out| encoder.open(&open, out));
            straight.push_encoded(|out| encoder.close(&record, out));
            for entry in [Entry::Open(open), Entry::Close(record.clone().into())] {
                by_message.push(&crate::control::journal::codec::encode(&entry, &names));
            }
        }
        prop_assert_eq!(straight.seal(&[7; 32]).bytes, by_message.seal(&[7; 32]).bytes);
    }
}

#[test]
fn entries_of_some_length_differ_from_their_message() {
    let names = Arc::new(Names::default());
    let mut encoder = crate::control::journal::encoder::Encoder::new(names.clone());
    for length in (0..200).chain(16_200..16_400) {
        let record = Record { usage_raw: Some("x".repeat(length).into()), ..Record::default() };
        let (mut straight, mut by_message) = (GroupBuilder::new(), GroupBuilder::new());
        straight.push_encoded(|out| encoder.close(&record, out));
        by_message.push(&crate::control::journal::codec::encode(&Entry::Close(record.into()), &names));
        assert!(straight.seal(&[7; 32]).bytes == by_message.seal(&[7; 32]).bytes, "{length}");
    }
}

/// The message as it was before anything in it was written shorter.
fn as_before(close: CloseV1, record: &Record, names: &Names) -> CloseV1 {
    let named = |attempt: &Attempt| names.name_of(attempt.upstream).as_ref().into();
    let attempts = close.attempts.into_iter().zip(&record.attempts);
    CloseV1 {
        session: record.session.as_str().into(),
        session_uuid: Vec::new(),
        model_served: record.model_served.as_str().into(),
        served_as_requested: false,
        usage_raw: record.usage_raw.as_deref().map(Into::into),
        usage_short: Vec::new(),
        attempts: attempts.map(|(sent, attempt)| AttemptV1 { upstream: named(attempt), ..sent }).collect(),
        ..close
    }
}

proptest! {
    #[test]
    fn an_entry_from_before_anything_was_shortened_reads_differently_or_is_shorter(
        texts in any::<[String; 8]>(),
        numbers in any::<[u64; 12]>(),
        usage in usage(),
        attempts in proptest::collection::vec(any::<u64>(), 0..=4),
    ) {
        let names = Arc::new(Names::default());
        let record = record(&names, &texts, &numbers, usage, &attempts);
        let now = crate::control::journal::codec::encode_close(&record, &names);
        let before = as_before(now.clone(), &record, &names).encode_to_vec();
        prop_assert!(now.encoded_len() <= before.len());
        let read = crate::control::journal::records_of([before.as_slice()].into_iter(), &names).unwrap();
        prop_assert_eq!(format!("{:?}", read[0]), format!("{record:?}"));
    }
}

#[test]
fn an_entry_of_a_later_version_is_counted_or_refused_but_never_misread() {
    let names = Arc::new(Names::default());
    let mut decoder = crate::control::journal::codec::Decoder::new(names.clone());
    // Field 9 of the entry, length-delimited: a kind this version does not know.
    assert!(decoder.decode(&[0x4a, 1, 0xff]).unwrap().is_none());
    let entry = crate::control::journal::codec::encode(&Entry::Close(record_of(1, &names).into()), &names);
    let Some(entry::KindV1::Close(mut close)) = entry.kind else { panic!() };
    close.outcome = 99;
    let later = entry::EntryV1 { kind: Some(entry::KindV1::Close(close)) };
    let error = decoder.decode(&prost::Message::encode_to_vec(&later)).unwrap_err();
    assert!(error.to_string().contains("outcome number 99"), "{error}");
}

#[test]
fn the_bytes_on_disk_are_those_of_format_version_1() {
    let header = group::SegmentHeader { segment: 5, created_at_ms: 9, previous: [0xab; 32] }.encode();
    assert_eq!(&header[..12], b"WEIRJRNL\x01\0\0\0");
    assert_eq!((header[12], header[16], header[24], header[32], header[63], header[64]), (96, 5, 9, 0xab, 0xab, 0));
    assert!(group::SegmentHeader::decode(&header).is_ok());
    let names = Names::default();
    let mut builder = GroupBuilder::new();
    let record = Record { request_id: RequestId(1), ..Record::default() };
    builder.push(&crate::control::journal::codec::encode(&Entry::Close(record.into()), &names));
    let group = builder.seal(&[0; 32]).bytes;
    let hex: String = group.iter().map(|b| format!("{b:02x}")).collect();
    // Written by hand: kind 2 of 19 bytes; id 0 and 1, format 1, operation 5, outcome 5, source 3.
    let entry = concat!("15000000", "1213", "110100000000000000", "5001", "5805", "800105", "b00103");
    assert!(hex.starts_with("57475250"), "{hex}");
    assert_eq!(&hex[2 * 44..hex.len() - 64], entry);
    assert_eq!(&hex[8..24], "5d00000001000000");
}
