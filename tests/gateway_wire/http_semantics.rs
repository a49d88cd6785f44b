//! What HTTP/1.1 promises a client: kept connections, order, interim answers, methods, framing.

use std::net::Shutdown;

use crate::fixture::{
    Bench, KEY, MODEL, assert_own_error, bench, chunk, chunked_head, long_prompt, message, message_with, prompt, sha256,
};
use crate::support::http::{Connection, Response, request_bytes};

fn get(bench: &Bench, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    let addr = bench.weir.clients();
    let mut connection = bench.connect();
    connection.send(&request_bytes(addr, method, path, headers, b""));
    let answer = if method == "HEAD" { connection.read_head() } else { connection.read_response() };
    // A second request on the same connection: nothing of the first answer may be left over in front of its answer.
    connection.send(&request_bytes(addr, "GET", "/v1/models?limit=1", &[("x-api-key", KEY)], b""));
    assert_eq!(connection.read_response().json()["data"].as_array().map(Vec::len), Some(1), "after {method} {path}");
    answer
}

#[test]
fn a_kept_connection_serves_one_request_after_the_other() {
    let bench = bench("");
    let mut connection = bench.connect();
    for turn in 0..20 {
        let body = prompt(turn % 2 == 0, &format!("turn {turn}"));
        connection.send(&message(bench.weir.clients(), "events=3", &body));
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert!(answer.header("connection").is_none(), "{:?}", answer.headers);
    }
    let books = bench.books(20);
    assert_eq!(books.totals.connections, 1, "the upstream's connection is kept too");
}

