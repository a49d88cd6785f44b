//! A revoked key stops on every shard within a second, whatever they are busy with.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::fixture::{self, ALICE_KEY, assert_refused, message, rest_of};
use crate::support::http::Connection;

/// What interface.md §4 promises.
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn a_revoked_key_goes_on_working_for_more_than_a_second_on_some_shard() {
    let gateway = fixture::start("");
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    // Kept connections on both shards, and streams of the same key and of another one running beside them.
    let mut kept = gateway.kept(&secret);
    let mut streams = gateway.streams(&secret, "events=150,gap_ms=20");
    let mut others = gateway.streams(ALICE_KEY, "events=150,gap_ms=20");
    let asked = Instant::now();
    gateway.revoke("made");
    let mut working: Vec<&mut Connection> = kept.iter_mut().collect();
    while !working.is_empty() {
        working.retain_mut(|connection| gateway.probe(connection, &secret).status == 200);
        assert!(asked.elapsed() < REVOKED_WITHIN, "{} connections still work", working.len());
    }
    assert!(asked.elapsed() < REVOKED_WITHIN);
    // It stays so, on old connections and new ones, while all streams run to their end: that is the default.
    for connection in &mut kept {
        assert_refused(&gateway.probe(connection, &secret), "not a valid key");
        assert_eq!(gateway.probe(connection, ALICE_KEY).status, 200, "the connection itself is nobody's");
    }
    assert_refused(&gateway.ask(&secret), "not a valid key");
    for stream in streams.iter_mut().chain(&mut others) {
        let text = rest_of(stream);
        assert!(text.contains("message_stop") && !text.contains("event: error"), "{text}");
    }
}

#[test]
fn a_connection_that_waited_for_its_next_request_is_served_as_of_then() {
    let gateway = fixture::start("");
    let secret = gateway.create(json!({"id": "made"}));
    gateway.settle();
    let mut kept = gateway.kept(&secret);
    // The head of the next request has begun to arrive before the key is revoked.
    let whole = message(&gateway, &secret, "", false);
    let (begun, rest) = whole.split_at(20);
    for connection in &mut kept {
        connection.send(begun);
    }
    gateway.revoke("made");
    gateway.settle();
    for connection in &mut kept {
        connection.send(rest);
        assert_refused(&connection.read_response(), "not a valid key");
    }
    // What is made while a connection waits works on it.
    let second = gateway.create(json!({"id": "second"}));
    gateway.settle();
    for connection in &mut kept {
        assert_eq!(gateway.probe(connection, &second).status, 200);
    }
}
