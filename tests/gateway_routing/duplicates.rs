//! The same turn asked for twice: a client that gave up waiting and asks again while its first request still runs.

use serde_json::Value;
use weir::loadtest::provider::{Outcome, ProviderHandle};

use crate::fixture::{KEY, account, config, model, prompt_of, target, upstream};
use crate::support::http::{Connection, Response, request_bytes};
use crate::support::{DEADLINE, Weir, eventually};

const OTHER_KEY: &str = "weir-key-of-another-caller-0123456789abcdef";
const OTHER: &str = "[[key]]\nid = \"dev-bob\"\nsecret = \"${BOB_KEY}\"\nuser = \"bob@example.com\"\n";

/// Two shards in front of one account.
fn start(more: &str) -> (ProviderHandle, Weir) {
    let provider = account("");
    let more = format!("{more}{OTHER}{}{}", upstream("main", provider.addr()), model("", &[target("main")]));
    let weir = Weir::start_with(&config(2, &more), &[("ALICE_KEY", KEY), ("BOB_KEY", OTHER_KEY)]);
    (provider, weir)
}

fn bytes(weir: &Weir, key: &str, session: &str, sim: &str, text: &str) -> Vec<u8> {
    let mut headers = vec![("x-api-key", key), ("anthropic-version", "2023-06-01")];
    if !session.is_empty() {
        headers.push(("x-claude-code-session-id", session));
    }
    if !sim.is_empty() {
        headers.push(("anthropic-sim", sim));
    }
    request_bytes(weir.clients(), "POST", "/v1/messages", &headers, &prompt_of(true, text))
}

/// A request whose answer stops in its middle; its connection, and its id.
fn stalled(weir: &Weir) -> (Connection, String) {
    let mut connection = Connection::open(weir.clients());
    connection.send(&bytes(weir, KEY, "session-1", "stall_at=3", "hello"));
    let head = connection.read_head();
    assert_eq!(head.status, 200);
    (connection, id_of(&head))
}

fn id_of(answer: &Response) -> String {
    answer.header("x-weir-request-id").expect("every answer has an id").to_owned()
}

fn ask(weir: &Weir, key: &str, session: &str, text: &str) -> String {
    let mut connection = Connection::open(weir.clients());
    connection.send(&bytes(weir, key, session, "", text));
    let answer = connection.read_response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    id_of(&answer)
}

fn record(weir: &Weir, id: &str) -> Value {
    eventually(DEADLINE, &format!("the record of {id}"), || {
        weir.admin_get(&format!("/admin/v1/requests?request_id={id}"))["data"].as_array()?.first().cloned()
    })
}

fn cost(record: &Value) -> f64 {
    record["cost_usd"].as_str().and_then(|text| text.parse().ok()).expect("dollars")
}

fn assert_dollars(weir: &Weir, metric: &str, wanted: f64) {
    eventually(DEADLINE, &format!("{metric} is {wanted}"), || {
        ((weir.metric(metric, &[]) - wanted).abs() < 1e-9).then_some(())
    });
}

#[test]
fn requests_that_only_look_alike_are_taken_for_copies_or_copies_are_not_seen() {
    for (policy, seen) in [("", false), ("[limits]\nduplicates = \"count\"\n", true)] {
        let (_provider, weir) = start(policy);
        let (connection, first) = stalled(&weir);
        let others = [
            ask(&weir, KEY, "session-2", "hello"),
            ask(&weir, OTHER_KEY, "session-1", "hello"),
            ask(&weir, KEY, "session-1", "hellp"),
            ask(&weir, KEY, "", "hello"),
            ask(&weir, KEY, "", "hello"),
        ];
        let second = ask(&weir, KEY, "session-1", "hello");
        drop(connection);
        for id in &others {
            let record = record(&weir, id);
            assert!(record["duplicate_of"].is_null() && record["repeated_by"].is_null(), "{record}");
        }
        let (one, two) = (record(&weir, &first), record(&weir, &second));
        let expected = |id: &String| if seen { Value::from(id.as_str()) } else { Value::Null };
        assert_eq!((&one["repeated_by"], &one["duplicate_of"]), (&expected(&second), &Value::Null), "{one}");
        assert_eq!((&two["duplicate_of"], &two["repeated_by"]), (&expected(&first), &Value::Null), "{two}");
        assert_eq!((&one["outcome"], &one["refused_by"]), (&"client_aborted".into(), &Value::Null), "nobody ended it");
        assert_eq!(weir.metric("weir_duplicate_turns_total", &[]), f64::from(u8::from(seen)));
        assert_dollars(&weir, "weir_duplicate_turns_lost_usd_total", if seen { cost(&one) } else { 0.0 });
        assert_dollars(&weir, "weir_duplicate_turns_saved_usd_total", 0.0);
        // What is over is no copy of anything.
        let third = record(&weir, &ask(&weir, KEY, "session-1", "hello"));
        assert!(third["duplicate_of"].is_null(), "{third}");
    }
}

