//! A reload: what is new counts everywhere within a second, what runs goes on, and a broken file changes nothing.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU, nanos};
use crate::support::http::Connection;
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Leave};

/// How long a revoked key may go on, on any shard (interface.md §4).
const REVOKED_WITHIN: Duration = Duration::from_secs(1);
const NEW_KEY: &str = "weir-key-of-carol-0123456789abcdef";
const CAROL: &str =
    "[[key]]\nid = \"dev-carol\"\nsecret = \"${CAROL_KEY}\"\nuser = \"carol@example.com\"\nteam = \"data\"\n";

fn start(more: &str) -> Fleet {
    fleet::start_with(more, &[("CAROL_KEY", NEW_KEY)])
}

/// The configuration without the key of that id.
fn without_key(config: &str, id: &str) -> String {
    let (head, keys) = config.split_once("[[key]]").expect("keys");
    let kept = keys.split("[[key]]").filter(|key| !key.contains(&format!("id = \"{id}\"")));
    kept.fold(head.to_owned(), |all, key| format!("{all}[[key]]{key}"))
}

/// The newest version that all shards serve.
fn version(fleet: &Fleet) -> Option<u64> {
    let shards = fleet.weir.admin_get("/admin/v1/shards");
    (shards["settled"] == true).then(|| shards["version"].as_u64().expect("a version"))
}

/// One kept connection on each shard.
fn one_on_each_shard(fleet: &Fleet) -> Vec<Connection> {
    let mut found: [Option<Connection>; 2] = [None, None];
    eventually(DEADLINE, "a connection on each shard", || {
        let before = fleet.shard_figures("connections_accepted");
        let connection = Connection::open(fleet.weir.clients());
        let place = eventually(DEADLINE, "the connection is counted", || {
            let after = fleet.shard_figures("connections_accepted");
            after.iter().zip(&before).position(|(after, before)| after > before)
        });
        found[place] = Some(connection);
        found.iter().all(Option::is_some).then_some(())
    });
    found.into_iter().flatten().collect()
}

fn status(connection: &mut Connection, clients: SocketAddr, ask: Ask<'_>) -> u16 {
    connection.send(&ask.bytes(clients));
    connection.read_response().status
}

#[test]
fn a_removed_key_goes_on_or_a_new_one_waits() {
    let fleet = start("");
    let (clients, mut on_shards) = (fleet.weir.clients(), one_on_each_shard(&fleet));
    let (alice, carol) = (Ask::default(), Ask { key: NEW_KEY, ..Ask::default() });
    for connection in &mut on_shards {
        assert_eq!(status(connection, clients, alice), 200);
        assert_eq!(status(connection, clients, carol), 401);
    }
    let config = without_key(&fleet::config(fleet.provider.addr(), CAROL), "dev-alice");
    fleet.weir.write_config(&config);
    fleet.weir.sighup();
    // The moment the new configuration can be seen at all is later than the moment it was read.
    eventually(DEADLINE, "the new configuration is out", || (version(&fleet)? > 1).then_some(()));
    let revoked = Instant::now();
    for connection in &mut on_shards {
        while status(connection, clients, alice) != 401 {
            assert!(revoked.elapsed() < REVOKED_WITHIN, "a removed key still works");
        }
        assert_eq!(status(connection, clients, carol), 200, "the new key works on this shard");
        assert_eq!(status(connection, clients, Ask { key: BOB_KEY, model: HAIKU, ..alice }), 200, "the others stay");
    }
}

#[test]
fn budgets_or_models_stay_as_they_were() {
    let budget =
        |amount: &str| format!("[[budget]]\nscope = \"team:platform\"\namount = \"{amount}\"\nperiod = \"monthly\"\n");
    let fleet = start(&budget("1.00"));
    let dear = Ask { sim: "output_tokens=100000 input_tokens=0 events=1", ..Ask::default() };
    fleet.ask_record(dear);
    assert_eq!(fleet.ask(Ask::default()).status, 429);
    let reload = |config: String| {
        fleet.weir.write_config(&config);
        fleet.reload();
    };
    let config = |more: &str| fleet::config(fleet.provider.addr(), more);
    reload(config(&budget("4.00")));
    assert_eq!(fleet.ask(Ask::default()).status, 200, "the raised budget has room");
    // Looked at when nothing runs any more: an answer is at its client before its request is settled.
    let cost = fleet_cost(&fleet);
    let raised = fleet.budget("team:platform");
    assert_eq!((raised.amount, raised.spent), (4_000_000_000, cost), "what was spent stays spent");
    reload(config(""));
    fleet.ask_record(dear);
    reload(config(&budget("4.00")));
    let again = fleet.budget("team:platform");
    assert_eq!(again.spent, fleet_cost(&fleet), "a budget that comes back knows what was spent meanwhile");
    reload(config(&budget("0.50")));
    assert_eq!(fleet.ask(Ask::default()).status, 429, "the lowered budget is spent");
    let models = "[[model]]\nid = \"claude-new-1\"\ntargets = [{ upstream = \"main\" }]\n";
    reload(config(models).replace("id = \"claude-opus-5-5\"", "id = \"claude-opus-5-6\""));
    assert_eq!(fleet.ask(Ask { model: "claude-new-1", ..Ask::default() }).status, 200);
    assert_eq!(fleet.ask(Ask { model: fleet::OPUS, ..Ask::default() }).status, 404, "it is not served any more");
}

