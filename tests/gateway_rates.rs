//! Rate limits through the real gateway, on two shards: what a burst gets, who shares a limit, what comes back, and what a
//! refused caller is told.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[path = "gateway_money/fleet.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod fleet;
#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;
#[path = "gateway_money/swarm.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod swarm;

use fleet::{ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU};
use serde_json::Value;
use support::http::{self, Connection, Response};
use support::{DEADLINE, eventually};
use swarm::{Got, Leave};

/// Two callers of one team, besides Bob of another.
const DAVE_KEY: &str = "weir-key-of-dave-0123456789abcdef0";
const DAVE: &str =
    "[[key]]\nid = \"dev-dave\"\nsecret = \"${DAVE_KEY}\"\nuser = \"dave@example.com\"\nteam = \"platform\"\n";

fn start(limits: &str) -> Fleet {
    fleet::start_with(&format!("{DAVE}{limits}"), &[("DAVE_KEY", DAVE_KEY)])
}

fn burst(fleet: &Fleet, asks: &[Ask<'_>]) -> Vec<Got> {
    let asks: Vec<_> = asks.iter().map(|ask| (*ask, Leave::AtTheEnd)).collect();
    swarm::all_at_once(fleet.weir.clients(), &asks)
}

fn count(got: &[Got], status: u16) -> usize {
    got.iter().filter(|got| got.status == status).count()
}

/// A row of `GET /admin/v1/limits`.
fn limit(fleet: &Fleet, scope: &str, limit: &str) -> Value {
    let answer = fleet.weir.admin_get("/admin/v1/limits");
    let rows = answer["data"].as_array().expect("limits");
    let row = rows.iter().find(|row| row["scope"] == scope && row["limit"] == limit);
    row.unwrap_or_else(|| panic!("no {limit} of {scope} in {answer}")).clone()
}

fn refused(response: &Response, message: &str) -> u64 {
    assert_eq!(response.status, 429, "{}", response.text());
    let body = response.json();
    assert_eq!(body["error"]["type"], "rate_limit_error", "{body}");
    let said = body["error"]["message"].as_str().unwrap_or_default();
    assert!(said.starts_with(message), "{said}");
    assert_eq!(response.header("x-weir-origin"), Some("gateway"));
    assert_eq!(response.header("x-should-retry"), None, "a client that may retry must not be told otherwise");
    let seconds = response.header("retry-after").expect("retry-after").parse().expect("whole seconds");
    assert!((1..=60).contains(&seconds), "{seconds}");
    seconds
}

#[test]
fn a_burst_over_both_shards_gets_more_than_the_limit_or_less() {
    let fleet = start("[[rate_limit]]\nscope = \"team:platform\"\nrequests_per_minute = 20\n");
    // Two keys of one team share it, a third of another team is not touched.
    let asks: Vec<_> = (0..60)
        .map(|n| match n % 3 {
            0 => Ask::default(),
            1 => Ask { key: DAVE_KEY, ..Ask::default() },
            _ => Ask { key: BOB_KEY, model: HAIKU, ..Ask::default() },
        })
        .collect();
    let got = burst(&fleet, &asks);
    let team: Vec<Got> =
        got.iter().zip(&asks).filter(|(_, ask)| ask.key != BOB_KEY).map(|(got, _)| got.clone()).collect();
    assert_eq!((count(&team, 200), count(&team, 429)), (20, 20));
    assert_eq!(count(&got, 200), 40, "the other team is not touched");
    assert!(team.iter().filter(|got| got.status == 429).all(|got| got.error_type() == "rate_limit_error"));
    let row = limit(&fleet, "team:platform", "requests_per_minute");
    assert_eq!((&row["amount"], &row["refused"]), (&20.into(), &20.into()), "{row}");
    assert_eq!((&row["used"], &row["remaining"]), (&20.into(), &0.into()), "refused ones use nothing: {row}");
    let records = fleet.all_records(60);
    let limited = records.iter().filter(|record| record["refused_by"] == "rate_limited").count();
    assert_eq!(limited, 20);
    let metric = |reason: &str| fleet.weir.metric("weir_refused_total", &[reason]);
    assert_eq!((metric("reason=\"rate_limited\""), metric("reason=\"budget_spent\"")), (20.0, 0.0));
}

#[test]
fn the_last_requests_of_a_minute_lie_unused_in_the_other_shards_slice() {
    let fleet = start("[[rate_limit]]\nscope = \"key:*\"\nrequests_per_minute = 300\n");
    // Large enough that shards take slices of many requests.
    let got = burst(&fleet, &vec![Ask::default(); 200]);
    assert_eq!(count(&got, 200), 200);
    let mut served = 200 + count(&burst(&fleet, &vec![Ask::default(); 160]), 200);
    assert!(served <= 300, "{served}");
    // A busy machine may have refused some before the other shard's next tick; they find their room now.
    while fleet.ask(Ask::default()).status == 200 {
        served += 1;
        assert!(served <= 300, "more than the limit");
    }
    assert_eq!(served, 300);
}

#[test]
fn a_limited_caller_is_told_to_come_back_never_or_not_when() {
    let fleet = start("[[rate_limit]]\nscope = \"user:*\"\nrequests_per_minute = 2\n");
    assert_eq!(fleet.ask(Ask::default()).status, 200);
    let models = |key: &str| http::request(fleet.weir.clients(), "GET", "/v1/models", &[("x-api-key", key)], b"");
    assert_eq!(models(ALICE_KEY).status, 200);
    let message = "rate limit reached: 2 requests per minute for this user; try again in ";
    let seconds = refused(&fleet.ask(Ask::default()), message);
    assert!(seconds > 30, "the first of them is a minute away: {seconds}");
    refused(&models(ALICE_KEY), message);
    refused(&fleet.ask(Ask { path: "/v1/messages/count_tokens", ..Ask::default() }), message);
    assert_eq!(models(BOB_KEY).status, 200, "each user has a limit of its own");
}

#[test]
fn attempts_of_a_client_that_retries_are_counted_once_or_never_end() {
    let fleet = start("[[rate_limit]]\nscope = \"key:*\"\nrequests_per_minute = 5\n");
    // An upstream that fails counts, each time; a refusal counts for nothing.
    let fails = Ask { sim: "status=400", ..Ask::default() };
    for _ in 0..5 {
        assert_eq!(fleet.ask(fails).status, 400);
    }
    for _ in 0..11 {
        refused(&fleet.ask(Ask::default()), "rate limit reached: 5 requests per minute for this key");
    }
    let row = limit(&fleet, "key:dev-alice", "requests_per_minute");
    assert_eq!((&row["used"], &row["refused"]), (&5.into(), &11.into()), "{row}");
    assert!(row["last_refused_at"].is_string());
}

#[test]
fn places_of_callers_that_went_away_stay_taken() {
    let fleet = start("[[rate_limit]]\nscope = \"project:checkout\"\nconcurrent_requests = 3\n");
    let slow = Ask { sim: "events=1000 gap_ms=50", stream: true, ..Ask::default() };
    for leave in [Leave::After(600), Leave::ResetAfter(600), Leave::AtOnce] {
        let got = swarm::all_at_once(fleet.weir.clients(), &[(slow, leave); 3]);
        assert!(leave == Leave::AtOnce || count(&got, 200) == 3, "{leave:?}");
        eventually(DEADLINE, "the places are free again", || (fleet.running() == 0).then_some(()));
    }
    let mut streams: Vec<Connection> = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(fleet.weir.clients());
        connection.send(&slow.bytes(fleet.weir.clients()));
        assert_eq!(connection.read_head().status, 200);
        streams.push(connection);
    }
    refused(&fleet.ask(Ask::default()), "rate limit reached: 3 concurrent requests for this project");
    let counting = Ask { path: "/v1/messages/count_tokens", ..Ask::default() };
    assert_eq!(fleet.ask(counting).status, 200, "only requests per minute hold for it");
    drop(streams.pop());
    eventually(DEADLINE, "one place is free again", || (fleet.ask(Ask::default()).status == 200).then_some(()));
    let row = limit(&fleet, "project:checkout", "concurrent_requests");
    assert!(row["used"].as_i64() <= Some(3), "{row}");
}