#[test]
fn a_turn_that_nobody_waits_for_runs_on_beside_its_copy() {
    // With the audit's digest of the body, and with one of its own.
    for audit in ["", "[audit]\nbodies = \"hash\"\n"] {
        let (provider, weir) = start(&format!("[limits]\nduplicates = \"cancel_first\"\n{audit}"));
        let (mut connection, first) = stalled(&weir);
        // The copy's body comes slowly: as long as it is not whole, nobody can know.
        let request = bytes(&weir, KEY, "session-1", "", "hello");
        let (begun, rest) = request.split_at(request.len() - 10);
        let mut copy = Connection::open(weir.clients());
        copy.send(begun);
        provider.books_when(DEADLINE, |totals| totals.open == 2).expect("the copy is on its way up");
        let running = weir.admin_get("/admin/v1/requests?limit=10");
        assert_eq!(running["data"].as_array().map(Vec::len), Some(0), "and the first runs: {running}");
        copy.send(rest);
        let answer = copy.read_response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        connection.read_to_end();
        let (one, two) = (record(&weir, &first), record(&weir, &id_of(&answer)));
        assert_eq!((&one["outcome"], &one["refused_by"]), (&"client_aborted".into(), &"superseded".into()), "{one}");
        assert_eq!((&one["repeated_by"], &two["duplicate_of"]), (&two["request_id"], &one["request_id"]));
        assert_eq!((&two["outcome"], &two["refused_by"]), (&"completed".into(), &Value::Null), "{two}");
        assert!(cost(&one) > 0.0 && one["usage_source"] == "estimated", "what it used is booked: {one}");
        assert_dollars(&weir, "weir_duplicate_turns_lost_usd_total", cost(&one));
        assert_dollars(&weir, "weir_duplicate_turns_saved_usd_total", cost(&two) - cost(&one));
        let books = provider.books_when(DEADLINE, |totals| totals.open == 0).expect("the account comes to rest");
        let gone = books.entries.iter().filter(|entry| entry.outcome == Outcome::ClientGone).count();
        assert_eq!((books.totals.requests, gone), (2, 1), "the first was ended at the provider, too");
        // A copy of what was cut is no copy of it any more.
        assert!(record(&weir, &ask(&weir, KEY, "session-1", "hello"))["duplicate_of"].is_null());
    }
}

#[test]
fn a_copy_that_is_refused_ends_what_runs() {
    let more = "[limits]\nduplicates = \"cancel_first\"\n\
                [[rate_limit]]\nscope = \"key:dev-alice\"\nconcurrent_requests = 1\n";
    let (_provider, weir) = start(more);
    let (connection, first) = stalled(&weir);
    let mut copy = Connection::open(weir.clients());
    copy.send(&bytes(&weir, KEY, "session-1", "", "hello"));
    assert_eq!(copy.read_response().status, 429);
    assert_eq!(weir.metric("weir_duplicate_turns_total", &[]), 0.0);
    drop(connection);
    let one = record(&weir, &first);
    assert_eq!((&one["refused_by"], &one["repeated_by"]), (&Value::Null, &Value::Null), "{one}");
}
