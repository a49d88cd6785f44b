//! The data plane against peers who exploit what is easily overlooked: who dawdles on both sides at once, what an upstream
//! says without being asked, a body that nobody reads to its end.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

mod support;

#[path = "gateway_wire/fixture.rs"]
#[allow(dead_code, reason = "this binary uses a part of it")]
mod fixture;
#[path = "gateway_wire/raw_upstream.rs"]
#[allow(dead_code, reason = "this binary uses a part of it")]
mod raw_upstream;

use std::net::Shutdown;
use std::sync::{Mutex, mpsc};

use fixture::{MODEL, chunk, chunked_head, gateway, message, prompt};
use raw_upstream::{MESSAGE, RawUpstream, ok};
use support::http::Connection;
use support::{DEADLINE, Weir, eventually};

/// Every client connection has ended, and no request runs.
fn all_are_gone(weir: &Weir) {
    eventually(DEADLINE, "no connection is left", || (weir.metric("weir_shard_connections", &[]) == 0.0).then_some(()));
}

/// The one record of the gateway, once it is there.
fn record(weir: &Weir) -> serde_json::Value {
    eventually(DEADLINE, "the record", || {
        weir.admin_get("/admin/v1/requests?limit=1")["data"].as_array()?.first().cloned()
    })
}

#[test]
fn a_client_that_neither_finishes_its_body_nor_reads_its_answer_is_cut_off() {
    let upstream = RawUpstream::start(|mut peer| {
        // Answers at once, and goes on for as long as anybody takes it.
        use std::io::{Read, Write};
        let mut head = [0; 1024];
        let _some = peer.stream.read(&mut head).expect("a head");
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
        while peer.stream.write_all(&[b' '; 64 << 10]).is_ok() {}
    });
    // The body is late before the answer is: the first deadline must not be the last.
    let weir = gateway(&upstream.url(), "[limits]\nbody_timeout = \"500ms\"\nidle_timeout = \"1500ms\"\n");
    let mut connection = Connection::open(weir.clients());
    let body = prompt(false, &"never whole ".repeat(10_000));
    let bytes = message(weir.clients(), "", &body);
    connection.send(&bytes[..bytes.len() - 1000]);
    eventually(DEADLINE, "the request arrives", || (upstream.connections() == 1).then_some(()));
    all_are_gone(&weir);
    drop(connection);
    upstream.check();
}

#[test]
fn what_an_upstream_says_unasked_is_never_the_next_callers_answer() {
    let (go, gone) = mpsc::channel::<()>();
    let (said, wait) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = RawUpstream::start(move |mut peer| {
        while peer.read_request().is_some() {
            peer.send(&ok(MESSAGE));
            if peer.number == 0 {
                gone.lock().expect("nobody else").recv_timeout(DEADLINE).expect("the first answer is read");
                peer.send(&ok(r#"{"another":"caller's"}"#));
                said.send(()).expect("the test waits");
            }
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "first")));
    assert_eq!(connection.read_response().text(), MESSAGE);
    go.send(()).expect("the upstream waits");
    wait.recv_timeout(DEADLINE).expect("it has said more");
    connection.send(&message(weir.clients(), "", &prompt(false, "second")));
    assert_eq!(connection.read_response().text(), MESSAGE);
    assert_eq!(upstream.connections(), 2, "the first connection has had its say");
    upstream.check();
}

#[test]
fn a_chunked_body_that_an_early_answer_left_behind_does_not_keep_the_connection() {
    let upstream = RawUpstream::start(|mut peer| {
        if peer.read_request().is_some() {
            peer.send(&ok(MESSAGE));
            peer.finish();
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&chunked_head(weir.clients(), ""));
    connection.send(&chunk(format!(r#"{{"model":"{MODEL}","max_tokens":1,"#).as_bytes()));
    let answer = connection.read_response();
    assert_eq!(answer.status, 200);
    assert!(connection.is_closed(), "nobody knows where the next request would begin");
    all_are_gone(&weir);
    upstream.check();
}

#[test]
fn counts_that_the_provider_has_told_are_not_estimated_because_the_client_left_at_the_last_event() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let events = [
        r#"event: message_start
data: {"type":"message_start","message":{"model":"claude-sonnet-4-6","usage":{"input_tokens":11,"output_tokens":1}}}

"#,
        r#"event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":22}}

"#,
        "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ];
    let upstream = RawUpstream::start(move |mut peer| {
        if peer.read_request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            peer.send(&chunk(events.concat().as_bytes()));
            gone.lock().expect("nobody else").recv_timeout(DEADLINE).expect("the client has left");
            peer.finish();
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(true, "x")));
    assert_eq!(connection.read_head().status, 200);
    assert!(connection.read_chunk().is_some());
    connection.stream().shutdown(Shutdown::Both).expect("a shutdown");
    all_are_gone(&weir);
    go.send(()).expect("the upstream waits");
    let record = record(&weir);
    assert_eq!(record["usage_source"], "reported", "{record}");
    upstream.check();
}

#[test]
fn an_answer_that_is_no_success_is_not_billed() {
    let (go, gone) = mpsc::channel::<()>();
    let gone = Mutex::new(gone);
    let upstream = RawUpstream::start(move |mut peer| {
        if peer.read_request().is_some() {
            peer.send(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 5\r\n\r\nmoved");
            gone.lock().expect("nobody else").recv_timeout(DEADLINE).expect("the client has it");
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    assert_eq!(connection.read_response().status, 302);
    go.send(()).expect("the upstream waits");
    let record = record(&weir);
    assert_eq!(record["cost_usd"].as_str().map(|cost| cost.trim_matches(['0', '.'])), Some(""), "{record}");
    upstream.check();
}
