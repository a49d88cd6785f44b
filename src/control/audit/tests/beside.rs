use super::*;
use crate::{
    control::journal::{Sink, tests::send},
    link::up::door,
};
use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, Instant},
};

struct Counting(Arc<AtomicU64>);

impl Sink for Counting {
    fn flushed(&mut self, closes: &[Box<Record>], _as_of: UnixMs) {
        self.0.fetch_add(closes.len() as u64, SeqCst);
    }
}

#[test]
fn a_running_gateway_is_taken_for_a_tampered_journal_or_disturbed() {
    const RECORDS: u64 = 3000;
    let store = Store::new();
    let opts = JournalOptions {
        segment_bytes_max: 20_000,
        flush_interval: Duration::from_millis(1),
        ..options(store.path(), &store.names)
    };
    let (journal, _) = Journal::open(opts, |_| ()).unwrap();
    let (mut sender, receiver) = door();
    let flushed = Arc::new(AtomicU64::new(0));
    let journal = journal.start(vec![receiver], Counting(flushed.clone())).unwrap();
    let names = store.names.clone();
    let told = flushed.clone();
    let writer = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(60);
        for n in 1..=RECORDS {
            // The ring is bounded, and the disk may be slow.
            while n - told.load(SeqCst) > 50 {
                assert!(Instant::now() < deadline, "the journal never caught up");
                std::thread::yield_now();
            }
            send(&mut sender, n, &names);
        }
        journal.stop().unwrap();
    });
    let (mut walks, mut seen) = (0, 0);
    while !writer.is_finished() {
        let at_least = flushed.load(SeqCst);
        let verified = store.verify().unwrap_or_else(|error| panic!("after {walks} walks: {error}"));
        assert!(verified.closes >= at_least.max(seen), "what was flushed was not there");
        (walks, seen) = (walks + 1, verified.closes);
    }
    writer.join().unwrap();
    let verified = store.verify().unwrap();
    assert_eq!((verified.closes, verified.notes.len()), (RECORDS, 0));
    assert!(verified.segments > 3 && walks > 1, "{walks} walks, {verified:?}");
}

#[test]
fn retention_under_a_walk_is_taken_for_tampering() {
    let store = Store::with(1..=12);
    let (one, two, last) = (store.segment(1), store.segment(2), store.last_segment());
    let options = VerifyOptions { store: store.path().into(), checkpoint: None, aged_out: false, body_keys: None };
    let verified = verify(&options, &mut |_| {
        if one.exists() {
            fs::remove_file(&one).unwrap();
            fs::remove_file(&two).unwrap();
        }
    });
    let verified = verified.unwrap();
    assert_eq!((verified.first_segment, verified.segments), (3, last - 2));
}