fn fleet_cost(fleet: &Fleet) -> i64 {
    fleet.weir.all_booked();
    fleet.usage("").first().map_or(0, |total| nanos(&total["cost_usd"]))
}

#[test]
fn a_running_stream_is_disturbed() {
    let fleet = start("[[budget]]\nscope = \"org\"\namount = \"50.00\"\nperiod = \"daily\"\n");
    let mut stream = Connection::open(fleet.weir.clients());
    let sim = "events=20 gap_ms=50 input_tokens=77 output_tokens=88";
    stream.send(&Ask { sim, stream: true, ..Ask::default() }.bytes(fleet.weir.clients()));
    let head = stream.read_head();
    // Its key, its model and its budget all go away under it.
    let config = fleet::config(fleet.provider.addr(), "").replace("claude-sonnet-4-6", "claude-sonnet-4-5");
    fleet.weir.write_config(&without_key(&config, "dev-alice"));
    fleet.weir.sighup();
    eventually(DEADLINE, "the new configuration is out", || (version(&fleet)? > 1).then_some(()));
    let body = String::from_utf8(stream.read_body(&head)).expect("UTF-8");
    assert!(body.contains("message_stop"), "{body}");
    let record = fleet.record_of(&head);
    assert_eq!((&record["outcome"], &record["key"]), (&"completed".into(), &"dev-alice".into()), "{record}");
    assert_eq!(nanos(&record["cost_usd"]), 77 * 3000 + 88 * 15_000, "at the price it began with");
    assert_eq!(status(&mut stream, fleet.weir.clients(), Ask::default()), 401, "the next request meets the new keys");
}

#[test]
fn a_broken_file_is_taken_in_part_or_refused_in_silence() {
    let fleet = start("");
    let before = version(&fleet);
    let broken = fleet::config(
        fleet.provider.addr(),
        "[shardz]\ncount = 3\n[[budget]]\nscope = \"team\"\namount = \"5\"\nperiod = \"monthly\"\n",
    )
    .replace("upstream = \"main\"", "upstream = \"nowhere\"");
    fleet.weir.write_config(&broken);
    fleet.weir.sighup();
    let log = eventually(DEADLINE, "the refusal is logged", || {
        Some(fleet.weir.log())
            .filter(|log| ["shardz", "budget[0].scope", "nowhere"].iter().all(|word| log.contains(word)))
    });
    assert!(log.contains("reload refused"), "{log}");
    let answer = fleet.weir.admin_request("POST", "/admin/v1/reload", b"");
    assert_eq!(answer.status, 422, "{}", answer.text());
    let errors = answer.json()["error"]["errors"].as_array().expect("a list").len();
    assert!(errors >= 3, "every error at once: {}", answer.text());
    assert_eq!(version(&fleet), before);
    assert_eq!(fleet.ask(Ask { key: ALICE_KEY, ..Ask::default() }).status, 200, "the old configuration stays");
    fleet.weir.write_config(&fleet::config(fleet.provider.addr(), CAROL));
    fleet.weir.sighup();
    eventually(DEADLINE, "a mended file is taken", || (version(&fleet)? > before?).then_some(()));
    assert_eq!(fleet.ask(Ask { key: NEW_KEY, ..Ask::default() }).status, 200);
}

#[test]
fn reloads_under_load_fail_requests_or_forget_what_was_spent() {
    let budget = "[[budget]]\nscope = \"org\"\namount = \"100.00\"\nperiod = \"monthly\"\n";
    let fleet = start(budget);
    let over = AtomicBool::new(false);
    let (mut sent, mut reloads) = (0, 0);
    thread::scope(|scope| {
        let reloader = scope.spawn(|| {
            let mut count = 0;
            while !over.load(SeqCst) {
                // A key comes and goes, and the amount with it: callers of the others must not notice.
                let amount = budget.replace("100.00", if count % 2 == 0 { "90.00" } else { "110.00" });
                let more = if count % 2 == 0 { format!("{CAROL}{amount}") } else { amount };
                fleet.weir.write_config(&fleet::config(fleet.provider.addr(), &more));
                fleet.reload();
                count += 1;
            }
            count
        });
        for round in 0..6 {
            let sim = "events=4 gap_ms=20 first_ms=20 input_tokens=100 output_tokens=100";
            let asks: Vec<_> =
                (0..100).map(|n| (Ask { sim, stream: n % 2 == 0, ..Ask::default() }, Leave::AtTheEnd)).collect();
            for got in swarm::all_at_once(fleet.weir.clients(), &asks) {
                assert!(got.status == 200 && got.whole, "round {round}: {}", got.head);
            }
            sent += asks.len();
        }
        over.store(true, SeqCst);
        reloads = reloader.join().expect("every reload is taken");
    });
    assert!(reloads > 5, "{reloads} reloads");
    let records = fleet.all_records(sent);
    let cost: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    assert_eq!(cost, sent as i64 * (100 * 3000 + 100 * 15_000));
    let budget = fleet.budget("org");
    assert_eq!((budget.spent, budget.reserved), (cost, 0));
}
