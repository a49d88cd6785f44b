//! `kill -9` at any moment: what was seen stays, what was in flight is closed once, nothing is counted twice.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::fleet::{self, Ask, Fleet, nanos, usage_of};
use crate::support::http::{self, Connection};
use crate::support::{ADMIN_TOKEN, DEADLINE, eventually};
use crate::swarm::{self, Leave};

const BUDGET: &str = "[[budget]]\nscope = \"org\"\namount = \"100000.00\"\nperiod = \"monthly\"\n";
const CALLERS: usize = 24;

/// Cost and outcome of each record, by id.
type Seen = BTreeMap<String, (i64, String)>;

fn seen(records: &[Value]) -> Seen {
    let of = |record: &Value| {
        let text = |name: &str| record[name].as_str().expect("a text").to_owned();
        (text("request_id"), (nanos(&record["cost_usd"]), text("outcome")))
    };
    let seen: Seen = records.iter().map(of).collect();
    assert_eq!(seen.len(), records.len(), "ids are unique");
    seen
}

/// Callers that send one request after the other until the gateway is gone.
fn load(clients: std::net::SocketAddr, over: &AtomicBool) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let callers: Vec<_> = (0..CALLERS)
            .map(|n| {
                let sim = format!("events=6 first_ms=20 gap_ms={} input_tokens=500 output_tokens=70", 15 + n % 4 * 10);
                let bytes = Ask { sim: &sim, stream: n % 2 == 0, ..Ask::default() }.bytes(clients);
                tokio::spawn(async move {
                    let Ok(mut stream) = TcpStream::connect(clients).await else { return };
                    while swarm::call(&mut stream, &bytes, Leave::AtTheEnd).await.whole {}
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("a caller does not panic");
        }
    });
    assert!(over.load(SeqCst), "callers are sent away before the kill");
}

#[test]
fn a_kill_loses_a_flushed_record_or_counts_one_twice() {
    let mut random = fleet::random(5);
    let mut fleet = fleet::start(BUDGET);
    let mut before = Seen::new();
    for round in 0..5 {
        let over = AtomicBool::new(false);
        let clients = fleet.weir.clients();
        let visible = thread::scope(|scope| {
            scope.spawn(|| load(clients, &over));
            let enough = before.len() + random.usize(40..160);
            let moment = Instant::now() + Duration::from_millis(random.u64(..60));
            let visible = eventually(DEADLINE, &format!("{enough} records in round {round}"), || {
                Some(seen(&fleet.records(""))).filter(|seen| seen.len() >= enough && Instant::now() >= moment)
            });
            over.store(true, SeqCst);
            fleet.weir.kill9();
            visible
        });
        fleet.weir.restart();
        let records = fleet.records("");
        let after = seen(&records);
        for (id, was) in visible.iter().chain(&before) {
            assert_eq!(after.get(id), Some(was), "round {round}: {id} was booked before the kill");
        }
        assert_books_agree(&fleet, &records);
        let crashed: Vec<&Value> = records.iter().filter(|record| record["refused_by"] == "crash").collect();
        for record in &crashed {
            assert_eq!((&record["outcome"], &record["usage_source"]), (&"gateway_failed".into(), &"estimated".into()));
            assert!(usage_of(record).input > 0 && nanos(&record["cost_usd"]) > 0, "an estimate: {record}");
            assert_eq!((&record["key"], &record["status"]), (&"dev-alice".into(), &0.into()), "{record}");
        }
        assert!(crashed.len() <= (round + 1) * CALLERS, "{} closed by crashes", crashed.len());
        before = after;
    }
    assert!(before.values().any(|(_, outcome)| outcome == "gateway_failed"), "some were in flight");
    fleet.weir.restart();
    assert_eq!(seen(&fleet.records("")), before, "a second start closes nothing again");
}

fn assert_books_agree(fleet: &Fleet, records: &[Value]) {
    let cost: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    let total = &fleet.usage("")[0];
    assert_eq!((total["requests"].as_u64(), nanos(&total["cost_usd"])), (Some(records.len() as u64), cost));
    let output: u64 = records.iter().map(|record| usage_of(record).output).sum();
    assert_eq!(total["output_tokens"].as_u64(), Some(output));
    let budget = fleet.budget("org");
    assert_eq!((budget.spent, budget.reserved), (cost, 0), "the budget is rebuilt from the same records");
}