#[test]
fn pipelined_requests_with_bodies_are_answered_in_order() {
    let bench = bench("");
    let addr = bench.weir.clients();
    let mut connection = bench.connect();
    let bodies: Vec<Vec<u8>> = (0..12)
        .map(|turn| match turn % 3 {
            0 => prompt(false, &format!("turn {turn}")),
            1 => long_prompt(9_000 + turn),
            _ => prompt(true, &format!("turn {turn}")),
        })
        .collect();
    let mut all = Vec::new();
    for (turn, body) in bodies.iter().enumerate() {
        if turn % 4 == 3 {
            all.extend_from_slice(&chunked_head(addr, &format!("input_tokens={turn}")));
            body.chunks(7).for_each(|piece| all.extend_from_slice(&chunk(piece)));
            all.extend_from_slice(b"0\r\n\r\n");
        } else {
            all.extend_from_slice(&message(addr, &format!("input_tokens={turn}"), body));
        }
        all.extend_from_slice(&request_bytes(addr, "GET", "/nowhere", &[], b""));
    }
    connection.send(&all);
    for turn in 0..bodies.len() {
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "turn {turn}: {}", answer.text());
        assert!(answer.text().contains(&format!(r#""input_tokens":{turn},"#)), "turn {turn}: {}", answer.text());
        assert_eq!(connection.read_response().status, 404, "turn {turn}");
    }
    let sent: Vec<_> = bodies.iter().map(|body| sha256(body)).collect();
    let received: Vec<_> = bench.books(12).entries.into_iter().map(|entry| entry.request_sha256).collect();
    assert_eq!(received, sent);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let bench = bench("");
    let body = long_prompt(50_000);
    let bytes = message_with(bench.weir.clients(), "", &[("expect", "100-continue")], &body);
    let head_len = bytes.len() - body.len();
    let mut connection = bench.connect();
    connection.send(&bytes[..head_len]);
    assert_eq!(connection.read_head().status, 100);
    connection.send(&bytes[head_len..]);
    assert_eq!(connection.read_response().status, 200);
    let entry = bench.entry(1);
    assert_eq!(entry.request_sha256, sha256(&body));
    assert!(!entry.headers.contains_key("expect"), "hop-by-hop");
    connection.send(&message(bench.weir.clients(), "", &prompt(false, "again")));
    assert_eq!(connection.read_response().status, 200, "the connection goes on");
}

#[test]
fn a_stranger_is_refused_before_the_body_it_offers_is_asked_for() {
    let bench = bench("");
    for (name, key) in [("none", ""), ("wrong", "weir-key-of-somebody-else-0000000000")] {
        let body = prompt(false, "hi");
        let bytes = message_with(bench.weir.clients(), "", &[("expect", "100-continue")], &body);
        let text = String::from_utf8(bytes).expect("text").replace(KEY, key);
        let mut connection = bench.connect();
        connection.send(&text.as_bytes()[..text.len() - body.len()]);
        let answer = connection.read_head();
        assert_eq!(answer.status, 401, "{name}: not 100 first");
        assert_eq!(answer.header("connection"), Some("close"), "whether the body comes is not known");
    }
    assert_eq!(bench.provider.books().totals.connections, 0, "a stranger never makes an upstream connection");
}

#[test]
fn probes_are_answered_from_memory_and_a_head_request_gets_no_body() {
    let bench = bench("");
    for path in ["/", "/api/hello", "/anthropic", "/anthropic/api/hello"] {
        assert_eq!(get(&bench, "HEAD", path, &[]).status, 200, "{path}");
        assert_eq!(get(&bench, "GET", path, &[]).status, 200, "{path}");
    }
    let key = [("x-api-key", KEY)];
    let models = get(&bench, "GET", "/v1/models?limit=1000", &key);
    let asked = get(&bench, "HEAD", "/v1/models?limit=1000", &key);
    assert_eq!(asked.header("content-length"), models.header("content-length"));
    assert!(models.json()["data"].as_array().is_some_and(|all| all.iter().any(|model| model["id"] == MODEL)));
    let one = get(&bench, "GET", &format!("/v1/models/{MODEL}"), &key);
    assert_eq!(one.json()["id"], MODEL);
    assert_own_error(&get(&bench, "GET", "/v1/models/gpt-9", &key), 404, "not_found_error");
    assert_own_error(&get(&bench, "GET", "/v1/models", &[]), 401, "authentication_error");
    assert_eq!(bench.provider.books().totals.connections, 0, "all of it from memory");
}

#[test]
fn an_unknown_path_or_method_is_refused_in_the_shape_of_the_format() {
    let bench = bench("");
    assert_own_error(&get(&bench, "GET", "/v2/everything", &[]), 404, "not_found_error");
    assert_own_error(&get(&bench, "POST", "/v1/complete", &[("x-api-key", KEY)]), 404, "not_found_error");
    let answer = get(&bench, "GET", "/v1/messages", &[("x-api-key", KEY)]);
    assert_own_error(&answer, 405, "invalid_request_error");
    assert_eq!(answer.header("allow"), Some("POST"), "RFC 9110 15.5.6");
    assert_own_error(&get(&bench, "DELETE", "/v1/models", &[]), 405, "invalid_request_error");
    assert_own_error(&get(&bench, "BREW", "/v1/messages", &[]), 405, "invalid_request_error");
}

#[test]
fn prefix_query_and_version_reach_the_provider_as_its_own_path() {
    let bench = bench("");
    let body = prompt(false, "hi");
    let targets = [
        ("/v1/messages?beta=true", "/v1/messages?beta=true"),
        ("/anthropic/v1/messages?beta=true&x=%2F%20&y", "/v1/messages?beta=true&x=%2F%20&y"),
        ("/v1/messages/count_tokens?beta=true", "/v1/messages/count_tokens?beta=true"),
        ("http://gateway.example/v1/messages?absolute=1", "/v1/messages?absolute=1"),
    ];
    let mut connection = bench.connect();
    for (asked, received) in targets {
        let bytes = String::from_utf8(message(bench.weir.clients(), "", &body)).expect("text");
        connection.send(bytes.replacen("/v1/messages", asked, 1).as_bytes());
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
        assert_eq!(bench.entry(1).path, received, "{asked}");
    }
}

#[test]
fn a_chunked_body_arrives_whole_however_it_was_cut() {
    let bench = bench("");
    let body = long_prompt(3_000);
    let addr = bench.weir.clients();
    let mut wire = Vec::new();
    let mut at = 0;
    for (turn, size) in [1, 2, 3, 500, 1, 1024, 7, 5000].into_iter().enumerate() {
        let piece = &body[at..body.len().min(at + size)];
        at += piece.len();
        if piece.is_empty() {
            break;
        }
        // Every legal dress of a chunk line: capitals, leading zeros, extensions.
        let line = match turn % 3 {
            0 => format!("{:X}\r\n", piece.len()),
            1 => format!("00{:x};name=value;other=\"x\"\r\n", piece.len()),
            _ => format!("{:x}\r\n", piece.len()),
        };
        wire.extend_from_slice(line.as_bytes());
        wire.extend_from_slice(piece);
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\nx-trailer: 1\r\n\r\n");
    for pause_at in [1, 2, 3, 5, 6, 7, 600, wire.len() - 20, wire.len() - 4, wire.len() - 1] {
        let mut connection = bench.connect();
        connection.send(&chunked_head(addr, ""));
        connection.send(&wire[..pause_at]);
        // The gateway has seen the first piece on its own once it answers somebody who came later.
        let _later = get(&bench, "HEAD", "/", &[]);
        connection.send(&wire[pause_at..]);
        assert_eq!(connection.read_response().status, 200, "cut at {pause_at}");
    }
    let entries = bench.books(10).entries;
    assert!(entries.iter().all(|entry| entry.request_sha256 == sha256(&body)), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.request_framing == "chunked"), "{entries:?}");
}

#[test]
fn a_client_that_asks_to_close_gets_its_answer_and_the_end() {
    let bench = bench("");
    for stream in [false, true] {
        let mut connection = bench.connect();
        let body = prompt(stream, "bye");
        connection.send(&message_with(bench.weir.clients(), "", &[("connection", "close")], &body));
        let answer = connection.read_response();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        assert!(connection.is_closed());
    }
    let mut connection = bench.connect();
    connection.send(&request_bytes(bench.weir.clients(), "HEAD", "/", &[("connection", "Close")], b""));
    assert_eq!(connection.read_head().header("connection"), Some("close"));
    assert!(connection.is_closed());
    let books = bench.books(2);
    assert_eq!(books.totals.connections, 1, "the client's wish is no reason to drop the upstream's connection");
    assert!(books.entries.iter().all(|entry| entry.headers.get("connection").is_none_or(|c| c != "close")));
}

#[test]
fn what_follows_a_last_request_does_not_cost_the_client_its_answer() {
    let bench = bench("");
    for behind in [0, 2, 5_000, 300_000] {
        let body = prompt(false, "bye");
        let close = [("connection", "close")];
        let mut bytes = message_with(bench.weir.clients(), "body_bytes=1500000", &close, &body);
        bytes.resize(bytes.len() + behind, b'\n');
        let mut connection = bench.connect();
        connection.send(&bytes);
        let head = connection.read_head();
        // Time passes in which the gateway has done its part, and most of the answer still waits in its kernel: closing with
        // input unread would throw that away.
        std::thread::sleep(std::time::Duration::from_millis(400));
        assert_eq!(connection.read_body(&head).len(), 1_500_000, "{behind} bytes behind the last request");
        assert!(connection.is_closed());
    }
}

#[test]
fn an_http_1_0_client_gets_a_body_without_chunks() {
    let bench = bench("");
    for script in ["", "chunk=split", "trailers=1", "chunk=merged,thinking=1"] {
        let body = prompt(true, "old");
        let bytes = String::from_utf8(message(bench.weir.clients(), script, &body)).expect("text");
        let mut connection = bench.connect();
        connection.send(bytes.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes());
        let head = connection.read_head();
        assert_eq!(head.status, 200);
        assert!(head.header("transfer-encoding").is_none() && head.header("content-length").is_none(), "{head:?}");
        let whole = connection.read_to_end();
        let entry = bench.entry(1);
        assert_eq!(sha256(&whole), entry.response_sha256, "{script}: {}", String::from_utf8_lossy(&whole));
    }
    // It asks to keep the connection and would wait for a confirmation, or for the end: it gets the end.
    let mut connection = bench.connect();
    connection
        .send(format!("GET /v1/models HTTP/1.0\r\nx-api-key: {KEY}\r\nconnection: keep-alive\r\n\r\n").as_bytes());
    assert_eq!(connection.read_response().header("connection"), Some("close"));
    assert!(connection.is_closed());
    let mut connection = bench.connect();
    connection.send(b"HEAD / HTTP/1.0\r\n\r\n");
    assert_eq!(connection.read_head().status, 200, "HTTP/1.0 needs no host");
    assert!(connection.is_closed());
}

#[test]
fn an_informational_answer_reaches_the_client_before_the_answer() {
    let bench = bench("");
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), "hundred=103", &prompt(false, "hints")));
    assert_eq!(connection.read_head().status, 103);
    let head = connection.read_head();
    assert_eq!(head.status, 200);
    assert!(!connection.read_body(&head).is_empty());
    // What is between weir and the provider stays there.
    connection.send(&message(bench.weir.clients(), "hundred=100", &prompt(false, "go on")));
    assert_eq!(connection.read_head().status, 200);
}

