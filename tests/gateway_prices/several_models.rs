//! Answers that several models worked on, through the gateway: the record, the bill, and the usage as it came.

use std::fs;

use serde_json::Value;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, EVE_KEY, WRONG_PROVIDER_KEY, nanos};
use crate::raw_upstream::RawUpstream;
use crate::support::{DEADLINE, Weir, eventually};

/// A gateway whose upstream answers everything with this transcript.
fn answering(file: &str) -> (RawUpstream, Weir) {
    let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    let body = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let kind = if file.ends_with(".sse") { "text/event-stream" } else { "application/json" };
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\nrequest-id: req_1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let answer = [head.into_bytes(), body].concat();
    let upstream = RawUpstream::start(move |mut peer| {
        while peer.read_request().is_some() {
            peer.send(&answer);
        }
    });
    let addr = upstream.url().trim_start_matches("http://").parse().expect("an address");
    let secrets = [
        ("ALICE_KEY", ALICE_KEY),
        ("BOB_KEY", BOB_KEY),
        ("EVE_KEY", EVE_KEY),
        ("WRONG_PROVIDER_KEY", WRONG_PROVIDER_KEY),
    ];
    let weir = Weir::start_with(&fleet::config(addr, "[models]\npassthrough = true\n"), &secrets);
    (upstream, weir)
}

fn record(weir: &Weir, model: &str, stream: bool) -> Value {
    let answer = Ask { model, stream, ..Ask::default() }.send(weir);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("x-weir-request-id").expect("an id").to_owned();
    eventually(DEADLINE, "the record is booked", || {
        weir.admin_get(&format!("/admin/v1/requests?request_id={id}"))["data"][0]
            .as_object()
            .cloned()
            .map(Value::Object)
    })
}

#[test]
fn a_takeover_in_mid_stream_is_booked_on_the_model_that_gave_up() {
    let (_upstream, mut weir) = answering("fallback_mid_output.sse");
    let booked = record(&weir, "claude-fable-5-1", true);
    assert_eq!(booked["model_requested"], "claude-fable-5-1");
    assert_eq!(booked["model_served"], "claude-opus-4-8");
    assert_eq!((&booked["usage"]["input"], &booked["usage"]["output"]), (&2100.into(), &350.into()), "{booked}");
    assert_eq!((nanos(&booked["cost_usd"]), &booked["usage_source"]), (25_500_000, &"reported".into()), "{booked}");
    let raw = &booked["usage_raw"];
    assert_eq!(raw["message_start"]["input_tokens"], 1000, "{raw}");
    assert_eq!(raw["message_delta"]["iterations"][1]["model"], "claude-opus-4-8", "{raw}");
    assert_eq!(raw["fallback"], "claude-opus-4-8", "{raw}");
    weir.restart();
    let again = weir.admin_get("/admin/v1/requests?limit=1")["data"][0].clone();
    assert_eq!(again, booked, "it is all in the journal");
}

#[test]
fn advice_and_compaction_are_free() {
    for (file, model, cost) in
        [("advisor.json", "claude-sonnet-5-5", 41_686_000), ("compaction.sse", "claude-sonnet-5-5", 451_000_000)]
    {
        let (_upstream, weir) = answering(file);
        let booked = record(&weir, model, file.ends_with(".sse"));
        assert_eq!(nanos(&booked["cost_usd"]), cost, "{file}: {booked}");
        assert_eq!(booked["price_version"], "2026-11-09");
        assert!(booked["usage_raw"].is_object(), "{booked}");
    }
}
