//! One process replaces another under load: nothing is cut, refused, lost or counted twice, whoever dies.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread;

use tokio::net::TcpStream;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU, SONNET, bill, nanos};
use crate::support::http::Connection;
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Leave};

const BUDGET: &str = "[[budget]]\nscope = \"org\"\namount = \"1000.00\"\nperiod = \"monthly\"\n";
const STREAMS: usize = 200;
const STORM_CALLERS: u64 = 16;

fn verified(fleet: &Fleet) {
    let output = fleet::run_weir(&["audit", "verify", "--store", "weir-data"], fleet.weir.dir());
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// Records, usage, budget and the provider's books say the same of so many requests.
fn equal_books(fleet: &Fleet, requests: usize) {
    let books = fleet.books(requests as u64);
    assert_eq!(books.totals.requests, requests as u64);
    let provider: i64 = books.entries.iter().map(|entry| bill(SONNET, &entry.usage)).sum();
    let records = fleet.all_records(requests);
    let ids: BTreeSet<&str> = records.iter().filter_map(|record| record["request_id"].as_str()).collect();
    assert_eq!(ids.len(), requests, "one record each");
    let booked: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    let row = fleet.usage("").pop().expect("a row of usage");
    let counted = (row["requests"].as_u64(), nanos(&row["cost_usd"]));
    assert_eq!((booked, counted), (provider, (Some(requests as u64), provider)));
    eventually(DEADLINE, "the budget says what is booked", || {
        let budget = fleet.budget("org");
        (budget.spent == provider && budget.reserved == 0).then_some(())
    });
}

#[test]
fn an_open_stream_is_cut_by_a_reload_or_a_replacement() {
    let mut fleet = fleet::start(BUDGET);
    let clients = fleet.weir.clients();
    // Long enough to be open through all of it; what is left is read when it is over.
    let sim = "events=150 gap_ms=200 input_tokens=300 output_tokens=80";
    let asks = vec![(Ask { sim, stream: true, ..Ask::default() }, Leave::AtTheEnd); STREAMS];
    thread::scope(|scope| {
        let streams = scope.spawn(|| swarm::all_at_once(clients, &asks));
        eventually(DEADLINE, "all streams are open", || (fleet.running() == STREAMS as u64).then_some(()));
        let mut reloads = 0;
        for replacements in 0..=3 {
            for _ in 0..if replacements < 3 { 3 } else { 1 } {
                fleet.reload();
                reloads += 1;
            }
            if replacements < 3 {
                fleet.weir.replace();
            }
        }
        assert_eq!(reloads, 10);
        assert!(!streams.is_finished(), "the streams are open through all of it");
        for got in streams.join().expect("callers do not panic") {
            assert!(got.status == 200 && got.whole, "{got:?}");
            assert!(String::from_utf8_lossy(&got.body).contains("message_stop"));
        }
    });
    assert_eq!(fleet.weir.replaced_ended(), vec![Some(0); 3], "each process ends by itself, in order");
    equal_books(&fleet, STREAMS);
    verified(&fleet);
    fleet.weir.restart();
    equal_books(&fleet, STREAMS);
    verified(&fleet);
}

#[test]
fn a_storm_of_connections_meets_a_closed_door_while_one_process_replaces_another() {
    let mut fleet = fleet::start(BUDGET);
    let clients = fleet.weir.clients();
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let storm = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let callers = (0..STORM_CALLERS).map(|n| {
                    let sim = "events=2 input_tokens=10 output_tokens=5";
                    let bytes = Ask { sim, stream: n % 2 == 0, ..Ask::default() }.bytes(clients);
                    let (over, answered) = (&over, &answered);
                    async move {
                        while !over.load(SeqCst) {
                            let mut stream = TcpStream::connect(clients).await.expect("a connection is accepted");
                            // Some come twice over one connection, unless they are asked not to.
                            for _ in 0..1 + n % 3 {
                                let got = swarm::call(&mut stream, &bytes, Leave::AtTheEnd).await;
                                assert!(got.status == 200 && got.whole, "{got:?}");
                                answered.fetch_add(1, SeqCst);
                                if got.header("connection") == Some("close") {
                                    break;
                                }
                            }
                        }
                    }
                });
                futures_join(callers).await;
            });
        });
        for replacement in 1..=3 {
            let before = answered.load(SeqCst);
            eventually(DEADLINE, "the storm goes on", || (answered.load(SeqCst) > before + 100).then_some(()));
            assert!(!storm.is_finished(), "before replacement {replacement}");
            fleet.weir.replace();
        }
        let before = answered.load(SeqCst);
        eventually(DEADLINE, "the storm goes on", || (answered.load(SeqCst) > before + 100).then_some(()));
        over.store(true, SeqCst);
        storm.join().expect("every caller is answered");
    });
    assert_eq!(fleet.weir.replaced_ended(), vec![Some(0); 3]);
    equal_books(&fleet, answered.load(SeqCst) as usize);
    verified(&fleet);
}

