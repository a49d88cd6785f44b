use super::*;
use crate::link::up::door;
use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

const CHILD_STORE: &str = "WEIR_TEST_CRASH_STORE";
const CHILD_FIRST: &str = "WEIR_TEST_CRASH_FIRST";
/// Requests a child may have in flight.
const IN_FLIGHT_MAX: u64 = 40;

/// Tells the parent what has been flushed.
struct Telling(Arc<AtomicU64>);

impl Sink for Telling {
    fn flushed(&mut self, closes: &[Box<Record>], _as_of: UnixMs) {
        let lines: String = closes.iter().map(|r| format!("\nflushed {}\n", r.request_id)).collect();
        std::io::stdout().write_all(lines.as_bytes()).unwrap();
        self.0.fetch_add(closes.len() as u64, SeqCst);
    }
}

/// Sends requests until it is killed. Every hundredth stays in flight.
fn child(store: &str) -> ! {
    let first: u64 = std::env::var(CHILD_FIRST).unwrap().parse().unwrap();
    let names = Arc::new(Names::default());
    let opts = JournalOptions { segment_bytes_max: 4096, ..options(Path::new(store), &names) };
    let (journal, _) = Journal::open(opts, |_| ()).unwrap();
    let (mut sender, receiver) = door();
    let flushed = Arc::new(AtomicU64::new(0));
    let _journal = journal.start(vec![receiver], Telling(flushed.clone())).unwrap();
    let (mut n, mut closed, mut in_flight) = (first, 0, Vec::new());
    loop {
        until("the journal catches up", || closed - flushed.load(SeqCst) < IN_FLIGHT_MAX);
        if n % 100 == 0 {
            let mut ticket = sender.ticket().unwrap();
            assert!(sender.open(&mut ticket, open_of(n, &names)));
            in_flight.push(ticket);
        } else {
            send(&mut sender, n, &names);
            closed += 1;
        }
        n += 1;
    }
}

/// Counts what has been flushed.
struct Counting(Arc<AtomicU64>);

impl Sink for Counting {
    fn flushed(&mut self, closes: &[Box<Record>], _as_of: UnixMs) {
        self.0.fetch_add(closes.len() as u64, SeqCst);
    }
}

#[test]
fn a_note_is_lost_whose_request_outlives_its_flush_or_kept_beside_its_own_close() {
    let (dir, names) = (tempfile::tempdir().unwrap(), Arc::new(Names::default()));
    let (journal, _) = Journal::open(options(dir.path(), &names), |_| ()).unwrap();
    let (mut sender, receiver) = door();
    // All in the ring before the journal first looks: request 1 is opened and closed within one group, request 2 stays open.
    send(&mut sender, 1, &names);
    let mut open = sender.ticket().unwrap();
    assert!(sender.open(&mut open, open_of(2, &names)));
    let flushed = Arc::new(AtomicU64::new(0));
    let handle = journal.start(vec![receiver], Counting(flushed.clone())).unwrap();
    until("the first is flushed", || flushed.load(SeqCst) == 1);
    let entries = || {
        let bytes = std::fs::read(segment(dir.path(), 1)).unwrap();
        let group = group::IntactGroup::check(&bytes[group::HEADER_BYTES..]).unwrap();
        group.entries().unwrap().len()
    };
    assert_eq!(entries(), 2, "a close and a note");
    let replay = super::super::read(dir.path(), names.clone(), |_| ()).unwrap();
    assert_eq!((replay.records, replay.orphans.len()), (1, 1));
    sender.close(open, record_of(2, &names).into());
    until("the second is flushed", || flushed.load(SeqCst) == 2);
    handle.stop().unwrap();
    let (seen, replay) = read(dir.path(), &names).unwrap();
    assert_eq!((seen.len(), replay.orphans.len()), (2, 0));
}

#[test]
fn a_killed_process_keeps_every_record_it_said_was_flushed_and_none_twice() {
    if let Ok(store) = std::env::var(CHILD_STORE) {
        child(&store);
    }
    let dir = tempfile::tempdir().unwrap();
    let names = Arc::new(Names::default());
    let mut told = HashSet::new();
    let this = "a_killed_process_keeps_every_record_it_said_was_flushed_and_none_twice";
    let name = format!("{}::{this}", module_path!().split_once("::").unwrap().1);
    for round in 1..=3_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([&name, "--exact", "--nocapture"])
            .env(CHILD_STORE, dir.path())
            .env(CHILD_FIRST, (round * 1_000_000).to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut killed = false;
        let mut heard = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            if let Some(id) = line.unwrap().strip_prefix("flushed ").filter(|id| id.len() == RequestId::TEXT_LEN) {
                told.insert(id.to_owned());
                heard += 1;
            }
            if heard >= 150 * round && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself after {heard} records");
        let mut seen = Vec::new();
        let (_journal, replay) =
            Journal::open(options(dir.path(), &names), |r| seen.push(r.request_id.to_string())).unwrap();
        let unique: HashSet<String> = seen.iter().cloned().collect();
        assert_eq!((unique.len(), replay.duplicates), (seen.len(), 0), "a record came twice");
        let lost: Vec<_> = told.difference(&unique).collect();
        assert!(lost.is_empty(), "flushed, and lost: {lost:?}");
        assert!(!replay.orphans.is_empty(), "what was in flight is found again: {replay:?}");
    }
}