#[test]
fn an_early_answer_is_read_by_a_client_that_is_still_sending() {
    let bench = bench("");
    let body = long_prompt(5 << 20);
    for script in ["early=1,status=429,retry_after=7", "early_close=1,status=529"] {
        let bytes = message(bench.weir.clients(), script, &body);
        let mut connection = bench.connect();
        let (first, rest) = bytes.split_at(100_000);
        connection.send(first);
        let head = connection.read_head();
        assert!(head.status == 429 || head.status == 529, "{script}: {}", head.status);
        let text = connection.read_body(&head);
        assert!(text.starts_with(br#"{"type":"error""#), "{script}");
        if head.header("connection") == Some("close") {
            continue;
        }
        connection.send(rest);
        connection.send(&message(bench.weir.clients(), "", &prompt(false, "next")));
        assert_eq!(connection.read_response().status, 200, "{script}: the connection goes on behind the body");
    }
}

#[test]
fn an_early_answer_survives_a_client_that_sends_everything_first() {
    let bench = bench("");
    let body = long_prompt(5 << 20);
    for script in ["early=1,status=429,retry_after=7", "early_close=1,status=529"] {
        let mut connection = bench.connect();
        connection.send(&message(bench.weir.clients(), script, &body));
        let answer = connection.read_response();
        assert!(answer.status == 429 || answer.status == 529, "{script}: {}", answer.text());
    }
    bench.still_serves();
}

#[test]
fn a_refusal_of_our_own_is_read_by_a_client_that_sends_everything_first() {
    let bench = bench("");
    let body = long_prompt(5 << 20);
    let bytes = message(bench.weir.clients(), "", &body);
    let text = String::from_utf8(bytes).expect("text").replace(KEY, "weir-key-of-nobody");
    let mut connection = bench.connect();
    connection.send(text.as_bytes());
    assert_own_error(&connection.read_response(), 401, "authentication_error");
    assert!(connection.is_closed(), "5 MB are not read only to be polite");
    // A short body is, so that the connection can go on.
    let short = String::from_utf8(message(bench.weir.clients(), "", &prompt(false, "x"))).expect("text");
    let mut connection = bench.connect();
    connection.send(short.replace(KEY, "weir-key-of-nobody").as_bytes());
    assert_eq!(connection.read_response().status, 401);
    connection.send(short.as_bytes());
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn a_client_that_connects_and_leaves_leaves_nothing_behind() {
    let bench = bench("");
    for _ in 0..50 {
        let connection = bench.connect();
        connection.stream().shutdown(Shutdown::Both).expect("a shutdown");
    }
    let half: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = bench.connect();
            connection.send(b"POST /v1/messages HT");
            connection
        })
        .collect();
    drop(half);
    crate::support::eventually(crate::support::DEADLINE, "no connection is left", || {
        (bench.weir.metric("weir_shard_connections", &[]) == 0.0).then_some(())
    });
    bench.still_serves();
}