#[test]
fn a_prompt_is_counted_by_its_estimate_or_reads_as_input() {
    let fleet =
        start("[[rate_limit]]\nscope = \"org\"\ninput_tokens_per_minute = 10_000\ncache_read_weight = \"0.1\"\n");
    let used = || limit(&fleet, "org", "input_tokens_per_minute")["used"].as_i64().expect("a number");
    // Estimated at 5,000 tokens; 1,000 and a tenth of 20,000 were used.
    let ask = Ask { sim: "input_tokens=1000 cache_read=20000 output_tokens=5", prompt_bytes: 20_000, ..Ask::default() };
    fleet.ask_record(ask);
    eventually(DEADLINE, "slices have come back", || (used() == 3000).then_some(()));
    fleet.ask_record(Ask { sim: "input_tokens=9000 output_tokens=5", ..Ask::default() });
    eventually(DEADLINE, "slices have come back", || (used() == 12_000).then_some(()));
    refused(&fleet.ask(Ask::default()), "rate limit reached: 10000 input tokens per minute for this organization");
}

#[test]
fn an_answer_longer_than_the_limit_is_followed_by_the_next() {
    let fleet = start("[[rate_limit]]\nscope = \"user:*\"\noutput_tokens_per_minute = 1000\n");
    let ask = Ask { sim: "input_tokens=10 output_tokens=900", ..Ask::default() };
    fleet.ask_record(ask);
    fleet.ask_record(ask);
    refused(&fleet.ask(ask), "rate limit reached: 1000 output tokens per minute for this user");
    let row = limit(&fleet, "user:alice@example.com", "output_tokens_per_minute");
    assert_eq!((&row["used"], &row["remaining"]), (&1800.into(), &(-800).into()), "{row}");
}

