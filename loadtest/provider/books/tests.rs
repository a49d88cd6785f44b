use super::*;

fn entry() -> Entry {
    Entry {
        index: 0,
        request_id: "req_01".into(),
        method: "POST".into(),
        path: "/v1/messages".into(),
        model: "m".into(),
        stream: true,
        credential_fingerprint: String::new(),
        request_framing: "length",
        request_sha256: String::new(),
        request_bytes: 0,
        response_sha256: String::new(),
        response_bytes: 0,
        status: 200,
        outcome: Outcome::Completed,
        usage: BilledUsage::default(),
        header_names: Vec::new(),
        headers: BTreeMap::new(),
        started_unix_ms: 0,
        ended_unix_ms: 0,
        request_body: None,
    }
}

const USAGE: BilledUsage =
    BilledUsage { input: 1, output: 2, cache_read: 3, cache_write_5m: 4, cache_write_1h: 5, web_search: 6 };

fn fill(ledger: &Ledger, exchanges: u64) {
    for _ in 0..exchanges {
        ledger.begin();
        ledger.settle("m", 200, Outcome::Completed, &USAGE, Some(entry()));
    }
}

#[test]
fn totals_shrink_when_entries_are_dropped() {
    let ledger = Ledger::new(3);
    fill(&ledger, 10);
    let books = ledger.since(0);
    assert_eq!(books.entries.iter().map(|e| e.index).collect::<Vec<_>>(), [8, 9, 10]);
    assert_eq!((books.totals.requests, books.totals.entries_dropped, books.totals.open), (10, 7, 0));
    assert_eq!(
        books.totals.usage(),
        BilledUsage { input: 10, output: 20, cache_read: 30, cache_write_5m: 40, cache_write_1h: 50, web_search: 60 }
    );
}

#[test]
fn since_repeats_or_skips_an_entry() {
    let ledger = Ledger::new(10);
    fill(&ledger, 4);
    let first = ledger.since(0);
    fill(&ledger, 3);
    let next = ledger.since(first.last_index);
    assert_eq!(next.entries.iter().map(|e| e.index).collect::<Vec<_>>(), [5, 6, 7]);
    assert!(ledger.since(u64::MAX).entries.is_empty());
}

#[test]
fn error_or_abandoned_exchange_counts_as_completed() {
    let ledger = Ledger::new(0);
    for (status, outcome) in [(529, Outcome::Completed), (200, Outcome::ClientGone), (200, Outcome::Faulted)] {
        ledger.begin();
        ledger.settle("m", status, outcome, &BilledUsage::default(), None);
    }
    let model = ledger.since(0).totals.models["m"].clone();
    assert_eq!((model.requests, model.completed, model.client_gone), (3, 0, 1));
}

#[test]
fn clear_forgets_what_is_open_or_reuses_an_index() {
    let ledger = Ledger::new(10);
    fill(&ledger, 2);
    ledger.begin();
    ledger.clear();
    assert_eq!(ledger.since(0).totals, Totals { open: 1, ..Totals::default() });
    ledger.settle("m", 200, Outcome::Completed, &USAGE, Some(entry()));
    assert_eq!(ledger.since(0).entries[0].index, 3);
}

#[test]
fn waiter_sleeps_through_a_change() {
    let ledger = std::sync::Arc::new(Ledger::new(10));
    let writer = std::sync::Arc::clone(&ledger);
    let thread = std::thread::spawn(move || fill(&writer, 50));
    assert!(ledger.when(Duration::from_secs(20), |totals| totals.requests == 50).is_some());
    thread.join().unwrap();
    assert!(ledger.when(Duration::from_millis(1), |totals| totals.requests == 51).is_none());
}