/// Opens streams that stay open, and waits until their opening notes are on disk.
fn stalled_streams(fleet: &Fleet, count: usize) -> Vec<Connection> {
    let ask = Ask { sim: "stall_at=4 events=9 input_tokens=50", stream: true, ..Ask::default() };
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut connection = Connection::open(fleet.weir.clients());
        connection.send(&ask.bytes(fleet.weir.clients()));
        assert_eq!(connection.read_head().status, 200);
        streams.push(connection);
    }
    let now = Timestamp::now();
    eventually(DEADLINE, "everything sent so far is on disk", || (fleet.weir.as_of() > now).then_some(()));
    streams
}

#[test]
fn a_request_in_flight_at_a_kill_is_forgotten_or_closed_again_at_each_start() {
    let mut fleet = fleet::start(BUDGET);
    let done = fleet.ask_record(Ask::default());
    let streams = stalled_streams(&fleet, 7);
    assert_eq!(fleet.budget("org").spent, nanos(&done["cost_usd"]));
    assert!(fleet.budget("org").reserved > 0, "running requests hold money");
    fleet.weir.kill9();
    drop(streams);
    for start in 1..4 {
        fleet.weir.restart();
        let records = fleet.records("");
        assert_eq!(records.len(), 8, "start {start}");
        let crashed: Vec<&Value> = records.iter().filter(|record| record["refused_by"] == "crash").collect();
        assert_eq!(crashed.len(), 7, "start {start}");
        for record in crashed {
            assert_eq!((&record["operation"], &record["session"]), (&"messages".into(), &"session-1".into()));
            assert!(nanos(&record["reserved_usd"]) > 0 && record["ended_at"].as_str() >= record["started_at"].as_str());
        }
        assert_books_agree(&fleet, &records);
        if start == 2 {
            fleet.weir.kill9();
        }
    }
}

fn newest_segment(fleet: &Fleet) -> PathBuf {
    let files = fs::read_dir(fleet.weir.dir().join("weir-data")).expect("the store");
    let segments =
        files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some_and(|e| e == "wal"));
    segments.max().expect("a segment")
}

#[test]
fn a_torn_end_of_the_journal_keeps_the_gateway_down_or_takes_records_with_it() {
    let mut fleet = fleet::start(BUDGET);
    for _ in 0..3 {
        fleet.ask_record(Ask::default());
    }
    let whole = seen(&fleet.records(""));
    // A power cut in the middle of a write: the beginning of a group, and then nothing.
    fleet.weir.kill9();
    let mut segment = OpenOptions::new().append(true).open(newest_segment(&fleet)).expect("the segment");
    segment.write_all(b"WGRP\x80\x01\x00\x00\x02\x00\x00\x00torn").expect("written");
    fleet.weir.restart();
    assert_eq!(seen(&fleet.records("")), whole);
    assert!(fleet.weir.log().contains("torn"), "the operator is told");
    // And one that takes the end of the last group: that group was never acknowledged as a whole.
    let last = fleet.ask_record(Ask::default());
    fleet.weir.kill9();
    let segment = OpenOptions::new().write(true).open(newest_segment(&fleet)).expect("the segment");
    segment.set_len(segment.metadata().expect("its length").len() - 5).expect("cut");
    fleet.weir.restart();
    let records = fleet.records("");
    let mut after = seen(&records);
    after.remove(last["request_id"].as_str().expect("an id"));
    assert_eq!(after, whole, "all but the torn group is there");
    assert_books_agree(&fleet, &records);
    fleet.ask_record(Ask::default());
}

#[test]
fn damage_inside_the_journal_is_skipped_in_silence() {
    let mut fleet = fleet::start("");
    for _ in 0..3 {
        fleet.ask_record(Ask::default());
    }
    fleet.weir.kill9();
    let path = newest_segment(&fleet);
    let mut bytes = fs::read(&path).expect("the segment");
    let at = 96 + 60;
    bytes[at] ^= 1;
    fs::write(&path, bytes).expect("written");
    let output = fleet::run_weir(&["serve", "--config", "weir.toml"], fleet.weir.dir());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("journal-0000000001.wal"), "names the file: {said}");
}

#[test]
fn two_processes_write_one_store() {
    let fleet = fleet::start("");
    let output = fleet::run_weir(&["serve", "--config", "weir.toml"], fleet.weir.dir());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("weir-data") && said.contains("another"), "says who has it: {said}");
    assert!(output.stdout.is_empty(), "never says that it is ready");
    fleet.ask_record(Ask::default());
    let bearer = format!("Bearer {ADMIN_TOKEN}");
    let answer = http::request(fleet.weir.admin(), "GET", "/readyz", &[("authorization", &bearer)], b"");
    assert_eq!(answer.status, 200);
}
