//! More work than room: who is served, who waits and for how long, who is turned away first.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::loadtest::provider::ProviderHandle;

use crate::fixture::{KEY, MODEL, account, config, model, prompt, records, target, upstream, usage_of};
use crate::support::http::{Connection, Response, request_bytes};
use crate::support::{DEADLINE, Weir, eventually};

/// The key of another team's only developer.
const OTHER_KEY: &str = "weir-key-of-another-team-0123456789abcdef";
const OTHER: &str = "[[key]]\nid = \"dev-bob\"\nsecret = \"${BOB_KEY}\"\nuser = \"bob@example.com\"\nteam = \"data\"\n";

/// One shard in front of one account, whose upstream has these words more.
fn start(limits: &str, upstream_words: &str, script: &str) -> (ProviderHandle, Weir) {
    let provider = account(script);
    let narrow = format!("{}{upstream_words}\n", upstream("narrow", provider.addr()));
    let more = format!("{limits}{OTHER}{narrow}{}", model("", &[target("narrow")]));
    let weir = Weir::start_with(&config(1, &more), &[("ALICE_KEY", KEY), ("BOB_KEY", OTHER_KEY)]);
    (provider, weir)
}

fn request(addr: SocketAddr, key: &str, path: &str, class: &str, sim: &str, body: &[u8]) -> Vec<u8> {
    let mut headers = vec![("authorization", key), ("anthropic-version", "2023-06-01")];
    let bearer = format!("Bearer {key}");
    headers[0].1 = &bearer;
    if !class.is_empty() {
        headers.push(("x-claude-code-request-class", class));
    }
    if !sim.is_empty() {
        headers.push(("anthropic-sim", sim));
    }
    request_bytes(addr, "POST", path, &headers, body)
}

fn ask(weir: &Weir, key: &str, class: &str) -> Response {
    let mut connection = Connection::open(weir.clients());
    connection.send(&request(weir.clients(), key, "/v1/messages", class, "", &prompt(false)));
    connection.read_response()
}

/// A request whose answer never ends, or that waits for its turn.
fn begin(weir: &Weir, key: &str, sim: &str) -> Connection {
    let mut connection = Connection::open(weir.clients());
    connection.send(&request(weir.clients(), key, "/v1/messages", "", sim, &prompt(true)));
    connection
}

fn stalled(weir: &Weir, key: &str) -> Connection {
    let mut connection = begin(weir, key, "stall_at=2");
    assert_eq!(connection.read_head().status, 200);
    connection
}

fn waiting(weir: &Weir) -> u64 {
    weir.admin_get("/admin/v1/shards")["data"][0]["requests_waiting"].as_u64().expect("a count")
}

fn wait_for(weir: &Weir, count: u64) {
    eventually(DEADLINE, &format!("{count} wait"), || (waiting(weir) == count).then_some(()));
}

