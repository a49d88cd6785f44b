//! Changes in the chain: durable before their maker is told, in order, and of no account to money.

use super::{
    faults::{healthy, start},
    *,
};
use crate::control::changes::{Actor, Change, kinds};
use std::sync::atomic::Ordering::SeqCst;

fn change(subject: &str) -> Change {
    let by = Actor::admin(Some("127.0.0.1:9".parse().unwrap()));
    let change = Change::new(kinds::KEY_CREATE, &by, subject, UnixMs(1_763_700_000_500));
    change.before(&serde_json::json!({"a": 1})).after(&serde_json::json!({"a": 2}))
}

/// Opens a copy of the journal as it is on disk now: what a kill would leave.
fn left(directory: &Path, names: &Arc<Names>) -> (Vec<RequestId>, Replay) {
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(segment(directory, 1), segment(copy.path(), 1)).unwrap();
    read(copy.path(), names).unwrap()
}

#[test]
fn a_change_is_confirmed_before_it_is_on_disk_or_loses_a_field_on_its_way() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let opts = JournalOptions { flush_interval: Duration::from_secs(10), ..options(dir.path(), &names) };
    let (journal, _) = Journal::open(opts, |_| ()).unwrap();
    let desk = journal.changes();
    let (mut sender, receiver) = crate::link::up::door();
    let handle = journal.start(vec![receiver], super::faults::Seen::default()).unwrap();
    send(&mut sender, 1, &names);
    let (first, second) = (change("a"), change("b"));
    // Whoever makes a change does not wait for the flush interval.
    let begun = Instant::now();
    desk.record(&first).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    let (requests, replay) = left(dir.path(), &names);
    assert_eq!(replay.changes.iter().collect::<Vec<_>>(), [&first]);
    assert_eq!((requests, replay.records, replay.unknown_entries), (vec![id(1)], 1, 0));
    desk.record(&second).unwrap();
    desk.undo(&second, "it was only a test");
    handle.stop().unwrap();
    let (_, replay) = read(dir.path(), &names).unwrap();
    let undone = Change { failed: Some("it was only a test".into()), ..second };
    assert_eq!(replay.changes.iter().collect::<Vec<_>>(), [&first, &undone]);
}

#[test]
fn a_change_is_made_while_the_disk_refuses_its_entry_or_its_entry_stays_alone() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let disk = healthy();
    let (handle, _sender, _) = start(dir.path(), &names, &disk);
    let desk = handle.changes();
    disk.bytes_left.store(0, SeqCst);
    // The first one meets the trouble, the next is turned away at once.
    let late = change("late");
    assert_eq!(desk.record(&late), Err(NotRecorded::Late));
    assert!(!handle.health().is_accepting());
    let begun = Instant::now();
    assert_eq!(desk.record(&change("refused")), Err(NotRecorded::Refused));
    assert!(begun.elapsed() < CHANGE_WAIT);
    // A revocation is handed in all the same.
    let receipt = desk.submit(&change("revocation")).unwrap();
    disk.bytes_left.store(u64::MAX, SeqCst);
    receipt.wait().unwrap();
    handle.stop().unwrap();
    let (_, replay) = read(dir.path(), &names).unwrap();
    let told: Vec<_> = replay.changes.iter().map(|c| (c.subject.as_str(), c.failed.is_some())).collect();
    assert_eq!(told, [("late", true), ("revocation", false)], "what was turned away was never there");
}

#[test]
fn changes_wait_for_the_journal_without_bound() {
    let names = Arc::new(Names::default());
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = Journal::open(options(dir.path(), &names), |_| ()).unwrap();
    let desk = journal.changes();
    let taken = (0..10_000).take_while(|_| desk.submit(&change("x")).is_ok()).count();
    assert_eq!(taken, crate::control::changes::CHANGES_WAITING_MAX);
}
