//! Answers that are whole.

use super::*;
use crate::loadtest::provider::ask::hex;
use aws_lc_rs::digest::{SHA256, digest};

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

/// Ids are the only difference between two answers to the same request.
fn without_ids(body: &[u8]) -> String {
    let mut text = String::from_utf8(body.to_vec()).unwrap();
    for prefix in ["msg_01", "toolu_01", "req_01"] {
        while let Some(at) = text.find(prefix) {
            text.replace_range(at..at + prefix.len() + 22, "ID");
        }
    }
    text
}

#[test]
fn event_order_is_not_anthropics() {
    let provider = provider();
    let response = ask(&provider, "events=2", true);
    assert_eq!((response.status, response.end), (200, End::Whole));
    assert_eq!(response.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert!(response.header("request-id").unwrap().starts_with("req_01"));
    assert_eq!(
        response.events(),
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    assert_eq!(response.chunks.len(), response.events().len(), "one chunk per event");
}

#[test]
fn thinking_or_tool_block_is_out_of_order() {
    let response = ask(&provider(), "events=1 thinking=1 tool=auto", true);
    let kinds: Vec<_> = response
        .data("content_block_start")
        .iter()
        .map(|e| (e["index"].clone(), e["content_block"]["type"].clone()))
        .collect();
    assert_eq!(serde_json::json!(kinds), serde_json::json!([[0, "thinking"], [1, "text"], [2, "tool_use"]]));
    let deltas = response.data("content_block_delta");
    assert!(deltas.iter().any(|e| e["delta"]["type"] == "signature_delta" && e["index"] == 0));
    let input: String = deltas.iter().filter_map(|e| e["delta"]["partial_json"].as_str()).collect();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&input).unwrap()["path"], "/srv/app");
    assert_eq!(response.data("message_delta")[0]["delta"]["stop_reason"], "tool_use");
}

#[test]
fn books_disagree_with_the_answer() {
    let provider = provider();
    let script = "input_tokens=11 output_tokens=77 cache_read=5 cache_5m=3 cache_1h=4 web_search=2";
    let response = ask(&provider, script, true);
    let usage =
        BilledUsage { input: 11, output: 77, cache_read: 5, cache_write_5m: 3, cache_write_1h: 4, web_search: 2 };
    let start = &response.data("message_start")[0]["message"]["usage"];
    assert_eq!((&start["input_tokens"], &start["cache_creation_input_tokens"]), (&11.into(), &7.into()));
    assert_eq!(start["cache_creation"]["ephemeral_1h_input_tokens"], 4);
    let delta = &response.data("message_delta")[0]["usage"];
    assert_eq!((&delta["output_tokens"], &delta["server_tool_use"]["web_search_requests"]), (&77.into(), &2.into()));
    let books = ended(&provider, 1);
    let entry = &books.entries[0];
    assert_eq!((entry.usage, entry.outcome, entry.status), (usage, Outcome::Completed, 200));
    assert_eq!(entry.response_sha256, sha256(&response.body));
    assert_eq!(entry.request_sha256, sha256(body(true).as_bytes()));
    assert_eq!(entry.request_bytes as usize, body(true).len());
    assert_eq!(books.totals.models["claude-sonnet-4-6"].usage, usage);
    let json = ask(&provider, script, false).json();
    assert_eq!((&json["usage"]["output_tokens"], &json["usage"]["cache_read_input_tokens"]), (&77.into(), &5.into()));
    assert_eq!(ended(&provider, 2).totals.usage().output, 154);
}

#[test]
fn same_request_gets_another_text() {
    let provider = provider();
    for (script, stream) in [("events=9 event_bytes=200 thinking=1 tool=bash", true), ("body_bytes=5000", false)] {
        let [first, second] = [ask(&provider, script, stream), ask(&provider, script, stream)];
        assert_ne!(first.body, second.body, "ids differ");
        assert_eq!(without_ids(&first.body), without_ids(&second.body));
    }
}

#[test]
fn answer_exceeds_max_tokens() {
    let response = ask(&provider(), "events=100 event_bytes=1000", true);
    let delta = &response.data("message_delta")[0];
    assert_eq!(
        (&delta["usage"]["output_tokens"], &delta["delta"]["stop_reason"]),
        (&4096.into(), &"max_tokens".into())
    );
}

