//! Money held for requests that come to nothing flows back, and whoever waits for it gets it.

use std::net::TcpListener;

use crate::fleet::{self, Ask, Fleet, nanos, usage_of};
use crate::support::http::{self, Connection};
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Leave};

const BUDGET: &str = "[[budget]]\nscope = \"org\"\namount = \"0.05\"\nperiod = \"total\"\n";
const COST: i64 = 100 * 3000 + 200 * 15_000;

fn usual() -> Ask<'static> {
    Ask { sim: "input_tokens=100 output_tokens=200 events=2 first_ms=5", max_tokens: 250, ..Ask::default() }
}

/// Nothing is held any more, and so much is spent.
fn assert_settled(fleet: &Fleet, spent: i64) {
    let budget = eventually(DEADLINE, "nothing is reserved and nothing runs", || {
        Some(fleet.budget("org")).filter(|budget| budget.reserved == 0 && fleet.running() == 0)
    });
    assert_eq!(budget.spent, spent);
}

#[test]
fn callers_that_leave_while_they_wait_take_the_last_room_with_them() {
    let fleet = fleet::start(BUDGET);
    // One stalled request has the last room: its bound is more than the budget.
    let mut last = Connection::open(fleet.weir.clients());
    let sim = "input_tokens=10 output_tokens=200 stall_at=3";
    last.send(&Ask { sim, stream: true, max_tokens: 50_000, ..Ask::default() }.bytes(fleet.weir.clients()));
    assert_eq!(last.read_head().status, 200);
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(fleet.weir.clients());
        connection.send(&usual().bytes(fleet.weir.clients()));
        waiting.push(connection);
    }
    eventually(DEADLINE, "all of them run", || (fleet.running() == 51).then_some(()));
    assert_eq!(fleet.provider.books().totals.open, 1, "none of them has gone up");
    drop(waiting);
    let records = eventually(DEADLINE, "all have left", || {
        Some(fleet.records("outcome=client_aborted")).filter(|records| records.len() == 50)
    });
    for record in &records {
        assert_eq!((nanos(&record["cost_usd"]), &record["usage_source"]), (0, &"none".into()), "{record}");
    }
    drop(last);
    let record = fleet.all_records(51).into_iter().find(|record| record["stream"] == true).expect("the stalled one");
    assert_eq!(usage_of(&record).input, 10);
    assert_settled(&fleet, nanos(&record["cost_usd"]));
    assert_eq!(fleet.ask(usual()).status, 200, "the room is there for the next");
}

#[test]
fn a_caller_that_waits_for_the_last_room_is_told_that_the_budget_is_spent() {
    let fleet = fleet::start(BUDGET);
    let mut last = Connection::open(fleet.weir.clients());
    let sim = "input_tokens=10 output_tokens=200 stall_at=3";
    last.send(&Ask { sim, stream: true, max_tokens: 50_000, ..Ask::default() }.bytes(fleet.weir.clients()));
    assert_eq!(last.read_head().status, 200);
    let busy = fleet.ask(usual());
    assert_eq!(busy.status, 429, "{}", busy.text());
    assert_eq!(busy.json()["error"]["type"], "rate_limit_error");
    let wait: u64 = busy.header("retry-after").expect("retry-after").parse().expect("seconds");
    assert!((1..=60).contains(&wait) && busy.header("x-should-retry").is_none(), "{busy:?}");
    let unified = busy.headers.iter().find(|(name, _)| name.contains("unified"));
    assert_eq!(unified, None, "nothing of this is a spent budget");
    assert_eq!(fleet.record_of(&busy)["refused_by"], "budget_busy");
    // Who waits when the room comes back is served.
    let mut next = Connection::open(fleet.weir.clients());
    next.send(&usual().bytes(fleet.weir.clients()));
    eventually(DEADLINE, "it waits", || (fleet.running() == 2).then_some(()));
    drop(last);
    assert_eq!(next.read_response().status, 200);
}

#[test]
fn an_upstream_that_cannot_be_reached_costs_money() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let gone = format!(
        "[[upstream]]\nname = \"gone\"\nprovider = \"anthropic\"\nbase_url = \"http://{free}\"\nauth = {{ api_key = \"${{PROVIDER_KEY}}\" }}\n\
         [[model]]\nid = \"claude-opus-5\"\ntargets = [{{ upstream = \"gone\" }}]\n\
         [[model]]\nid = \"claude-opus-4-5\"\ntargets = [{{ upstream = \"gone\" }}, {{ upstream = \"main\" }}]\n"
    );
    let fleet = fleet::start(&format!("{BUDGET}{gone}"));
    for stream in [false, true] {
        let failed = fleet.ask(Ask { model: "claude-opus-5", stream, ..usual() });
        assert_eq!(failed.status, 502, "{}", failed.text());
        let record = fleet.record_of(&failed);
        assert_eq!((&record["outcome"], &record["upstream"]), (&"upstream_failed".into(), &"gone".into()), "{record}");
        assert_eq!(nanos(&record["cost_usd"]), 0);
        // The second request finds it known to be dead, and does not even dial.
        let result = record["attempts"].get(0).map(|attempt| &attempt["result"]);
        assert!(result.is_none_or(|result| result == "unreachable") && (stream || result.is_some()), "{record}");
    }
    for sim in ["reset_before=1", "status=500", "status=429"] {
        fleet.ask(Ask { sim, ..usual() });
    }
    assert_settled(&fleet, 0);
    // The second target takes over, and its price is the one that counts.
    let record = fleet.ask_record(Ask { model: "claude-opus-4-5", ..usual() });
    let attempts = record["attempts"].as_array().expect("attempts");
    let results: Vec<_> = attempts.iter().filter_map(|attempt| attempt["result"].as_str()).collect();
    // If it is known to be dead already, it is not even dialled.
    let (last, before) = results.split_last().expect("an attempt");
    assert!(before.iter().all(|result| *result == "unreachable"), "{record}");
    assert_eq!((*last, record["upstream"].as_str()), ("answered", Some("main")), "{record}");
    assert_settled(&fleet, 100 * 5000 + 200 * 25_000);
}

