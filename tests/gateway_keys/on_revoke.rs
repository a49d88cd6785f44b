//! `[keys] on_revoke = "end"`: what runs with a revoked key is ended honestly, and booked with what it used.

use serde_json::{Value, json};

use crate::fixture::{self, ALICE_KEY, Gateway, assert_refused, message, rest_of};
use crate::support::http::Connection;
use crate::support::{DEADLINE, eventually};

const END: &str = "[keys]\non_revoke = \"end\"\n";
/// A stream that nobody waits for to the end.
const LONG: &str = "events=20000,gap_ms=20";

/// The records of the requests that the revocation ended, and nothing runs for them any more.
fn ended(gateway: &Gateway, count: usize) -> Vec<Value> {
    let records = gateway.records("made", count);
    for record in &records {
        assert_eq!((&record["outcome"], &record["refused_by"]), (&"refused".into(), &"key_revoked".into()), "{record}");
        assert_eq!(record["usage_source"], "estimated", "{record}");
        assert_ne!(record["cost_usd"], "0.000000000", "{record}");
        assert_eq!(record["attempts"][0]["result"], "cancelled", "{record}");
    }
    records
}

#[test]
fn a_running_stream_of_a_revoked_key_goes_on_or_takes_others_with_it() {
    let gateway = fixture::start(END);
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut streams = gateway.streams(&secret, LONG);
    let mut others = gateway.streams(ALICE_KEY, "events=50,gap_ms=20");
    gateway.revoke("made");
    for stream in &mut streams {
        let text = rest_of(stream);
        assert!(text.contains("event: error") && text.contains("authentication_error"), "{text}");
        assert!(text.contains("has been revoked") && !text.contains("message_stop"), "{text}");
        assert!(stream.is_closed());
    }
    for stream in &mut others {
        assert!(rest_of(stream).contains("message_stop"));
    }
    let records = ended(&gateway, streams.len());
    assert!(records.iter().all(|record| record["usage"]["output"].as_u64() > Some(0)), "{records:?}");
    let (all, cut) = (streams.len() + others.len(), streams.len() as u64);
    gateway.provider.books_of(all as u64);
    // What was used counts where money is counted, refused or not.
    let usage = gateway.weir.admin_get("/admin/v1/usage?group_by=key");
    let row = usage["data"].as_array().expect("rows").iter().find(|row| row["key"] == "made").cloned();
    assert_eq!(row.expect("a row")["requests"], cut, "{usage}");
    assert!(gateway.weir.metric("weir_refused_total", &["reason=\"key_revoked\""]) == cut as f64);
}

#[test]
fn a_request_without_an_answer_yet_is_kept_waiting_or_not_booked() {
    let gateway = fixture::start(END);
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut connection = Connection::open(gateway.weir.clients());
    connection.send(&message(&gateway, &secret, "silent=1", false));
    gateway.provider.books_when(DEADLINE, "the provider has the request", |books| books["totals"]["open"] == 1);
    gateway.revoke("made");
    assert_refused(&connection.read_response(), "has been revoked");
    assert!(connection.is_closed());
    assert!(ended(&gateway, 1)[0]["usage"]["input"].as_u64() > Some(0));
}

#[test]
fn an_answer_that_ends_with_its_connection_is_taken_for_whole() {
    let gateway = fixture::start(END);
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut connection = Connection::open(gateway.weir.clients());
    connection.send(&message(&gateway, &secret, &format!("{LONG},until_close=1"), true));
    assert_eq!(connection.read_head().status, 200);
    eventually(DEADLINE, "it streams", || (gateway.shard_figures("streams").iter().sum::<u64>() == 1).then_some(()));
    gateway.revoke("made");
    assert!(!String::from_utf8_lossy(&connection.read_to_end()).contains("message_stop"));
    ended(&gateway, 1);
}

#[test]
fn a_client_that_takes_nothing_keeps_its_revoked_request_running() {
    let gateway = fixture::start(END);
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut connection = Connection::open(gateway.weir.clients());
    connection.send(&message(&gateway, &secret, "events=100000,event_bytes=65536", true));
    assert_eq!(connection.read_head().status, 200);
    gateway.revoke("made");
    eventually(DEADLINE, "nothing runs any more", || {
        (gateway.shard_figures("requests_running").iter().sum::<u64>() == 0).then_some(())
    });
    ended(&gateway, 1);
}

#[test]
fn a_rotation_ends_the_streams_of_its_grace_or_spares_those_of_a_leaked_secret() {
    let gateway = fixture::start(END);
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut streams = gateway.streams(&secret, LONG);
    let new = gateway.rotate("made", "1h");
    gateway.settle();
    for stream in &mut streams {
        assert!(stream.read_chunk().is_some());
    }
    let mut renewed = gateway.streams(&new, LONG);
    gateway.rotate("made", "0");
    for stream in streams.iter_mut().chain(&mut renewed) {
        assert!(rest_of(stream).contains("has been revoked"));
    }
}

#[test]
fn a_key_that_leaves_the_file_keeps_its_streams() {
    let gateway = fixture::start(END);
    gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut streams = gateway.streams(ALICE_KEY, LONG);
    let without = fixture::config(&gateway.provider, END);
    let (before, after) = without.split_once("[[key]]").expect("a key");
    let after = after.split_once("[keys]").expect("the section behind it").1;
    gateway.weir.write_config(&format!("{before}[keys]{after}"));
    assert_eq!(gateway.weir.admin_request("POST", "/admin/v1/reload", b"").status, 200);
    for stream in &mut streams {
        assert!(rest_of(stream).contains("has been revoked"));
    }
}