#[test]
fn json_answer_has_another_size() {
    let provider = provider();
    for bytes in [2048, 100_000] {
        let response = ask(&provider, &format!("body_bytes={bytes}"), false);
        assert_eq!(response.body.len(), bytes);
        assert_eq!(response.json()["type"], "message");
    }
}

#[test]
fn framing_variant_changes_the_payload() {
    let provider = provider();
    let plain = without_ids(&ask(&provider, "events=40", true).body);
    for script in ["chunk=split", "chunk=merged", "chunk=ext", "length=1", "flush=batch", "trickle=400", "trailers=1"] {
        let response = ask(&provider, &format!("events=40 {script}"), true);
        assert_eq!(response.end, End::Whole, "{script}");
        assert_eq!(without_ids(&response.body), plain, "{script}");
        assert_eq!(response.trailers.is_empty(), script != "trailers=1");
    }
    let closed = ask(&provider, "events=40 until_close=1", true);
    assert_eq!((closed.end, without_ids(&closed.body)), (End::Fin, plain));
}

#[test]
fn chunk_modes_are_all_the_same() {
    let provider = provider();
    let chunks = |mode: &str| ask(&provider, &format!("events=40 chunk={mode}"), true).chunks.len();
    assert!(chunks("merged") < 10);
    assert!(chunks("split") > 50);
}

#[test]
fn decorations_are_missing() {
    let provider = provider();
    let response = ask(&provider, "events=6 crlf=1 comments=1 unknown_events=1", true);
    assert_eq!(
        memchr::memchr_iter(b'\n', &response.body).count(),
        memchr::memmem::find_iter(&response.body, "\r\n").count()
    );
    for name in [":", "sim_notice", ""] {
        assert!(response.events().iter().any(|event| event == name), "{name:?} is missing");
    }
    let response = ask(&provider, "events=3 gap_ms=200 pings=10", true);
    assert!(response.events().iter().filter(|event| *event == "ping").count() > 3);
}

#[test]
fn gzip_comes_unasked_or_does_not_decode() {
    let provider = provider();
    assert_eq!(ask(&provider, "gzip=1", true).header("content-encoding"), None);
    for stream in [true, false] {
        let mut client = Client::connect(&provider);
        client.post("anthropic-sim: gzip=1\r\naccept-encoding: br, gzip;q=0.5\r\n", &body(stream));
        let response = client.response().unwrap();
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        let mut text = String::new();
        flate2::read::GzDecoder::new(&response.body[..]).read_to_string(&mut text).unwrap();
        assert!(text.contains(if stream { "message_stop" } else { "end_turn" }));
    }
    let mut client = Client::connect(&provider);
    client.post("anthropic-sim: gzip=1\r\naccept-encoding: gzip;q=0\r\n", &body(false));
    assert_eq!(client.response().unwrap().header("content-encoding"), None);
}

#[test]
fn wrong_credential_is_answered() {
    let provider =
        start(ProviderOptions { api_keys: vec!["k1".into(), "k2".into()], ..ProviderOptions::default() }).unwrap();
    for (header, status) in [
        ("", 401),
        ("x-api-key: k3\r\n", 401),
        ("x-api-key: k2\r\n", 200),
        ("Authorization: Bearer k1\r\n", 200),
        ("Authorization: Basic k1\r\n", 401),
    ] {
        let mut client = Client::connect(&provider);
        client.post(header, &body(false));
        let response = client.response().unwrap();
        assert_eq!(response.status, status, "{header}");
        if status == 401 {
            assert_eq!(response.json()["error"]["type"], "authentication_error");
            let shown = response.header("request-id").map(str::to_owned);
            let named = response.json()["request_id"].as_str().map(str::to_ascii_lowercase);
            assert_eq!(named, shown);
        }
    }
    let books = ended(&provider, 5);
    assert_eq!(books.entries[2].credential_fingerprint, fingerprint(b"k2"));
    assert!(!serde_json::to_string(&books).unwrap().contains("k2"));
}

