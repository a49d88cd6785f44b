use super::*;
use crate::{
    control::{
        journal::tests::id,
        ledger::{RecordFilter, RecordView},
    },
    kernel::{
        keys::Principal,
        record::{Outcome, inline},
    },
    observe::names::REFUSAL_REASONS,
};
use std::ops::ControlFlow;

type Pairs = &'static [(&'static str, &'static str)];

fn filter(pairs: &[(&str, &str)]) -> RecordFilter {
    RecordFilter::parse(&pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect::<Vec<_>>()).unwrap()
}

fn ask(store: &Store, pairs: &[(&str, &str)], newest: Option<usize>) -> (Found, Vec<RecordView>) {
    let mut views = Vec::new();
    let mut show = |view| {
        views.push(view);
        ControlFlow::Continue(())
    };
    let found = query(store.path(), &filter(pairs), newest, &mut show, &mut |_| ()).unwrap();
    (found, views)
}

/// The numbers of the records found, which are their input tokens.
fn numbers(store: &Store, pairs: &[(&str, &str)]) -> Vec<u64> {
    ask(store, pairs, None).1.iter().map(|view| view.usage.input).collect()
}

/// Ten records, a day between them: odd ones by bob of team b, each third refused, each fourth by another model.
fn store() -> Store {
    let store = Store::new();
    let records = (0..10).map(|n| {
        let mut record = record_of(n, &store.names);
        record.started_at.0 += n * 86_400_000;
        record.ended_at.0 += n * 86_400_000;
        let (user, team, project, key) = [("ann", "a", "x", "ka"), ("bob", "b", "y", "kb")][(n % 2) as usize];
        let principal = Principal { key: key.into(), user: user.into(), team: team.into(), project: project.into() };
        record.principal = Some(store.names.principal(&principal));
        record.session = inline(format!("session-{}", n % 5).as_bytes());
        if n % 3 == 0 {
            (record.status, record.outcome, record.refused_by) = (403, Outcome::Refused, Some(REFUSAL_REASONS[0]));
        }
        if n % 4 == 0 {
            record.model_served = inline(b"claude-haiku-5-5");
        }
        record
    });
    let records: Vec<Record> = records.collect();
    store.add_records(records);
    store
}

#[test]
fn a_filter_lets_a_wrong_record_through_or_keeps_a_right_one() {
    let store = store();
    let cases: [(Pairs, &[u64]); 13] = [
        (&[], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (&[("user", "bob")], &[1, 3, 5, 7, 9]),
        (&[("team", "a")], &[0, 2, 4, 6, 8]),
        (&[("project", "y"), ("session", "session-1")], &[1]),
        (&[("key", "ka"), ("outcome", "refused")], &[0, 6]),
        (&[("status", "403")], &[0, 3, 6, 9]),
        (&[("status", "200"), ("user", "ann")], &[2, 4, 8]),
        (&[("model", "claude-haiku-5-5")], &[0, 4, 8]),
        (&[("model", "claude-sonnet-4-6")], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (&[("since", "2025-11-26")], &[5, 6, 7, 8, 9]),
        (&[("until", "2025-11-23")], &[0, 1]),
        (&[("since", "2025-11-23"), ("until", "2025-11-25T00:00:00Z")], &[2, 3]),
        (&[("user", "nobody")], &[]),
    ];
    for (pairs, expected) in cases {
        assert_eq!(numbers(&store, pairs), expected, "{pairs:?}");
    }
    assert_eq!(numbers(&store, &[("request_id", &id(7).to_string())]), [7]);
}

#[test]
fn a_limit_gives_the_oldest_or_the_wrong_count() {
    let store = store();
    let (found, views) = ask(&store, &[("team", "b")], Some(2));
    assert_eq!((found.matched, found.shown), (5, 2));
    assert_eq!(views.iter().map(|v| v.usage.input).collect::<Vec<_>>(), [7, 9]);
    assert_eq!(views[1].request_id, id(9).to_string());
    assert_eq!((views[1].refused_by, views[1].user.as_deref()), (Some(REFUSAL_REASONS[0]), Some("bob")));
}

#[test]
fn a_request_closed_twice_is_found_twice_or_as_it_was_closed_last() {
    let store = Store::with(1..=5);
    let mut again = record_of(2, &store.names);
    again.status = 500;
    store.add_records([again]);
    store.add([6]);
    assert_eq!(numbers(&store, &[]), [1, 2, 3, 4, 5, 6]);
    assert_eq!(numbers(&store, &[("status", "500")]), [0_u64; 0]);
}

#[test]
fn a_segment_is_left_out_that_holds_what_is_asked_for() {
    let store = store();
    let since = |pairs: &[(&str, &str)]| numbers(&store, pairs);
    // The first segment's header carries today's date, later ones their records': the clock went back, nothing is left out.
    let day = |n: u64| UnixMs(BEGAN + n * 86_400_000);
    assert_eq!(scan::first_segment_for(store.path(), day(9)).unwrap(), None);
    assert_eq!(since(&[("since", "2025-11-29")]), [8, 9]);
    fs::remove_file(store.segment(1)).unwrap();
    let first = scan::first_segment_for(store.path(), day(8)).unwrap().unwrap();
    assert!(first > 2 && first < store.last_segment(), "{first}");
    assert_eq!(since(&[("since", "2025-11-29")]), [8, 9]);
    // Damage in what is left out is not met.
    fs::write(store.segment(2), b"").unwrap();
    assert_eq!(since(&[("since", "2025-11-29")]), [8, 9]);
    assert_eq!(scan::first_segment_for(store.path(), UnixMs(0)).unwrap(), None);
}

#[test]
fn damage_ends_a_query_without_a_word() {
    let store = store();
    let mut bytes = fs::read(store.segment(2)).unwrap();
    bytes[200] ^= 1;
    fs::write(store.segment(2), bytes).unwrap();
    let mut shown = 0;
    let mut show = |_| {
        shown += 1;
        ControlFlow::Continue(())
    };
    let error = query(store.path(), &filter(&[]), None, &mut show, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("journal-0000000002.wal") && shown > 0, "{error}");
}
