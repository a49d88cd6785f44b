//! Law 9: one framing decision per message. Whatever two readers could take differently is refused, the connection closed,
//! and what was smuggled behind it never executed.

use std::io::Write;

use crate::fixture::{Bench, KEY, bench, chunk, chunked_head, message, prompt};
use crate::support::http::{Connection, Response};

/// A request that must never reach the provider.
fn smuggled() -> String {
    let body = String::from_utf8(prompt(false, "smuggled")).expect("text");
    format!(
        "POST /v1/messages?smuggled=1 HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nanthropic-version: 2023-06-01\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The start of an authenticated request; more headers and the body follow.
const POST: &str = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nanthropic-version: 2023-06-01\r\nx-api-key: ";

/// Sends what the gateway may refuse before it is all there.
fn attack(bench: &Bench, bytes: &[u8]) -> Connection {
    let connection = bench.connect();
    // The gateway may have closed before the last byte: that is what is wanted.
    let _refused = connection.stream().write_all(bytes);
    connection
}

/// Sends an attack and reads the refusal; the connection must end with it.
fn refusal(bench: &Bench, name: &str, bytes: &[u8]) -> Response {
    let mut connection = attack(bench, bytes);
    let answer = connection.read_response();
    assert!(connection.is_closed(), "{name}: the connection must not go on after {}", answer.status);
    answer
}

fn assert_nothing_was_executed(bench: &Bench) {
    bench.still_serves();
    let books = bench.books(1);
    let whole: Vec<_> = books.entries.iter().filter(|entry| entry.status != 0).map(|entry| &entry.path).collect();
    assert_eq!(whole, ["/v1/messages"], "only the last, honest request was answered");
    assert!(!books.entries.iter().any(|entry| entry.path.contains("smuggled")), "{:?}", books.entries);
}

/// Refuses each attack with one of its statuses, and executes none.
fn all_refused(attacks: &[(&str, String, u16)]) {
    let bench = bench("");
    for (name, bytes, status) in attacks {
        let answer = refusal(&bench, name, bytes.as_bytes());
        assert_eq!(answer.status, *status, "{name}: {}", answer.text());
        assert_eq!(answer.header("x-weir-origin"), Some("gateway"), "{name}");
        assert_eq!(answer.header("connection"), Some("close"), "{name}");
        assert_eq!(answer.json()["type"], "error", "{name}");
    }
    assert_nothing_was_executed(&bench);
}

#[test]
fn two_statements_about_a_length_never_execute_a_second_request() {
    let smuggled = smuggled();
    let post = |headers: &str, body: &str| format!("{POST}{KEY}\r\n{headers}\r\n{body}{smuggled}");
    let chunked = "transfer-encoding: chunked\r\n";
    all_refused(&[
        ("length, then chunked", post(&format!("content-length: 4\r\n{chunked}"), "0\r\n\r\n"), 400),
        ("chunked, then length", post(&format!("{chunked}content-length: 4\r\n"), "0\r\n\r\n"), 400),
        ("two lengths that differ", post("content-length: 3\r\ncontent-length: 5\r\n", "{}{"), 400),
        ("two lengths that agree", post("content-length: 2\r\ncontent-length: 2\r\n", "{}"), 400),
        ("a list of lengths", post("content-length: 2, 2\r\n", "{}"), 400),
        ("a signed length", post("content-length: +2\r\n", "{}"), 400),
        ("a negative length", post("content-length: -2\r\n", "{}"), 400),
        ("a hexadecimal length", post("content-length: 0x2\r\n", "{}"), 400),
        ("an empty length", post("content-length: \r\n", ""), 400),
        ("a length beyond 64 bits", post("content-length: 18446744073709551618\r\n", "{}"), 400),
        ("chunked and identity", post(&format!("{chunked}transfer-encoding: identity\r\n"), "0\r\n\r\n"), 400),
        ("identity and chunked", post(&format!("transfer-encoding: identity\r\n{chunked}"), "0\r\n\r\n"), 400),
        ("chunked twice", post("transfer-encoding: chunked, chunked\r\n", "0\r\n\r\n"), 400),
        ("chunked not last", post("transfer-encoding: chunked, gzip\r\n", "0\r\n\r\n"), 400),
        ("gzip, then chunked", post("transfer-encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501),
        ("nearly chunked", post("transfer-encoding: xchunked\r\n", "0\r\n\r\n"), 400),
        ("chunked behind a vertical tab", post("transfer-encoding: \u{b}chunked\r\n", "0\r\n\r\n"), 400),
        ("a space before the colon", post("transfer-encoding : chunked\r\n", "0\r\n\r\n"), 400),
        ("a space in front of the name", post(" content-length: 2\r\n", "{}"), 400),
        ("chunked in HTTP/1.0", post(chunked, "0\r\n\r\n").replacen("HTTP/1.1", "HTTP/1.0", 1), 400),
    ]);
}

#[test]
fn a_malformed_head_is_refused_and_what_follows_is_not_read() {
    let smuggled = smuggled();
    let get =
        |headers: &str| format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\n{headers}\r\n{smuggled}");
    let bare_lf = format!("{}{smuggled}", get("").replace("\r\n", "\n"));
    all_refused(&[
        ("bare LF everywhere", bare_lf, 400),
        ("one bare LF", get("x-a: 1\nx-b: 2\r\n"), 400),
        ("bare LF at the head's end", format!("GET / HTTP/1.1\r\nhost: x\r\n\n{smuggled}"), 400),
        ("a bare CR in a value", get("x-a: 1\rx-b: 2\r\n"), 400),
        ("a folded header", get("x-a: 1\r\n folded\r\n"), 400),
        ("a NUL in a value", get("x-a: 1\u{0}2\r\n"), 400),
        ("a header without a colon", get("x-a\r\n"), 400),
        ("an empty header name", get(": 1\r\n"), 400),
        ("no host", format!("GET / HTTP/1.1\r\nx-a: 1\r\n\r\n{smuggled}"), 400),
        ("two hosts", get("host: y\r\n"), 400),
        ("a host with a path", format!("GET / HTTP/1.1\r\nhost: x/y\r\n\r\n{smuggled}"), 400),
        ("CONNECT", format!("CONNECT x:443 HTTP/1.1\r\nhost: x:443\r\n\r\n{smuggled}"), 405),
        ("TRACE", format!("TRACE / HTTP/1.1\r\nhost: x\r\n\r\n{smuggled}"), 405),
        ("the HTTP/2 preface", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{smuggled}"), 505),
        ("HTTP/0.9", format!("GET /\r\n\r\n{smuggled}"), 400),
        ("HTTP/3.0", format!("GET / HTTP/3.0\r\nhost: x\r\n\r\n{smuggled}"), 505),
        ("two spaces", format!("GET  / HTTP/1.1\r\nhost: x\r\n\r\n{smuggled}"), 400),
        ("a fragment", format!("GET /#a HTTP/1.1\r\nhost: x\r\n\r\n{smuggled}"), 400),
        ("a path without a slash", format!("GET v1/models HTTP/1.1\r\nhost: x\r\n\r\n{smuggled}"), 400),
        ("an unknown expectation", get("expect: the-spanish-inquisition\r\n"), 417),
        ("a TLS hello on the plain port", "\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".to_owned(), 400),
    ]);
}

#[test]
fn a_body_with_bad_chunks_never_executes_what_follows_it() {
    let bench = bench("");
    let smuggled = smuggled();
    let body = String::from_utf8(prompt(false, "half")).expect("text");
    let good = String::from_utf8(chunk(body.as_bytes())).expect("text");
    let attacks = [
        ("an empty chunk line as the end", format!("{good}\r\n{smuggled}")),
        ("an empty chunk line first", format!("\r\n{smuggled}")),
        ("0x in front of a size", format!("{good}0x5\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a sign in front of a size", format!("{good}+5\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a negative size", format!("{good}-5\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a space in front of a size", format!("{good} 5\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a space behind a size", format!("{good}5 \r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("no hexadecimal digit", format!("{good}g\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a size that overflows", format!("{good}ffffffffffffffff0\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a size beyond all reason", format!("{good}fffffffffffffff\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("too many digits", format!("{good}00000000000000005\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a chunk longer than its size", format!("{good}5\r\nhello!!\r\n0\r\n\r\n{smuggled}")),
        ("a bare LF behind a size", format!("{good}5\nhello\r\n0\r\n\r\n{smuggled}")),
        ("a bare LF behind a chunk", format!("{good}5\r\nhello\n0\r\n\r\n{smuggled}")),
        ("a bare LF at the end", format!("{good}0\r\n\n{smuggled}")),
        ("a CR in an extension", format!("{good}5;a\rb\r\nhello\r\n0\r\n\r\n{smuggled}")),
        ("an endless extension", format!("{good}5;{}\r\nhello\r\n0\r\n\r\n{smuggled}", "a".repeat(1000))),
        ("a malformed trailer", format!("{good}0\r\nno colon\r\n\r\n{smuggled}")),
        ("endless trailers", format!("{good}0\r\n{}\r\n{smuggled}", "x-a: 1\r\n".repeat(5000))),
    ];
    for (name, rest) in attacks {
        let head = chunked_head(bench.weir.clients(), "");
        let answer = refusal(&bench, name, &[&head, rest.as_bytes()].concat());
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
    }
    assert_nothing_was_executed(&bench);
}

#[test]
fn what_is_too_long_is_cut_off_and_named_by_its_status() {
    let bench = bench("[limits]\nbody_max = \"1MiB\"\n");
    let head = "GET / HTTP/1.1\r\nhost: x\r\n";
    let name = format!("{head}{}: 1\r\n\r\n", "n".repeat(66_000));
    assert_eq!(refusal(&bench, "a header name of 66 KB", name.as_bytes()).status, 431);
    let value = format!("{head}x-a: {}\r\n\r\n", "v".repeat(66_000));
    assert_eq!(refusal(&bench, "a header value of 66 KB", value.as_bytes()).status, 431);
    let endless = format!("{head}{}", "x-a: 1\r\n".repeat(200_000));
    assert_eq!(refusal(&bench, "a head without end", endless.as_bytes()).status, 431);
    let many = format!("{head}{}\r\n", "x-a: 1\r\n".repeat(200));
    assert_eq!(refusal(&bench, "200 headers", many.as_bytes()).status, 431);
    let target = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(20_000));
    assert_eq!(refusal(&bench, "a long target", target.as_bytes()).status, 414);
    let method = format!("{} / HTTP/1.1\r\nhost: x\r\n\r\n", "M".repeat(5_000));
    assert_eq!(refusal(&bench, "a long method", method.as_bytes()).status, 400);
    assert_nothing_was_executed(&bench);
}

#[test]
fn a_body_over_the_limit_is_refused_by_length_and_by_chunks_and_one_at_the_limit_passes() {
    let bench = bench("[limits]\nbody_max = \"1MiB\"\n");
    let addr = bench.weir.clients();
    let body = crate::fixture::long_prompt(3 << 20);
    let answer = refusal(&bench, "by length", &message(addr, "", &body));
    crate::fixture::assert_own_error(&answer, 413, "request_too_large");
    assert!(answer.text().contains("1 MiB"), "{}", answer.text());
    let mut bytes = chunked_head(addr, "");
    body.chunks(10_000).for_each(|piece| bytes.extend_from_slice(&chunk(piece)));
    bytes.extend_from_slice(b"0\r\n\r\n");
    let answer = refusal(&bench, "by chunks", &bytes);
    crate::fixture::assert_own_error(&answer, 413, "request_too_large");
    let over = bench.ask("", &crate::fixture::long_prompt((1 << 20) + 1));
    assert_eq!(over.status, 413, "one byte over the limit: {}", over.text());
    let exact = bench.ask("", &crate::fixture::long_prompt(1 << 20));
    assert_eq!(exact.status, 200, "{}", exact.text());
    let answered = bench.books(1).entries.iter().filter(|entry| entry.status != 0).count();
    assert_eq!(answered, 1, "a body over the limit is never answered by the provider");
}

#[test]
fn a_body_that_names_its_model_twice_is_refused_as_providers_may_read_the_other_one() {
    let bench = bench("");
    for body in [
        r#"{"model":"claude-sonnet-4-6","model":"claude-opus-5-5","max_tokens":1,"messages":[]}"#,
        r#"{"model":"claude-sonnet-4-6","max_tokens":1,"messages":[],"max_tokens":9}"#,
        r#"{"stream":false,"model":"claude-sonnet-4-6","max_tokens":1,"messages":[],"\u0073tream":true}"#,
    ] {
        let answer = bench.ask("", body.as_bytes());
        crate::fixture::assert_own_error(&answer, 400, "invalid_request_error");
    }
    let answered = bench.provider.books().entries.iter().filter(|entry| entry.status == 200).count();
    assert_eq!(answered, 0, "{:?}", bench.provider.books().entries);
    bench.still_serves();
}

#[test]
fn a_path_is_routed_as_it_was_sent_and_never_as_it_decodes() {
    let bench = bench("");
    let body = prompt(false, "hi");
    for path in
        ["//v1/messages", "/v1//messages", "/v1%2Fmessages", "/x/../v1/messages", "/v1/messages/", "/v1/%6dessages"]
    {
        let bytes = message(bench.weir.clients(), "", &body);
        let bytes = String::from_utf8(bytes).expect("text").replacen("/v1/messages", path, 1);
        let mut connection = bench.connect();
        connection.send(bytes.as_bytes());
        assert_eq!(connection.read_response().status, 404, "{path}");
    }
    assert_nothing_was_executed(&bench);
}