#[test]
fn incomplete_request_is_answered() {
    let provider = provider();
    for (body, word) in [
        ("{", "JSON"),
        (r#"{"max_tokens":1,"messages":[]}"#, "model"),
        (r#"{"model":"m","messages":[]}"#, "max_tokens"),
        (r#"{"model":"m","max_tokens":1}"#, "messages"),
        (r#"{"model":"m","max_tokens":1,"messages":[]}[[sim evnts=1 ]]"#, "evnts"),
    ] {
        let mut client = Client::connect(&provider);
        client.post("", body);
        let response = client.response().unwrap();
        assert_eq!(response.status, 400);
        assert!(response.json()["error"]["message"].as_str().unwrap().contains(word), "{word}");
    }
    let mut client = Client::connect(&provider);
    client.send(
        format!("POST /v1/messages HTTP/1.1\r\nHost: s\r\nContent-Length: {}\r\n\r\n{}", body(true).len(), body(true))
            .as_bytes(),
    );
    assert!(client.response().unwrap().json()["error"]["message"].as_str().unwrap().contains("anthropic-version"));
}

#[test]
fn other_endpoints_are_missing() {
    let provider = provider();
    let mut client = Client::connect(&provider);
    client.send(b"GET /v1/models?limit=1000 HTTP/1.1\r\nHost: s\r\n\r\n");
    assert_eq!(client.response().unwrap().json()["has_more"], false);
    client.send(b"GET /v1/models/claude-sonnet-4-6 HTTP/1.1\r\nHost: s\r\n\r\n");
    assert_eq!(client.response().unwrap().json()["id"], "claude-sonnet-4-6");
    for (path, status) in [("/", 200), ("/api/hello", 200), ("/nowhere", 404)] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: s\r\n\r\n").as_bytes());
        assert_eq!(client.head().unwrap().0, status);
    }
    client.send(format!("POST /v1/messages/count_tokens?beta=true HTTP/1.1\r\nHost: s\r\nanthropic-version: x\r\nContent-Length: {}\r\n\r\n{}", body(false).len(), body(false)).as_bytes());
    assert_eq!(client.response().unwrap().json()["input_tokens"], body(false).len().div_ceil(4));
    client.send(b"GET /sim/books?since=5 HTTP/1.1\r\nHost: s\r\n\r\n");
    let books = client.response().unwrap().json();
    assert_eq!((&books["last_index"], books["entries"].as_array().unwrap().len()), (&6.into(), 1));
    assert_eq!(books["entries"][0]["path"], "/v1/messages/count_tokens?beta=true");
    assert_eq!(books["totals"]["connections"], 1, "all on one connection");
    client.send(b"DELETE /sim/books HTTP/1.1\r\nHost: s\r\n\r\n");
    client.response().unwrap();
    client.send(b"GET /sim/books?totals=1 HTTP/1.1\r\nHost: s\r\n\r\n");
    assert_eq!(client.response().unwrap().json()["totals"]["requests"], 0);
}

#[test]
fn chunked_or_expecting_upload_stalls() {
    let provider = start(ProviderOptions { keep_bodies: true, ..ProviderOptions::default() }).unwrap();
    let mut client = Client::connect(&provider);
    let whole = body(false);
    let (front, back) = whole.split_at(20);
    client.send(b"POST /v1/messages HTTP/1.1\r\nHost: s\r\nanthropic-version: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(client.head().unwrap().0, 100);
    client.send(format!("{:x}\r\n{front}\r\n{:X}\r\n{back}\r\n0\r\n\r\n", front.len(), back.len()).as_bytes());
    assert_eq!(client.response().unwrap().status, 200);
    let books = ended(&provider, 1);
    assert_eq!(books.entries[0].request_body.as_deref(), Some(body(false).as_bytes()));
    assert_eq!(books.entries[0].request_framing, "chunked");
}

#[test]
fn threads_do_not_share_the_books() {
    let provider = start(ProviderOptions { threads: 2, ..ProviderOptions::default() }).unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&provider, "lean=1 body_bytes=2048", false).body.len(), 2048);
    }
    let books = ended(&provider, 20);
    assert_eq!((books.totals.models["claude-sonnet-4-6"].completed, books.entries.len()), (20, 0));
}

#[test]
fn a_script_of_turns_stands_still_or_starts_over() {
    let provider = provider();
    let script = "status=529 then tool=auto tool_command=echo_caf\"é then events=2";
    let first = ask(&provider, script, true);
    let (second, third, fourth) =
        (ask(&provider, script, false), ask(&provider, script, false), ask(&provider, script, false));
    assert_eq!((first.status, second.status, third.status), (529, 200, 200));
    assert_eq!(second.json()["content"][1]["input"], serde_json::json!({"command": "echo caf\"é"}));
    assert_eq!(
        (third.json()["stop_reason"].as_str(), &fourth.json()["stop_reason"]),
        (Some("end_turn"), &"end_turn".into())
    );
    assert_eq!(ask(&provider, "status=529 then events=1", true).status, 529, "another script has turns of its own");
}
