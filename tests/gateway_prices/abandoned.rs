//! Streams whose client goes away: cancelled at once, or read on for their last counts, as the upstream's operator wants it.

use serde_json::Value;
use weir::loadtest::provider::{self, Entry, Outcome, ProviderOptions};

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, EVE_KEY, Fleet, SONNET, WRONG_PROVIDER_KEY, bill, nanos, usage_of};
use crate::support::http::{Connection, Response};
use crate::support::{DEADLINE, PROVIDER_KEY, Weir, eventually};

const BUDGET: &str = "[[budget]]\nscope = \"org\"\namount = \"100.00\"\nperiod = \"total\"\n";
/// A stream that its client is going to leave in the middle.
const SIM: &str = "events=60 gap_ms=20 event_bytes=100 input_tokens=4000 cache_read=300 output_tokens=1777";

/// A fleet whose first upstream treats abandoned streams so.
fn start(on_abort: &str) -> Fleet {
    let options = ProviderOptions { api_keys: vec![PROVIDER_KEY.to_owned()], seed: 7, ..ProviderOptions::default() };
    let provider = provider::start(options).expect("a provider");
    let config =
        fleet::config(provider.addr(), BUDGET).replace("name = \"main\"", &format!("name = \"main\"\n{on_abort}"));
    let secrets = [
        ("ALICE_KEY", ALICE_KEY),
        ("BOB_KEY", BOB_KEY),
        ("EVE_KEY", EVE_KEY),
        ("WRONG_PROVIDER_KEY", WRONG_PROVIDER_KEY),
    ];
    Fleet { weir: Weir::start_with(&config, &secrets), provider }
}

/// Asks, reads a little, and leaves. Answers with the head.
fn leave_half_way(fleet: &Fleet, sim: &str) -> Response {
    let mut connection = Connection::open(fleet.weir.clients());
    connection.send(&Ask { stream: true, sim, ..Ask::default() }.bytes(fleet.weir.clients()));
    let head = connection.read_head();
    assert_eq!(head.status, 200);
    for _ in 0..4 {
        connection.read_chunk().expect("the stream goes on");
    }
    head
}

fn booked(fleet: &Fleet, head: &Response) -> (Value, Entry) {
    let record = fleet.record_of(head);
    let entry = fleet.books(1).entries.pop().expect("an exchange");
    assert_eq!(record["upstream_request_id"], entry.request_id.as_str());
    assert_eq!((&record["outcome"], &record["status"]), (&"client_aborted".into(), &200.into()), "{record}");
    (record, entry)
}

/// Nothing is held any more, and what was spent is what the record says.
fn assert_settled(fleet: &Fleet, record: &Value) {
    let budget = eventually(DEADLINE, "nothing is held", || Some(fleet.budget("org")).filter(|b| b.reserved == 0));
    assert_eq!(budget.spent, nanos(&record["cost_usd"]));
    eventually(DEADLINE, "nothing runs", || (fleet.running() == 0).then_some(()));
}

#[test]
fn a_drained_stream_is_booked_with_an_estimate_or_cancelled() {
    let fleet = start("on_abort = \"drain\"");
    for framing in ["", "chunk=split crlf=1", "until_close=1"] {
        let head = leave_half_way_any(&fleet, &format!("{SIM} {framing}"));
        let record = fleet.record_of(&head);
        let id = record["upstream_request_id"].as_str().expect("an id");
        let entry = fleet.books(1).entries.into_iter().find(|entry| entry.request_id == id).expect("an exchange");
        assert_eq!(record["outcome"], "client_aborted", "{framing}: {record}");
        assert_eq!(record["usage_source"], "reported", "{framing}: {record}");
        assert_eq!(usage_of(&record), entry.usage, "{framing}");
        assert_eq!(entry.usage.output, 1777, "{framing}: the provider worked to the end");
        assert_eq!(nanos(&record["cost_usd"]), bill(SONNET, &entry.usage), "{framing}");
        assert!(
            record["response_bytes"].as_u64() < Some(entry.response_bytes),
            "{framing}: the client has not got all"
        );
        assert_eq!(record["attempts"][0]["result"], "answered", "{framing}: {record}");
    }
    eventually(DEADLINE, "nothing runs", || (fleet.running() == 0).then_some(()));
    assert_eq!(fleet.budget("org").reserved, 0);
    // The gateway is none the worse for it.
    fleet.ask_record(Ask::default());
}