async fn futures_join(callers: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut callers: Vec<_> = callers.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        callers.retain_mut(|caller| caller.as_mut().poll(cx).is_pending());
        if callers.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[test]
fn a_process_that_cannot_start_disturbs_the_one_it_should_replace() {
    let mut fleet = fleet::start(BUDGET);
    let mut kept = Connection::open(fleet.weir.clients());
    let mut asked = 0;
    let mut ask = |fleet: &Fleet, connection: &mut Connection| {
        connection.send(&Ask { sim: "input_tokens=10 output_tokens=5", ..Ask::default() }.bytes(fleet.weir.clients()));
        let answer = connection.read_response();
        assert_eq!((answer.status, answer.header("connection")), (200, None), "{}", answer.text());
        assert_eq!(fleet.ask(Ask { sim: "input_tokens=10 output_tokens=5", ..Ask::default() }).status, 200);
        asked += 2;
        asked
    };
    ask(&fleet, &mut kept);
    let good = fleet::config(fleet.provider.addr(), BUDGET);
    // Found before anything is asked of the running process, and found when it has given its journal away already.
    let wrong_key = good.replace("[shards]", "[shards]\nspeed = 9");
    let other_port = good.replace("clients = \"127.0.0.1:0\"", "clients = \"127.0.0.1:1\"");
    let no_raises = good.clone();
    for (config, says, code) in
        [(wrong_key, "shards.speed", 2), (other_port, "listens on", 1), (no_raises, "one-off raises cannot be read", 2)]
    {
        let raises = fleet.weir.dir().join("weir-data/budget-raises.json");
        if code == 2 && says.starts_with("one-off") {
            std::fs::write(&raises, "{").expect("a broken file");
        }
        fleet.weir.write_config(&config);
        let output = fleet::run_weir(&["serve", "--config", "weir.toml", "--replace"], fleet.weir.dir());
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(says), "{text}");
        let _there_or_not = std::fs::remove_file(&raises);
        ask(&fleet, &mut kept);
    }
    // Changes are taken again, once the journal is back.
    fleet.weir.write_config(&good);
    eventually(DEADLINE, "a reload is recorded again", || {
        (fleet.weir.admin_request("POST", "/admin/v1/reload", b"").status == 200).then_some(())
    });
    let asked = ask(&fleet, &mut kept);
    equal_books(&fleet, asked);
    fleet.weir.replace();
    drop(kept);
    assert_eq!(fleet.weir.replaced_ended(), vec![Some(0)]);
    equal_books(&fleet, asked);
    verified(&fleet);
}

#[test]
fn a_kept_connection_finds_no_budget_after_a_replacement() {
    let budget =
        "[[budget]]\nscope = \"org\"\namount = \"0.10\"\nperiod = \"monthly\"\n[budgets]\nreserve = \"strict\"\n";
    let mut fleet = fleet::start(budget);
    let clients = fleet.weir.clients();
    let ask = Ask { sim: "input_tokens=1000 output_tokens=500", ..Ask::default() };
    let mut kept: Vec<Connection> = (0..3).map(|_| Connection::open(clients)).collect();
    for connection in &mut kept {
        connection.send(&ask.bytes(clients));
        assert_eq!(connection.read_response().status, 200);
    }
    fleet.weir.replace();
    for connection in &mut kept {
        connection.send(&ask.bytes(clients));
        let answer = connection.read_response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{}", answer.text());
    }
    // Each costs 0.0105: with six spent there is room for three, whoever admits them.
    assert_eq!(fleet.weir.replaced_ended(), vec![Some(0)]);
    let mut admitted = 6;
    while fleet.ask(ask).status == 200 {
        admitted += 1;
        assert!(admitted < 10, "the cap holds over both processes");
    }
    let spent = fleet.budget("org");
    assert!(spent.spent == admitted * 10_500_000 && spent.spent <= spent.amount, "{spent:?}");
}