/// Status of one answer; 0 without one.
async fn status_of(clients: SocketAddr, bytes: &[u8]) -> u16 {
    let Ok(mut stream) = TcpStream::connect(clients).await else { return 0 };
    if stream.write_all(bytes).await.is_err() {
        return 0;
    }
    let mut answer = Vec::new();
    let _to_the_end = stream.read_to_end(&mut answer).await;
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    status.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// So many callers at once, each with one call after the other until it is over. Returns how many were answered by status.
fn run_loop(clients: SocketAddr, callers: usize, over: &AtomicBool, begun: &AtomicUsize) -> (usize, usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let bytes = String::from_utf8(request(clients, KEY, "/v1/messages", "", "", &prompt(false))).expect("text");
    // Each on a connection of its own: its end is the answer's end.
    let bytes = bytes.replacen("authorization", "connection: close\r\nauthorization", 1).into_bytes();
    let local = tokio::task::LocalSet::new();
    runtime.block_on(local.run_until(async {
        let calls = (0..callers).map(|_| async {
            let (mut served, mut refused) = (0, 0);
            while !over.load(SeqCst) {
                begun.fetch_add(1, SeqCst);
                match status_of(clients, &bytes).await {
                    200 => served += 1,
                    529 => refused += 1,
                    other => panic!("neither served nor told that there is no room: {other}"),
                }
            }
            (served, refused)
        });
        let all = futures_of(calls).await;
        all.into_iter().fold((0, 0), |sum, (served, refused)| (sum.0 + served, sum.1 + refused))
    }))
}

/// Runs all of them side by side.
async fn futures_of<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.map(Box::pin).map(|call| (call, None)).collect();
    std::future::poll_fn(|task| {
        for (call, done) in calls.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = call.as_mut().poll(task) {
                *done = Some(value);
            }
        }
        match calls.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    calls.into_iter().filter_map(|(_, done)| done).collect()
}

#[test]
fn a_loop_of_five_hundred_calls_stands_in_the_way_of_another_team() {
    let (provider, weir) = start("[limits]\nqueue_wait = \"60s\"\n", "streams_max = 8", "first_ms=20,events=2");
    let (over, begun) = (AtomicBool::new(false), AtomicUsize::new(0));
    let clients = weir.clients();
    let (served, refused) = thread::scope(|scope| {
        let crowd = scope.spawn(|| run_loop(clients, 500, &over, &begun));
        eventually(DEADLINE, "the loop waits in its line", || (waiting(&weir) > 300).then_some(()));
        for _ in 0..20 {
            let answer = ask(&weir, OTHER_KEY, "");
            assert_eq!(answer.status, 200, "{}", answer.text());
            let row = &weir.admin_get("/admin/v1/upstreams")["data"][0];
            assert!(row["in_flight"].as_u64() <= Some(8), "{row}");
        }
        over.store(true, SeqCst);
        crowd.join().expect("the loop ends")
    });
    let all = records(&weir, begun.load(SeqCst) + 20);
    let of = |key: &str| all.iter().filter(|record| record["key"] == key).collect::<Vec<_>>();
    let (loops, others) = (of("dev-alice"), of("dev-bob"));
    assert_eq!((others.len(), loops.len()), (20, served + refused));
    for other in others {
        let ended = |record: &&&Value| record["ended_at"].as_str() > other["started_at"].as_str();
        let meanwhile = loops.iter().filter(|record| record["ended_at"].as_str() < other["ended_at"].as_str());
        // First in, first out would have been some hundreds.
        let passed = meanwhile.filter(ended).count();
        assert!(passed <= 100, "{passed} calls of the loop ended while one other waited: {other}");
    }
    let books = provider.books_when(DEADLINE, |totals| totals.open == 0).expect("the account comes to rest");
    assert_eq!(books.totals.requests, served as u64 + 20, "whoever was refused was never sent");
    let mut booked = weir::loadtest::provider::BilledUsage::default();
    all.iter().for_each(|record| booked.add(&usage_of(record)));
    assert_eq!(booked, books.totals.models[MODEL].usage, "what is booked is what is billed");
    assert!(weir.metric("weir_requests_queued_total", &[]) > 300.0);
    assert_eq!((waiting(&weir), refused), (0, 0), "there was room for all of them to wait");
}

#[test]
fn one_principal_holds_all_places_of_a_shard_or_fills_the_queue_of_the_others() {
    let limits = "[limits]\nstreams = 16\nconnections = 100\nqueue = 8\nqueue_wait = \"60s\"\n";
    let (_provider, weir) = start(limits, "", "");
    let mut held: Vec<Connection> = (0..15).map(|_| stalled(&weir, KEY)).collect();
    let mut line = Vec::new();
    for count in 1..=8 {
        line.push(begin(&weir, KEY, ""));
        wait_for(&weir, count);
    }
    let full = ask(&weir, KEY, "");
    assert_eq!((full.status, full.header("x-weir-origin")), (529, Some("gateway")), "{}", full.text());
    assert_eq!(full.json()["error"]["type"], "overloaded_error");
    let wait: u64 = full.header("retry-after").and_then(|text| text.parse().ok()).expect("retry-after");
    assert!((1..=10).contains(&wait), "{wait}");
    // The last place is not for whoever holds all others; another team has it at once, again and again.
    for _ in 0..5 {
        assert_eq!(ask(&weir, OTHER_KEY, "").status, 200);
    }
    let mine = stalled(&weir, OTHER_KEY);
    // Now all 16 are taken, and the queue is full of the loop's: the other team's next request takes one's place in it.
    let mut next = begin(&weir, OTHER_KEY, "");
    let last = line.pop().map(|mut last| last.read_response().status);
    assert_eq!(last, Some(529), "the loop's last request gives way");
    held.pop();
    assert_eq!(next.read_response().status, 200, "and is served before the seven that wait longer");
    for mut waits in line {
        held.pop();
        assert_eq!(waits.read_response().status, 200);
    }
    drop((held, mine));
    wait_for(&weir, 0);
}

#[test]
fn clients_that_leave_while_they_wait_keep_a_place_or_are_asked_upstream() {
    let (provider, weir) = start("[limits]\nstreams = 1\nconnections = 100\nqueue_wait = \"60s\"\n", "", "");
    let held = stalled(&weir, KEY);
    let line: Vec<Connection> = (0..5).map(|_| begin(&weir, KEY, "")).collect();
    wait_for(&weir, 5);
    drop(line);
    wait_for(&weir, 0);
    drop(held);
    assert_eq!(ask(&weir, OTHER_KEY, "").status, 200);
    let all = records(&weir, 7);
    let left =
        all.iter().filter(|record| record["outcome"] == "client_aborted" && record["upstream"].is_null()).count();
    assert_eq!(left, 5, "{all:?}");
    let books = provider.books_when(DEADLINE, |totals| totals.open == 0).expect("the account comes to rest");
    assert_eq!(books.totals.requests, 2);
}

#[test]
fn a_request_waits_for_a_place_for_ever() {
    let (_provider, weir) = start("[limits]\nqueue_wait = \"50ms\"\n", "streams_max = 1", "");
    let held = stalled(&weir, KEY);
    let answer = ask(&weir, OTHER_KEY, "");
    assert_eq!(answer.status, 529, "{}", answer.text());
    assert!(answer.header("retry-after").is_some() && answer.header("x-weir-origin") == Some("gateway"));
    assert_eq!(weir.metric("weir_requests_turned_away_total", &[]), 1.0);
    drop(held);
    eventually(DEADLINE, "the place is free", || (ask(&weir, OTHER_KEY, "").status == 200).then_some(()));
}

#[test]
fn a_model_with_a_free_account_waits_for_a_full_one() {
    let accounts = [account(""), account("")];
    let more = format!(
        "[limits]\nqueue_wait = \"60s\"\n{}streams_max = 1\n{}{}",
        upstream("account-0", accounts[0].addr()),
        upstream("account-1", accounts[1].addr()),
        model("ordered", &[target("account-0"), target("account-1")]),
    );
    let weir = Weir::start_with(&config(1, &more), &[("ALICE_KEY", KEY)]);
    let _held = stalled(&weir, KEY);
    for _ in 0..3 {
        assert_eq!(ask(&weir, KEY, "").status, 200);
    }
    let asked = accounts[1].books_when(DEADLINE, |totals| totals.requests == 3 && totals.open == 0);
    assert!(asked.is_some(), "the first is full, and nothing ties the request to it");
}

#[test]
fn what_clients_hold_dispensable_is_served_to_the_last_place() {
    let (_provider, weir) = start("[limits]\nstreams = 10\nconnections = 100\n", "", "");
    let mut held: Vec<Connection> = (0..7).map(|_| stalled(&weir, KEY)).collect();
    let all = ["main", "", "compaction", "something-new", "subagent", "workflow", "auxiliary"];
    for class in all {
        assert_eq!(ask(&weir, OTHER_KEY, class).status, 200, "seven of ten: {class}");
    }
    held.push(stalled(&weir, KEY));
    for class in all {
        let wanted = if class == "auxiliary" { 529 } else { 200 };
        assert_eq!(ask(&weir, OTHER_KEY, class).status, wanted, "eight of ten: {class}");
    }
    held.push(stalled(&weir, KEY));
    for class in all {
        let wanted = if ["auxiliary", "subagent", "workflow"].contains(&class) { 529 } else { 200 };
        assert_eq!(ask(&weir, OTHER_KEY, class).status, wanted, "nine of ten: {class}");
    }
    for (path, status, sign) in [
        ("/v1/messages", 529, "overloaded_error"),
        ("/bedrock/model/anthropic.claude-sonnet-4-6/invoke", 503, "nearly full"),
        ("/vertex_ai/v1/projects/p/locations/global/publishers/anthropic/models/m:rawPredict", 503, "UNAVAILABLE"),
    ] {
        let mut connection = Connection::open(weir.clients());
        connection.send(&request(weir.clients(), OTHER_KEY, path, "auxiliary", "", &prompt(false)));
        let answer = connection.read_response();
        let wait: u64 = answer.header("retry-after").and_then(|text| text.parse().ok()).expect("retry-after");
        assert_eq!((answer.status, answer.header("x-weir-origin")), (status, Some("gateway")), "{path}");
        assert!(answer.text().contains(sign) && (1..=10).contains(&wait), "{path}: {}", answer.text());
    }
    assert_eq!(weir.metric("weir_requests_shed_total", &["class=\"auxiliary\""]), 5.0);
    assert_eq!(weir.metric("weir_requests_shed_total", &["class=\"subagent\""]), 2.0);
    assert_eq!(weir.metric("weir_requests_shed_total", &["class=\"main\""]), 0.0);
    eventually(DEADLINE, "all of them are on record", || {
        (weir.metric("weir_refused_total", &["reason=\"overloaded\""]) == 7.0).then_some(())
    });
}
