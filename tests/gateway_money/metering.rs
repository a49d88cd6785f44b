//! What is booked is what the provider bills, to the token and to the nano-dollar.

use serde_json::Value;
use weir::loadtest::provider::Entry;

use crate::fleet::{self, Ask, Fleet, HAIKU, OPUS, SONNET, UNKNOWN, bill, nanos, usage_of};
use crate::support::http;

/// The provider's entry of a record.
fn entry_of(fleet: &Fleet, record: &Value) -> Entry {
    let id = record["upstream_request_id"].as_str().expect("the provider's id").to_owned();
    let books = fleet.books(1);
    let found = books.entries.into_iter().find(|entry| entry.request_id == id);
    found.unwrap_or_else(|| panic!("the provider knows nothing of {record}"))
}

fn assert_booked(fleet: &Fleet, what: &str, ask: Ask<'_>) {
    let record = fleet.ask_record(ask);
    let entry = entry_of(fleet, &record);
    assert_eq!(usage_of(&record), entry.usage, "{what}: {record}");
    assert_eq!(record["usage_source"], "reported", "{what}");
    assert_eq!(record["outcome"], "completed", "{what}");
    assert_eq!(record["stream"], ask.stream, "{what}");
    assert_eq!(nanos(&record["cost_usd"]), bill(ask.model, &entry.usage), "{what}: {record}");
    assert_eq!(record["response_bytes"], entry.response_bytes, "{what}");
    assert_eq!(record["request_bytes"], entry.request_bytes, "{what}");
}

const ALL_KINDS: &str = "input_tokens=1234 cache_read=200001 cache_5m=777 cache_1h=4321 output_tokens=555 web_search=3";

#[test]
fn an_answer_cut_into_odd_pieces_is_booked_otherwise_than_billed() {
    let fleet = fleet::start("");
    for framing in [
        "",
        "chunk=split",
        "chunk=merged crlf=1",
        "chunk=ext trailers=1",
        "chunk=split crlf=1 comments=1 unknown_events=1",
        "until_close=1",
        "trickle=7 events=2",
        "gzip=1",
        "thinking=1 unknown_events=1",
        "events=400 event_bytes=300",
        "events=1 event_bytes=200000 chunk=split",
        "hundred=103",
    ] {
        for stream in [false, true] {
            let sim = format!("{ALL_KINDS} {framing}");
            assert_booked(&fleet, &format!("{framing}, stream: {stream}"), Ask { stream, sim: &sim, ..Ask::default() });
        }
    }
    let sim = format!("{ALL_KINDS} length=1");
    assert_booked(&fleet, "length", Ask { stream: true, sim: &sim, ..Ask::default() });
    // The provider counts by itself where the script does not say.
    assert_booked(&fleet, "natural", Ask { stream: true, path: "/anthropic/v1/messages", ..Ask::default() });
    assert_eq!(fleet.shard_figures("meters_gave_up"), [0, 0]);
}

#[test]
fn a_prompt_at_the_tier_edge_costs_another_price() {
    let fleet = fleet::start("");
    for model in [SONNET, OPUS, HAIKU] {
        for (stream, prompt) in [
            (false, "input_tokens=100000"),
            (true, "input_tokens=100001"),
            (true, "input_tokens=9000 cache_read=90000 cache_5m=400 cache_1h=600"),
            (false, "input_tokens=9000 cache_read=90000 cache_5m=401 cache_1h=600"),
            (true, "input_tokens=1 cache_read=7 cache_5m=3 cache_1h=5"),
        ] {
            let sim = format!("{prompt} output_tokens=333 events=2");
            assert_booked(&fleet, &format!("{model}, {prompt}"), Ask { model, stream, sim: &sim, ..Ask::default() });
        }
    }
}

#[test]
fn fast_residency_or_batch_answers_are_booked_at_the_plain_price() {
    let fleet = fleet::start("");
    for (model, service, over, under) in [
        (OPUS, "speed=fast", 2, 1),
        (OPUS, "geo=us", 11, 10),
        (OPUS, "tier=batch", 1, 2),
        (OPUS, "speed=fast geo=us", 22, 10),
        (SONNET, "speed=fast", 1, 1),
        (SONNET, "geo=us tier=batch", 11, 20),
        (HAIKU, "tier=priority geo=global speed=standard", 1, 1),
    ] {
        for stream in [false, true] {
            let sim = format!("input_tokens=1000 cache_read=2000 cache_5m=40 cache_1h=60 output_tokens=500 {service}");
            let record = fleet.ask_record(Ask { model, stream, sim: &sim, ..Ask::default() });
            let plain = bill(model, &entry_of(&fleet, &record).usage);
            assert_eq!(nanos(&record["cost_usd"]), plain * over / under, "{model} {service} {stream}");
        }
    }
}

