use super::*;
use crate::kernel::{keys::Principal, record::inline, usage::UsageSource};
use proptest::prelude::*;

/// What happens to a request.
#[derive(Clone, Debug)]
struct Event {
    request: u64,
    what: u8,
    session: u8,
    minutes: u64,
    cost: i64,
    tokens: u64,
}

fn events() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let event = (0_u64..40, 0_u8..7, 0_u8..5, 0_u64..100_000, 0_i64..1_000_000, 0_u64..300_000).prop_map(
        |(request, what, session, minutes, cost, tokens)| Event { request, what, session, minutes, cost, tokens },
    );
    proptest::collection::vec(proptest::collection::vec(event, 1..6), 1..30)
}

fn closed(event: &Event, names: &Names) -> Record {
    let mut record = record_of(event.request, names);
    let began = 1_763_700_000_000 + event.minutes * 60_000;
    (record.started_at, record.ended_at, record.cost) =
        (UnixMs(began), UnixMs(began + event.tokens), Nanos(event.cost));
    record.session = inline(format!("session-{}", event.session).as_bytes());
    record.usage = Usage { input: event.tokens, fast: event.cost % 2 == 0, batch: event.cost % 3 == 0, ..record.usage };
    match event.what {
        4 => (record.outcome, record.usage, record.cost) = (Outcome::Refused, Usage::default(), Nanos::ZERO),
        5 => (record.principal, record.upstream, record.usage_source) = (None, None, UsageSource::Estimated),
        6 => {
            let principal = Principal { user: format!("user-{}", event.session), ..Principal::default() };
            record.principal = Some(names.principal(&principal));
        }
        _ => {}
    }
    record
}

fn entries(events: &[Event], names: &Names) -> Vec<Entry> {
    let entry = |event: &Event| match event.what {
        0 | 1 => Entry::Open(open_of(event.request, names)),
        _ => Entry::Close(closed(event, names).into()),
    };
    events.iter().map(entry).collect()
}

/// In the order a gateway writes them: a request is opened, if at all, before it is closed for the first time. That it is closed
/// twice never happens; if it did, it would count once.
fn ordered(groups: Vec<Vec<Event>>) -> Vec<Vec<Event>> {
    let mut closed = std::collections::HashSet::new();
    let mut keep = |event: &Event| match event.what {
        0 | 1 => !closed.contains(&event.request),
        _ => {
            closed.insert(event.request);
            true
        }
    };
    let kept = groups.into_iter().map(|group| group.into_iter().filter(&mut keep).collect::<Vec<_>>());
    kept.filter(|group| !group.is_empty()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_snapshot_and_the_tail_say_something_else_than_the_whole_journal(
        groups in events(),
        cut in 0_usize..31,
        small in any::<bool>(),
        segment_bytes_max in 300_u64..4000,
    ) {
        let cells_max = if small { 12 } else { 1000 };
        let mut running = Running::new(segment_bytes_max, cells_max);
        let groups = ordered(groups);
        let mut behind = 0;
        if cut == 0 {
            running.snapshot();
        }
        for (n, group) in groups.iter().enumerate() {
            let entries = entries(group, &running.names);
            running.group(&entries);
            if n + 1 == cut {
                running.snapshot();
            } else if n + 1 > cut {
                behind += entries.len() as u64;
            }
        }
        let in_flight = running.state().encode(&running.names);
        let whole = running.end();
        let tail = copy(whole.path());
        let (by_all, _) = start(whole.path(), false, cells_max);
        let (by_tail, replayed) = start(tail.path(), true, cells_max);
        prop_assert_eq!(by_all, by_tail);
        if cut <= groups.len() {
            // Only the tail was read; requests in flight at the cut are closed now.
            let open = JournalState::decode(&in_flight, &Arc::new(Names::default())).is_ok();
            prop_assert!(open && replayed <= behind + 40);
        }
        // And a second start, after the orphans were closed on disk, says it again.
        prop_assert_eq!(start(whole.path(), false, cells_max).0, start(tail.path(), true, cells_max).0);
    }
}

#[test]
fn only_the_tail_is_replayed() {
    let mut running = Running::new(2000, 1000);
    for n in 1..=50 {
        running.group(&[Entry::Open(open_of(n, &running.names)), Entry::Close(record_of(n, &running.names).into())]);
        if n == 47 {
            running.group(&[Entry::Open(open_of(100, &running.names))]);
            running.snapshot();
        }
    }
    let directory = running.end();
    let copy = copy(directory.path());
    let (by_tail, replayed) = start(directory.path(), true, 1000);
    assert_eq!(replayed, 4, "three closed behind the snapshot, and one that was in flight there");
    let (by_all, replayed) = start(copy.path(), false, 1000);
    assert_eq!((by_tail, replayed), (by_all, 51));
}