#[test]
fn a_chunked_body_is_taken_for_the_largest_there_is() {
    for reserve in ["expected", "strict"] {
        let fleet = fleet::start(&format!("{BUDGET}[budgets]\nreserve = \"{reserve}\"\n"));
        let body = usual().body();
        let (first, second) = body.split_at(40);
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: weir\r\nx-api-key: {}\r\nanthropic-version: 2023-06-01\r\n\
             content-type: application/json\r\nanthropic-sim: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            fleet::ALICE_KEY,
            usual().sim
        );
        let mut connection = Connection::open(fleet.weir.clients());
        connection.send(head.as_bytes());
        connection.send(&[format!("{:x}\r\n", first.len()).as_bytes(), first, b"\r\n"].concat());
        eventually(DEADLINE, "its head is read", || (fleet.running() == 1).then_some(()));
        connection.send(&[format!("{:x}\r\n", second.len()).as_bytes(), second, b"\r\n0\r\n\r\n"].concat());
        let response = connection.read_response();
        assert_eq!(response.status, 200, "{reserve}: {}", response.text());
        let record = fleet.record_of(&response);
        assert_eq!(record["request_bytes"], body.len(), "{record}");
        assert!(nanos(&record["reserved_usd"]) < 50_000_000, "{record}");
        assert_settled(&fleet, COST);
    }
}

#[test]
fn a_body_that_breaks_off_is_billed() {
    let fleet = fleet::start(BUDGET);
    let asks = vec![(Ask { prompt_bytes: 300_000, ..usual() }, Leave::InsideTheBody); 20];
    swarm::all_at_once(fleet.weir.clients(), &asks);
    for record in fleet.all_records(20) {
        assert_eq!((&record["outcome"], nanos(&record["cost_usd"])), (&"client_aborted".into(), 0), "{record}");
    }
    assert_settled(&fleet, 0);
}

#[test]
fn requests_on_one_connection_share_a_record_or_a_bad_head_leaves_none() {
    let fleet = fleet::start("");
    let bytes = usual().bytes(fleet.weir.clients());
    let mut connection = Connection::open(fleet.weir.clients());
    connection.send(&bytes.repeat(10));
    for _ in 0..10 {
        assert_eq!(connection.read_response().status, 200);
    }
    connection.send(b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(connection.read_response().status, 400);
    assert!(connection.is_closed());
    for request in ["GET /nowhere", "PUT /v1/messages", "HEAD /", "GET /v1/models"] {
        let (method, path) = request.split_once(' ').expect("two words");
        http::request(fleet.weir.clients(), method, path, &[], b"");
    }
    let records = fleet.all_records(15);
    let by = |field: &str, value: &str| records.iter().filter(|record| record[field] == value).count();
    assert_eq!(by("operation", "messages"), 10, "the bad head has no operation");
    assert_eq!((by("refused_by", "bad_head"), by("refused_by", "not_found")), (1, 1));
    assert_eq!((by("refused_by", "method_not_allowed"), by("refused_by", "unauthenticated")), (1, 1));
    assert_eq!((by("operation", "probe"), by("outcome", "completed")), (1, 11));
}

#[test]
fn an_answer_from_a_stale_connection_is_booked_twice_or_lost() {
    let fleet = fleet::start("[[budget]]\nscope = \"org\"\namount = \"50.00\"\nperiod = \"total\"\n");
    let sims: Vec<String> =
        (0..120).map(|n| format!("{} {}", usual().sim, ["after=close", "after=reset", ""][n % 3])).collect();
    for round in sims.chunks(12) {
        let asks: Vec<_> = round
            .iter()
            .enumerate()
            .map(|(n, sim)| (Ask { sim, stream: n % 2 == 0, ..usual() }, Leave::AtTheEnd))
            .collect();
        for got in swarm::all_at_once(fleet.weir.clients(), &asks) {
            assert!(got.status == 200 && got.whole, "{}", got.head);
        }
    }
    let records = fleet.all_records(120);
    assert!(records.iter().all(|record| nanos(&record["cost_usd"]) == COST));
    assert_settled(&fleet, 120 * COST);
    let billed = fleet.books(120).totals.usage();
    assert_eq!((billed.input, billed.output), (120 * 100, 120 * 200), "nothing was asked twice");
}