/// As `leave_half_way`, also where the body is not in chunks.
fn leave_half_way_any(fleet: &Fleet, sim: &str) -> Response {
    if !sim.contains("until_close") {
        return leave_half_way(fleet, sim);
    }
    let mut connection = Connection::open(fleet.weir.clients());
    connection.send(&Ask { stream: true, sim, ..Ask::default() }.bytes(fleet.weir.clients()));
    connection.read_head()
}

#[test]
fn an_abandoned_stream_is_read_on_beyond_its_time() {
    let fleet = start("on_abort = \"drain\"\ndrain_max = \"300ms\"");
    for fault in ["stall_at=8", "ping_at=8 pings=50"] {
        let head = leave_half_way(&fleet, &format!("{SIM} {fault}"));
        let record = fleet.record_of(&head);
        assert_eq!((&record["outcome"], &record["usage_source"]), (&"client_aborted".into(), &"estimated".into()));
        let used = usage_of(&record);
        assert_eq!((used.input, used.cache_read), (4000, 300), "{record}");
        assert!(used.output < 1777, "{record}");
        assert_eq!(nanos(&record["cost_usd"]), bill(SONNET, &used));
        assert_eq!(record["attempts"][0]["result"], "cancelled", "{record}");
    }
    let gone = fleet.books(2).entries.iter().filter(|entry| entry.outcome == Outcome::ClientGone).count();
    assert_eq!(gone, 2, "the provider is not left waiting");
    eventually(DEADLINE, "nothing is held", || (fleet.budget("org").reserved == 0).then_some(()));
}

#[test]
fn an_abandoned_stream_is_paid_for_to_its_end_though_nobody_asked_for_that() {
    for on_abort in ["", "on_abort = \"cancel\""] {
        let fleet = start(on_abort);
        // Without a cancellation this goes on for longer than the test waits.
        let head = leave_half_way(&fleet, &SIM.replace("gap_ms=20", "gap_ms=2000"));
        let (record, entry) = booked(&fleet, &head);
        assert_eq!((entry.outcome, &record["usage_source"]), (Outcome::ClientGone, &"estimated".into()), "{record}");
        assert_settled(&fleet, &record);
    }
}

#[test]
fn an_answer_that_has_not_begun_or_is_no_stream_is_drained() {
    let fleet = start("on_abort = \"drain\"\ndrain_max = \"10m\"");
    for (stream, sim) in [(true, "first_ms=600000"), (false, "stall_at=1 body_bytes=9000")] {
        let mut connection = Connection::open(fleet.weir.clients());
        connection.send(&Ask { stream, sim, ..Ask::default() }.bytes(fleet.weir.clients()));
        eventually(DEADLINE, "the provider is at it", || (fleet.provider.books().totals.open > 0).then_some(()));
        if !stream {
            assert_eq!(connection.read_head().status, 200);
        }
        drop(connection);
        fleet.provider.books_when(DEADLINE, |totals| totals.open == 0).expect("it is cancelled at once");
    }
    let records = fleet.all_records(2);
    assert!(records.iter().all(|record| record["outcome"] == "client_aborted"), "{records:?}");
    assert!(records.iter().all(|record| record["usage_source"] != "reported"), "{records:?}");
}

#[test]
fn a_stream_that_is_being_drained_outlives_the_gateways_own_drain_or_is_lost() {
    let mut fleet = start("on_abort = \"drain\"");
    let head = leave_half_way(&fleet, SIM);
    fleet.weir.sigterm();
    assert_eq!(fleet.weir.wait_for_exit(), Some(0));
    fleet.weir.restart();
    let record = fleet.record_of(&head);
    assert_eq!(
        (&record["outcome"], &record["usage_source"]),
        (&"client_aborted".into(), &"reported".into()),
        "{record}"
    );
    assert_eq!(usage_of(&record).output, 1777, "{record}");
}
