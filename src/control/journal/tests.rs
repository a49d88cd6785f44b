//! What must never happen to a journal, one test each.

mod chain;
mod changes;
mod codec;
mod crash;
mod faults;
mod retention;

use super::{group::GroupBuilder, *};
use crate::{
    kernel::{
        ids::{RequestId, ShardId},
        keys::Principal,
        money::Nanos,
        names::Names,
        record::{Entry, Format, Open, Operation, Outcome, Record, inline},
        time::UnixMs,
        usage::{Usage, UsageSource},
    },
    link::up::UpSender,
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

pub(in crate::control) fn id(n: u64) -> RequestId {
    RequestId::new(1_763_700_000_000 + n, ShardId(0), n)
}

pub(in crate::control) fn open_of(n: u64, names: &Names) -> Open {
    Open {
        request_id: id(n),
        started_at: UnixMs(1_763_700_000_000 + n),
        principal: names.principal(&Principal { key: "k1".into(), team: "platform".into(), ..Principal::default() }),
        session: inline(b"session-1"),
        format: Format::Anthropic,
        operation: Operation::Messages,
        model_requested: inline(b"claude-sonnet-4-6"),
        upstream: names.name("main"),
        request_bytes: 1000,
        reserved: Nanos(900),
        estimate: Usage { input: 250, output: 10, ..Usage::default() },
        estimate_cost: Nanos(777),
    }
}

pub(in crate::control) fn record_of(n: u64, names: &Names) -> Record {
    let open = open_of(n, names);
    Record {
        request_id: open.request_id,
        started_at: open.started_at,
        ended_at: UnixMs(open.started_at.0 + 1500),
        principal: Some(open.principal),
        session: open.session,
        model_requested: open.model_requested,
        model_served: open.model_requested,
        operation: Operation::Messages,
        upstream: Some(open.upstream),
        status: 200,
        outcome: Outcome::Completed,
        usage: Usage { input: n, output: 2 * n, ..Usage::default() },
        usage_source: UsageSource::Reported,
        cost: Nanos(n as i64),
        ..Record::default()
    }
}

pub(in crate::control) fn options(directory: &Path, names: &Arc<Names>) -> JournalOptions {
    JournalOptions { flush_interval: Duration::from_millis(2), ..JournalOptions::new(directory, names.clone()) }
}

fn append(journal: &mut Journal, entries: &[Entry]) {
    append_at(journal, entries, UnixMs(1));
}

/// Writes one group of these entries; a segment that begins with it is said to be of this time.
pub(in crate::control) fn append_at(journal: &mut Journal, entries: &[Entry], now: UnixMs) {
    let newest = entries.iter().map(|entry| match entry {
        Entry::Open(open) => open.started_at,
        Entry::Close(record) => record.ended_at,
    });
    let newest = newest.max().unwrap_or_default();
    let mut builder = GroupBuilder::new();
    for entry in entries {
        builder.push(&codec_of(entry, journal));
    }
    let group = journal.appender.seal(builder);
    journal.appender.append(&group, now).unwrap();
    journal.retention.wrote(journal.appender.segment(), newest);
    journal.last_seen = journal.last_seen.max(newest);
}

/// Drops every segment that may be dropped, however young.
pub(in crate::control) fn drop_aged(journal: &mut Journal, before: Arc<std::sync::atomic::AtomicU64>) -> Vec<u64> {
    let ages = journal.retention.ages();
    let mut retention = super::retention::Retention::new(Some(Duration::ZERO), ages).only_before(Some(before));
    retention.apply(&mut journal.appender, UnixMs(u64::MAX), Instant::now())
}

/// Where the journal stands, after these entries since it was opened.
pub(in crate::control) fn state_after<'a>(
    journal: &Journal,
    entries: impl IntoIterator<Item = &'a Entry>,
) -> JournalState {
    let mut in_flight = super::state::InFlight::default();
    entries.into_iter().for_each(|entry| match entry {
        Entry::Open(open) => in_flight.open(*open, true),
        Entry::Close(record) => in_flight.close(record.request_id),
    });
    journal.state(&in_flight)
}

/// A whole group of one entry that a later version wrote, behind the group with this hash.
pub(in crate::control) fn later_group(record: &Record, names: &Names, previous: &Hash) -> Vec<u8> {
    let entry = super::codec::encode(&Entry::Close(record.clone().into()), names);
    let Some(entry::KindV1::Close(mut close)) = entry.kind else { panic!() };
    close.outcome = 99;
    let mut builder = GroupBuilder::new();
    builder.push(&entry::EntryV1 { kind: Some(entry::KindV1::Close(close)) });
    builder.seal(previous).bytes
}

/// A whole group that closes one request, behind the group with this hash.
pub(in crate::control) fn group_of(record: &Record, names: &Names, previous: &Hash) -> Vec<u8> {
    let mut builder = GroupBuilder::new();
    builder.push(&super::codec::encode(&Entry::Close(record.clone().into()), names));
    builder.seal(previous).bytes
}

fn codec_of(entry: &Entry, journal: &Journal) -> entry::EntryV1 {
    super::codec::encode(entry, &journal.options.names)
}

/// Writes one group for each of these record numbers.
fn write(directory: &Path, names: &Arc<Names>, numbers: impl IntoIterator<Item = u64>) {
    let (mut journal, _) = Journal::open(options(directory, names), |_| ()).unwrap();
    for n in numbers {
        append(&mut journal, &[Entry::Open(open_of(n, names)), Entry::Close(record_of(n, names).into())]);
    }
}

/// Opens the journal and closes it again: the ids seen, and what replay says.
fn read(directory: &Path, names: &Arc<Names>) -> Result<(Vec<RequestId>, Replay), JournalError> {
    let mut seen = Vec::new();
    let (_journal, replay) = Journal::open(options(directory, names), |record| seen.push(record.request_id))?;
    Ok((seen, replay))
}

pub(in crate::control) fn segment(directory: &Path, number: u64) -> std::path::PathBuf {
    super::storage::segment_path(directory, number)
}

pub(in crate::control) fn send(sender: &mut UpSender, n: u64, names: &Names) {
    let mut ticket = sender.ticket().unwrap();
    assert!(sender.open(&mut ticket, open_of(n, names)));
    sender.close(ticket, record_of(n, names).into());
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        std::thread::yield_now();
    }
}