#[test]
fn a_reload_forgets_who_used_what_or_keeps_old_limits() {
    let limits = |n: u32| format!("{DAVE}[[rate_limit]]\nscope = \"team:*\"\nrequests_per_minute = {n}\n");
    let fleet = fleet::start_with(&limits(2), &[("DAVE_KEY", DAVE_KEY)]);
    let reload = |more: &str| {
        fleet.weir.write_config(&fleet::config(fleet.provider.addr(), more));
        fleet.reload();
    };
    let statuses = |n: usize| (0..n).map(|_| fleet.ask(Ask::default()).status).collect::<Vec<_>>();
    assert_eq!(statuses(3), [200, 200, 429]);
    reload(&limits(4));
    assert_eq!(statuses(3), [200, 200, 429], "two more, not four");
    reload(&limits(1));
    assert_eq!(statuses(1), [429]);
    reload(DAVE);
    assert_eq!(statuses(2), [200, 200], "no limit any more");
    assert_eq!(fleet.weir.admin_get("/admin/v1/limits")["data"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_request_that_its_budget_refuses_uses_up_a_limit() {
    let fleet = start(
        "[[rate_limit]]\nscope = \"user:*\"\nrequests_per_minute = 10\nconcurrent_requests = 2\ninput_tokens_per_minute = 1000\n\
         [[budget]]\nscope = \"team:platform\"\namount = \"0.00\"\nperiod = \"daily\"\n",
    );
    for _ in 0..30 {
        let answer = fleet.ask(Ask::default());
        assert_eq!((answer.status, answer.json()["error"]["type"].as_str()), (429, Some("billing_error")));
    }
    for name in ["requests_per_minute", "concurrent_requests", "input_tokens_per_minute"] {
        eventually(DEADLINE, "nothing is used", || {
            (limit(&fleet, "user:alice@example.com", name)["used"] == 0).then_some(())
        });
    }
}