#[test]
fn both_processes_spend_the_same_room() {
    // Room for four requests at their bound of 0.0174 and a little: two run in the old process, two find room in the new one.
    let budget =
        "[[budget]]\nscope = \"org\"\namount = \"0.074\"\nperiod = \"monthly\"\n[budgets]\nreserve = \"strict\"\n";
    let mut fleet = fleet::start(budget);
    let clients = fleet.weir.clients();
    let sim = "events=600 gap_ms=100 input_tokens=20 output_tokens=1000";
    let dear = Ask { sim, stream: true, ..Ask::default() };
    let open = |count: usize| {
        let open = |_| {
            let mut connection = Connection::open(clients);
            connection.send(&dear.bytes(clients));
            connection
        };
        (0..count).map(open).collect::<Vec<_>>()
    };
    let mut streams = open(2);
    for stream in &mut streams {
        assert_eq!(stream.read_head().status, 200);
    }
    fleet.weir.replace();
    let held = fleet.budget("org");
    assert!(held.reserved >= 2 * 17_000_000 && held.spent == 0, "{held:?}");
    let mut more = open(4);
    let statuses: Vec<u16> = more.iter_mut().map(|stream| stream.read_head().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 2, "{statuses:?}");
    drop(streams);
    drop(more);
    assert_eq!(fleet.weir.replaced_ended(), vec![Some(0)]);
    eventually(DEADLINE, "everything is settled", || (fleet.budget("org").reserved == 0).then_some(()));
    let after = fleet.budget("org");
    assert!(after.spent <= after.amount, "{after:?}");
}

#[test]
fn a_rate_limit_begins_anew_with_another_process() {
    let limit = "[[rate_limit]]\nscope = \"user:*\"\nrequests_per_minute = 5\n\
                 [[rate_limit]]\nscope = \"team:data\"\nconcurrent_requests = 1\n";
    let mut fleet = fleet::start(limit);
    let clients = fleet.weir.clients();
    for _ in 0..5 {
        assert_eq!(fleet.ask(Ask::default()).status, 200);
    }
    let bob = Ask { key: BOB_KEY, model: HAIKU, stream: true, sim: "events=30 gap_ms=100", ..Ask::default() };
    let mut running = Connection::open(clients);
    running.send(&bob.bytes(clients));
    let head = running.read_head();
    assert_eq!(head.status, 200);
    fleet.weir.replace();
    assert_eq!(fleet.ask(Ask { key: ALICE_KEY, ..Ask::default() }).status, 429, "the minute is not over");
    assert_eq!(fleet.ask(Ask { sim: "", stream: false, ..bob }).status, 429, "the one that may run does");
    running.read_body(&head);
    eventually(DEADLINE, "the place is free again", || {
        (fleet.ask(Ask { sim: "", stream: false, ..bob }).status == 200).then_some(())
    });
}

#[test]
fn a_successor_that_dies_takes_records_with_it() {
    let mut fleet = fleet::start(BUDGET);
    let clients = fleet.weir.clients();
    let sim = "events=150 gap_ms=100 input_tokens=300 output_tokens=80";
    let asks = vec![(Ask { sim, stream: true, ..Ask::default() }, Leave::AtTheEnd); 20];
    thread::scope(|scope| {
        let streams = scope.spawn(|| swarm::all_at_once(clients, &asks));
        eventually(DEADLINE, "all streams are open", || (fleet.running() == 20).then_some(()));
        fleet.weir.replace();
        fleet.ask_record(Ask { sim: "input_tokens=10 output_tokens=5", ..Ask::default() });
        fleet.weir.kill9();
        // Its sockets are the old one's, too: who connects now is not refused, but waits for whoever comes next.
        let mut waiting = Connection::open(clients);
        waiting.send(&Ask { sim: "input_tokens=10 output_tokens=5", ..Ask::default() }.bytes(clients));
        fleet.weir.start_replacing();
        assert_eq!((fleet.weir.clients(), waiting.read_response().status), (clients, 200));
        for got in streams.join().expect("callers do not panic") {
            assert!(got.status == 200 && got.whole, "{got:?}");
        }
    });
    assert_eq!(fleet.weir.replaced_ended(), vec![Some(0)]);
    equal_books(&fleet, 22);
    verified(&fleet);
}

#[test]
fn a_process_that_dies_while_it_finishes_leaves_requests_open() {
    let mut fleet = fleet::start(BUDGET);
    let clients = fleet.weir.clients();
    let mut streams: Vec<Connection> = Vec::new();
    for _ in 0..5 {
        let mut stream = Connection::open(clients);
        stream.send(&Ask { sim: "events=500 gap_ms=100", stream: true, ..Ask::default() }.bytes(clients));
        assert_eq!(stream.read_head().status, 200);
        streams.push(stream);
    }
    fleet.weir.replace();
    fleet.weir.kill9_replaced();
    let records = fleet.all_records(5);
    assert!(records.iter().all(|record| record["outcome"] == "gateway_failed"), "{records:?}");
    let cost: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    eventually(DEADLINE, "the budget has nothing of it reserved", || {
        let budget = fleet.budget("org");
        (budget.reserved == 0 && budget.spent == cost).then_some(())
    });
    let left: Vec<_> = std::fs::read_dir(fleet.weir.dir().join("weir-data")).expect("a store").flatten().collect();
    let sides = left.iter().filter(|file| file.file_name().to_string_lossy().starts_with("retired-")).count();
    assert_eq!(sides, 0, "its side chain is in the journal");
    verified(&fleet);
}
