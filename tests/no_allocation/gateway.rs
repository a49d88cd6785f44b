//! A whole gateway in this process, one shard on io_uring with everything on, before the simulated provider.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use weir::boot::{self, Source};
use weir::kernel::limits::TICK;
use weir::loadtest::generator::workload::Workload;
use weir::loadtest::generator::{RunOptions, run};
use weir::loadtest::provider::{self, ProviderOptions};
use weir::sys::counting::{shard_allocations, shard_ring_entries, shard_socket_calls};

/// What a shard may allocate for a whole request of 2 KB up and 2 KB down, on kept connections: 9 when this was written.
const UNARY_ALLOCATIONS: f64 = 10.0;
/// How often it may enter its ring for one, where nothing else waits to share the entry: 2, to wait for two reads.
const UNARY_RING_ENTRIES: f64 = 3.0;
/// How often it may call its sockets for one: 5, to read twice, to send twice and to look at the kept connection to the upstream.
const UNARY_SOCKET_CALLS: f64 = 5.5;
/// How often it may enter its ring for an event that comes alone: once, to wait for it.
const EVENT_RING_ENTRIES: f64 = 1.5;
/// How often it may call its sockets for one: twice, to read it and to send it.
const EVENT_SOCKET_CALLS: f64 = 2.25;
/// What else may add to a count while it is taken, besides one allocation a tick.
const TICKS: u64 = 40;

const KEY: &str = "sk-count";

fn gateway(provider: SocketAddr) -> String {
    let dir = tempfile::tempdir().expect("a store");
    let text = format!(
        r#"[listen]
clients = "127.0.0.1:0"
admin = "127.0.0.1:0"
[shards]
count = 1
pin = false
driver = "io_uring"
[store]
path = "{}"
[admin]
token = "${{TOKEN}}"
[[upstream]]
name = "provider"
provider = "anthropic"
base_url = "http://{provider}"
auth = {{ api_key = "${{KEY}}" }}
[models]
passthrough = true
[[key]]
id = "count"
secret = "${{KEY}}"
user = "count@example.com"
team = "count"
[[budget]]
scope = "team:count"
amount = "1000000.00"
period = "monthly"
[[rate_limit]]
scope = "team:count"
requests_per_minute = 100_000_000
input_tokens_per_minute = 100_000_000_000
"#,
        dir.path().display()
    );
    let environment = vec![("TOKEN".to_owned(), "admin".to_owned()), ("KEY".to_owned(), KEY.to_owned())];
    let (send, ready) = mpsc::channel();
    // It serves until this process ends.
    std::thread::spawn(move || {
        let _store = dir;
        boot::serve(Source::Text { text, environment }, false, |at| send.send(at.clients).expect("somebody waits"))
    });
    let clients = ready.recv_timeout(Duration::from_secs(60)).expect("the gateway is ready");
    format!("http://{clients}")
}

/// What shards did.
struct Counts {
    allocations: u64,
    ring_entries: u64,
    socket_calls: u64,
}

impl Counts {
    fn now() -> Self {
        let (ring_entries, socket_calls) = (shard_ring_entries(), shard_socket_calls());
        Self { allocations: shard_allocations(), ring_entries, socket_calls }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            allocations: self.allocations.saturating_sub(before.allocations),
            ring_entries: self.ring_entries.saturating_sub(before.ring_entries),
            socket_calls: self.socket_calls.saturating_sub(before.socket_calls),
        }
    }
}

/// What shards did for so many requests after one another.
fn count(target: &str, workload: &Workload, requests: u64) -> Counts {
    let options = RunOptions {
        target: target.to_owned(),
        certificate: None,
        key: KEY.to_owned(),
        workload: workload.clone(),
        time: None,
        requests: Some(requests),
        connections: Some(1),
        rate: None,
        verify: false,
        seed: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let before = Counts::now();
    let report = runtime.block_on(run(&options)).expect("a run").report;
    assert_eq!((report.requests, report.error_count()), (requests, 0), "{:?}", report.errors);
    Counts::now().since(&before)
}

#[test]
fn a_request_or_an_event_costs_more_allocations_or_ring_entries_than_said() {
    let provider = provider::start(ProviderOptions::default()).expect("a provider");
    let target = gateway(provider.addr());
    let unary = Workload::named("unary", 0).expect("a workload");
    count(&target, &unary, 100);
    let Counts { allocations, ring_entries, socket_calls } = count(&target, &unary, 400);
    assert!(allocations > 0 && ring_entries > 0 && socket_calls > 0, "nothing is counted");
    let each = |total: u64, count: u64| total as f64 / count as f64;
    let (entries, calls) = (each(ring_entries, 400), each(socket_calls, 400));
    println!("a unary request: {:.2} allocations, {entries:.2} ring entries, {calls:.2} calls", each(allocations, 400));
    assert!(each(allocations, 400) <= UNARY_ALLOCATIONS, "{allocations} allocations in 400 requests");
    assert!(entries <= UNARY_RING_ENTRIES, "{entries} ring entries a request");
    assert!(calls <= UNARY_SOCKET_CALLS, "{calls} calls a request");

    // Two streams that differ by a thousand events and by nothing else.
    let stream = |events: u64| Workload::spread(1, 1, events);
    count(&target, &stream(500), 1);
    let short = count(&target, &stream(500), 1);
    let began = Instant::now();
    let long = count(&target, &stream(1500), 1);
    // What shards do at each tick goes by the time, and a busy machine takes more of it.
    let ticks = (began.elapsed().as_millis() / TICK.as_millis()) as u64;
    let more = long.since(&short);
    let (entries, calls) = (each(more.ring_entries, 1000), each(more.socket_calls, 1000));
    println!(
        "a thousand events more: {} allocations, {entries:.2} ring entries and {calls:.2} calls each",
        more.allocations
    );
    assert!(
        more.allocations <= TICKS + ticks,
        "{} allocations for 500 events, {} for 1,500: some event allocates",
        short.allocations,
        long.allocations
    );
    assert!(entries <= EVENT_RING_ENTRIES, "{entries} ring entries an event");
    assert!(calls <= EVENT_SOCKET_CALLS, "{calls} calls an event");
}
