//! Law 1 on the way down: the client receives the provider's bytes, whatever they are and however they were cut.

use crate::fixture::{Bench, assert_own_error, bench, message, message_with, prompt, sha256};
use crate::raw_upstream::RawUpstream;
use crate::support::http::{Connection, Response};

/// Headers of an answer that end at this hop or say who the provider's server is (contract.md §3.4).
const LEFT_OUT: [&str; 6] = ["connection", "keep-alive", "server", "set-cookie", "alt-svc", "trailer"];

/// Asks, and compares what arrived with what the provider wrote into its books.
fn relayed(bench: &Bench, script: &str, stream: bool) -> Response {
    let answer = bench.ask(script, &prompt(stream, "relay"));
    let entry = bench.entry(1);
    assert_eq!(entry.response_bytes, answer.body.len() as u64, "{script}");
    assert_eq!(sha256(&answer.body), entry.response_sha256, "{script}: {}", answer.text());
    assert_eq!(answer.status, entry.status, "{script}");
    answer
}

#[test]
fn every_shape_of_a_stream_arrives_as_it_was_sent() {
    let bench = bench("");
    for shape in [
        "",
        "crlf=1",
        "comments=1",
        "unknown_events=1",
        "thinking=1",
        "pings=1,gap_ms=3,events=4",
        "events=0",
        "events=400,event_bytes=300",
        "event_bytes=60000,events=5",
        "first_ping=0",
        "stop_reason=refusal",
        "error_at=3",
    ] {
        for cut in [
            "",
            ",chunk=split",
            ",chunk=merged",
            ",chunk=ext",
            ",trickle=37,events=2,event_bytes=100",
            ",trailers=1",
            ",until_close=1",
        ] {
            let script = format!("{shape}{cut}");
            let answer = relayed(&bench, script.trim_start_matches(','), true);
            assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"), "{script}");
        }
    }
}

#[test]
fn a_stream_with_a_length_keeps_it() {
    let bench = bench("");
    for script in ["length=1", "length=1,crlf=1,events=100", "length=1,trickle=100"] {
        let answer = relayed(&bench, script, true);
        assert_eq!(answer.header("content-length").map(str::to_owned), Some(answer.body.len().to_string()), "{script}");
        assert!(answer.header("transfer-encoding").is_none(), "{script}");
    }
}

#[test]
fn answers_without_a_stream_arrive_as_they_were_sent() {
    let bench = bench("");
    for script in [
        "",
        "chunk=split",
        "chunk=ext",
        "until_close=1",
        "trailers=1",
        "body_bytes=5000000",
        "body_bytes=5000000,chunk=split",
        "trickle=50",
        "thinking=1",
        "body_bytes=300000,until_close=1",
    ] {
        let answer = relayed(&bench, script, false);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{script}");
    }
}

#[test]
fn error_answers_of_the_provider_arrive_byte_for_byte_with_their_retry_advice() {
    let bench = bench("");
    for status in [400, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 529] {
        let script = format!(
            "status={status},retry_after=17,should_retry=false,error_code=enforced_spend_limit_reached,message=prompt_is_too_long:_9_tokens"
        );
        for stream in [false, true] {
            let answer = relayed(&bench, &script, stream);
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("retry-after"), Some("17"));
            assert_eq!(answer.header("x-should-retry"), Some("false"));
            assert!(answer.header("x-weir-origin").is_none(), "it is not ours: {:?}", answer.headers);
            assert!(answer.header("request-id").is_some_and(|id| id.starts_with("req_01")));
        }
    }
}

#[test]
fn a_refused_credential_of_ours_is_never_told_as_the_clients() {
    let bench = bench("");
    let answer = bench.ask("status=401", &prompt(false, "x"));
    assert_own_error(&answer, 502, "api_error");
    assert!(answer.text().contains("credential") && answer.text().contains("operator"), "{}", answer.text());
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    bench.still_serves();
}

#[test]
fn what_is_metered_is_asked_for_uncompressed() {
    let bench = bench("");
    for stream in [false, true] {
        let body = prompt(stream, "zip");
        let mut connection = bench.connect();
        let more = [("accept-encoding", "gzip, deflate, br, zstd")];
        connection.send(&message_with(bench.weir.clients(), "gzip=1", &more, &body));
        let answer = connection.read_response();
        assert!(answer.header("content-encoding").is_none(), "{:?}", answer.headers);
        assert!(answer.text().contains("msg_01"), "{}", answer.text());
    }
}

#[test]
fn every_header_of_an_answer_is_kept_in_order_but_for_the_listed_ones() {
    const HEAD: &str = "HTTP/1.1 200 Fine By Me\r\nContent-Type: application/json\r\nX-New: 1\r\nx-new: 2\r\nrequest-id: req_1\r\n\
        anthropic-organization-id: o\r\nanthropic-ratelimit-requests-limit: 5\r\nx-amzn-RequestId: a\r\nvia: 1.1 google\r\n\
        strict-transport-security: max-age=1\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\nx-empty:\r\nx-utf8: \u{e9}\r\n\
        X-Spaces:   a  b  \r\nSet-Cookie: a=b\r\nServer: s\r\nalt-svc: h3\r\nkeep-alive: timeout=5\r\nproxy-status: x\r\n\
        Connection: keep-alive, x-hop\r\nX-Hop: 1\r\nx-weir-origin-like: 1\r\nContent-Length: 2\r\n\r\n{}";
    let upstream = RawUpstream::start(|mut peer| {
        while peer.read_request().is_some() {
            peer.send(HEAD.as_bytes());
        }
    });
    let weir = crate::fixture::gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    let answer = connection.read_response();
    let gone =
        ["set-cookie", "server", "alt-svc", "keep-alive", "proxy-status", "connection", "x-hop", "content-length"];
    let expected: Vec<(String, String)> = HEAD
        .lines()
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once(':'))
        .filter(|(name, _)| !gone.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let ours = ["content-length", "x-weir-request-id"];
    let kept: Vec<_> = answer.headers.iter().filter(|(name, _)| !ours.contains(&name.as_str())).cloned().collect();
    assert_eq!(kept, expected);
    assert_eq!(answer.header("content-length"), Some("2"));
    upstream.check();
}

#[test]
fn the_simulated_providers_headers_reach_the_client() {
    let bench = bench("");
    let answer = relayed(&bench, "", false);
    for name in
        ["request-id", "anthropic-organization-id", "anthropic-ratelimit-tokens-reset", "date", "via", "x-robots-tag"]
    {
        assert!(answer.header(name).is_some(), "{name}: {:?}", answer.headers);
    }
    for name in LEFT_OUT {
        assert!(answer.header(name).is_none(), "{name}: {:?}", answer.headers);
    }
}