#[test]
fn a_model_without_a_price_is_free_or_an_alias_has_another_price() {
    let fleet = fleet::start("");
    let sim = ALL_KINDS;
    assert_booked(&fleet, "unknown", Ask { model: UNKNOWN, sim, ..Ask::default() });
    let record = fleet.ask_record(Ask { model: "sonnet", sim, ..Ask::default() });
    let entry = entry_of(&fleet, &record);
    assert_eq!(entry.model, SONNET, "the provider is asked for its own id");
    assert_eq!(nanos(&record["cost_usd"]), bill(SONNET, &entry.usage));
    assert_eq!((&record["model_requested"], &record["model_served"]), (&"sonnet".into(), &SONNET.into()), "{record}");
    // Claude Code's mark of a long window is its own, and no other model.
    let record = fleet.ask_record(Ask { model: "claude-sonnet-4-6[1m]", sim, ..Ask::default() });
    assert_eq!(nanos(&record["cost_usd"]), bill(SONNET, &entry.usage));
    assert_eq!(entry_of(&fleet, &record).model, SONNET);
}

#[test]
fn the_operators_own_prices_or_multiplier_are_forgotten() {
    let more = r#"
[pricing]
multiplier = "0.5"
unknown_model = { input = "7.00", output = "70.00" }

[[price]]
upstream = "second"
model = "claude-sonnet-4-6"
input = "3.30"
output = "16.50"
cache_read = "0.33"
"#;
    let fleet = fleet::start(more);
    let sim = "input_tokens=1000 cache_read=100 cache_5m=8 cache_1h=4 output_tokens=10 web_search=1";
    let cost = |model| nanos(&fleet.ask_record(Ask { model, sim, ..Ask::default() })["cost_usd"]);
    let list = 3_000_000 + 30_000 + 30_000 + 24_000 + 150_000;
    assert_eq!(cost(SONNET), list / 2 + 10_000_000, "searches are not part of the contract");
    let own = 3_300_000 + 33_000 + 8 * 4125 + 4 * 6600 + 165_000;
    assert_eq!(cost("dear"), own / 2 + 10_000_000);
    let unknown = 7_000_000 + 70_000 + 8 * 8750 + 4 * 14_000 + 700_000;
    assert_eq!(cost(UNKNOWN), unknown / 2 + 10_000_000);
    let version = fleet.records("limit=1")[0]["price_version"].as_str().expect("a version").to_owned();
    assert!(version.contains('+'), "the operator's changes show in the table's name: {version}");
}

#[test]
fn counting_tokens_listing_models_or_a_failed_answer_costs_money() {
    let fleet = fleet::start("");
    let counted = fleet.ask_record(Ask { path: "/v1/messages/count_tokens", ..Ask::default() });
    assert_eq!((&counted["operation"], &counted["status"]), (&"count_tokens".into(), &200.into()), "{counted}");
    assert_eq!(counted["upstream"], "main");
    assert_free(&counted);
    let key = [("x-api-key", fleet::ALICE_KEY)];
    let models = http::request(fleet.weir.clients(), "GET", "/v1/models?limit=1000", &key, b"");
    assert_eq!(models.status, 200);
    let listed = fleet.record_of(&models);
    assert_eq!((&listed["operation"], &listed["key"]), (&"models".into(), &"dev-alice".into()), "{listed}");
    assert_free(&listed);
    for status in [400, 403, 404, 413, 429, 500, 529] {
        let sim = format!("status={status} input_tokens=1000 output_tokens=1000");
        for stream in [false, true] {
            let response = fleet.ask(Ask { sim: &sim, stream, ..Ask::default() });
            assert_eq!(response.status, status);
            let record = fleet.record_of(&response);
            assert_eq!((&record["status"], &record["outcome"]), (&status.into(), &"completed".into()), "{record}");
            assert_free(&record);
        }
    }
    let ours = fleet.ask(Ask { model: "claude-opus-4-6", ..Ask::default() });
    assert_eq!((ours.status, ours.header("x-should-retry")), (502, Some("false")), "our own key was refused");
    let record = fleet.record_of(&ours);
    assert_eq!((&record["outcome"], &record["refused_by"]), (&"upstream_failed".into(), &"upstream_credential".into()));
    assert_free(&record);
}

fn assert_free(record: &Value) {
    assert_eq!(usage_of(record), Default::default(), "{record}");
    assert_eq!((&record["usage_source"], nanos(&record["cost_usd"])), (&"none".into(), 0), "{record}");
}

#[test]
fn a_broken_or_abandoned_answer_is_free() {
    let fleet = fleet::start("");
    for cut in ["error_at=6", "reset_at=6", "close_at=6"] {
        let sim = format!("{cut} events=40 event_bytes=100 input_tokens=5000 cache_read=300 output_tokens=1000");
        let mut connection = http::Connection::open(fleet.weir.clients());
        connection.send(&Ask { stream: true, sim: &sim, ..Ask::default() }.bytes(fleet.weir.clients()));
        let head = connection.read_head();
        assert_eq!(head.status, 200);
        // A provider that ends with an error event has ended well; of the others as much as comes, up to the reset.
        let came = if cut.starts_with("error") { connection.read_body(&head) } else { connection.read_to_end() };
        assert!(!String::from_utf8_lossy(&came).contains("message_stop"), "{cut}: the end is never faked");
        let record = fleet.record_of(&head);
        let used = usage_of(&record);
        assert_eq!(record["usage_source"], "estimated", "{cut}: {record}");
        assert_eq!((used.input, used.cache_read), (5000, 300), "{cut}: {record}");
        assert!((20..1000).contains(&used.output), "{cut}: what has passed counts: {record}");
        assert_eq!(nanos(&record["cost_usd"]), bill(SONNET, &used), "{cut}");
    }
}
