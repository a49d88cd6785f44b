//! A client and an upstream of one format: bytes untouched, both ways, and everything booked.

use serde_json::{Value, json};

use crate::fixture::{ALICE_KEY, BEDROCK_ID, Gateway, VERTEX_ID, VERTEX_TAIL, billed, body, sha256, start};
use crate::support::http::{self, Response};

const SIM: &str = "events=12 thinking=1 cache_read=700 cache_5m=40 cache_1h=30";

/// The bytes of both directions are the provider's own, and the record says what it billed.
fn assert_whole(gateway: &Gateway, nth: u64, sent: &[u8], answer: &Response, format: &str) -> (Value, Value) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-weir-origin"), None);
    let (entry, record) = (gateway.entry(nth), gateway.record(nth as usize));
    assert_eq!(entry["request_sha256"], sha256(sent), "the request's bytes changed");
    assert_eq!(entry["response_sha256"], sha256(&answer.body), "the answer's bytes changed");
    assert_eq!((&record["format"], &record["outcome"]), (&json!(format), &json!("completed")));
    (entry, record)
}

fn assert_booked(entry: &Value, record: &Value, stream: bool) {
    assert_eq!((&record["operation"], &record["stream"]), (&json!("messages"), &json!(stream)));
    assert_eq!((&record["usage"], &record["usage_source"]), (&billed(entry), &json!("reported")), "{record}");
    assert_ne!(record["cost_usd"], "0.000000000");
    assert_eq!(record["upstream_request_id"], entry["request_id"]);
}

#[test]
fn bedrock_bytes_change_on_the_way_or_are_not_billed() {
    let gateway = start("");
    let sent = body("bedrock-2023-05-31", SIM);
    let mut nth = 0;
    for base in ["", "/bedrock"] {
        for (verb, stream) in [("invoke", false), ("invoke-with-response-stream", true)] {
            for id in [BEDROCK_ID.to_owned(), BEDROCK_ID.replace(':', "%3A")] {
                nth += 1;
                let headers = [("x-amzn-bedrock-guardrailidentifier", "gr-1")];
                let answer = gateway.post(&format!("{base}/model/{id}/{verb}"), &headers, &sent);
                let (entry, record) = assert_whole(&gateway, nth, &sent, &answer, "bedrock");
                assert_booked(&entry, &record, stream);
                assert_eq!(entry["path"], format!("/model/{id}/{verb}"), "the client's own spelling");
                assert_eq!(entry["headers"]["x-amzn-bedrock-guardrailidentifier"], "gr-1");
                assert_eq!(record["model_requested"], BEDROCK_ID);
                let content_type = if stream { "application/vnd.amazon.eventstream" } else { "application/json" };
                assert_eq!(answer.header("content-type"), Some(content_type));
            }
        }
    }
}

#[test]
fn an_arn_is_taken_apart_on_its_way() {
    let gateway = start("");
    let path = "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fabc/invoke";
    let sent = body("bedrock-2023-05-31", SIM);
    let answer = gateway.post(path, &[], &sent);
    let (entry, _) = assert_whole(&gateway, 1, &sent, &answer, "bedrock");
    assert_eq!(entry["path"], path);
}

#[test]
fn a_model_that_is_mapped_is_asked_for_by_its_own_name_and_the_body_stays() {
    let gateway = start("");
    let mapped = "/model/arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fmapped/invoke";
    let sent = body("bedrock-2023-05-31", SIM);
    let answer = gateway.post("/model/us.anthropic.claude-sonnet-4-6/invoke", &[], &sent);
    let (entry, record) = assert_whole(&gateway, 1, &sent, &answer, "bedrock");
    assert_eq!((entry["path"].as_str(), record["upstream"].as_str()), (Some(mapped), Some("bedrock")));
    let answer = gateway.post("/bedrock/model/opus/invoke", &[], &sent);
    let (entry, _) = assert_whole(&gateway, 2, &sent, &answer, "bedrock");
    assert_eq!(entry["path"], "/model/us.anthropic.claude-opus-4-6-v1/invoke");
    let sent = body("vertex-2023-10-16", SIM);
    let path = format!("/v1/{VERTEX_TAIL}/claude-sonnet-4-6:streamRawPredict");
    let answer = gateway.post(&path, &[], &sent);
    let (entry, record) = assert_whole(&gateway, 3, &sent, &answer, "vertex");
    assert_booked(&entry, &record, true);
    let there = "/v1/projects/of-the-gateway/locations/us-east5/publishers/anthropic/models";
    assert_eq!(entry["path"], format!("{there}/claude-sonnet-mapped@20260101:streamRawPredict"));
}

#[test]
fn vertex_bytes_change_on_the_way_or_another_project_is_billed() {
    let gateway = start("");
    let sent = body("vertex-2023-10-16", SIM);
    let mut nth = 0;
    for base in ["", "/v1", "/vertex_ai/v1", "/vertex_ai", "/vertex/v1"] {
        for (method, stream) in [("rawPredict", false), ("streamRawPredict", true)] {
            nth += 1;
            let id = if stream { VERTEX_ID.replace('@', "%40") } else { VERTEX_ID.to_owned() };
            let headers = [("anthropic-beta", "context-1m-2025-08-07"), ("x-goog-user-project", "x")];
            let answer = gateway.post(&format!("{base}/{VERTEX_TAIL}/{id}:{method}"), &headers, &sent);
            let (entry, record) = assert_whole(&gateway, nth, &sent, &answer, "vertex");
            assert_booked(&entry, &record, stream);
            let there = "/v1/projects/of-the-gateway/locations/us-east5/publishers/anthropic/models";
            assert_eq!(entry["path"], format!("{there}/{id}:{method}"));
            assert_eq!(entry["headers"]["anthropic-beta"], "context-1m-2025-08-07");
            assert_eq!(entry["headers"]["x-goog-user-project"], Value::Null);
        }
    }
}

#[test]
fn tokens_are_not_counted_in_a_clouds_own_way() {
    let gateway = start("");
    let inner = String::from_utf8(body("bedrock-2023-05-31", SIM)).expect("text");
    let wrapped = json!({ "input": { "invokeModel": { "body": base64(inner.as_bytes()) } } }).to_string();
    let answer = gateway.post(&format!("/model/{BEDROCK_ID}/count-tokens"), &[], wrapped.as_bytes());
    let (_, record) = assert_whole(&gateway, 1, wrapped.as_bytes(), &answer, "bedrock");
    assert!(answer.json()["inputTokens"].as_u64() > Some(0));
    assert_eq!((&record["operation"], &record["cost_usd"]), (&json!("count_tokens"), &json!("0.000000000")));
    let sent = json!({"anthropic_version": "vertex-2023-10-16", "model": VERTEX_ID, "messages": []}).to_string();
    let answer = gateway.post(&format!("/{VERTEX_TAIL}/count-tokens:rawPredict"), &[], sent.as_bytes());
    assert_whole(&gateway, 2, sent.as_bytes(), &answer, "vertex");
    assert!(answer.json()["input_tokens"].as_u64() > Some(0));
}

#[test]
fn foundry_and_the_aws_platform_do_not_speak_the_anthropic_format() {
    let gateway = start("");
    let message = |model: &str| {
        json!({"model": model, "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": "?"}]})
            .to_string()
            .into_bytes()
    };
    for (nth, path, model, credential) in [
        (1, "/foundry/v1/messages", "claude-opus-4-8", "api-key"),
        (2, "/foundry/anthropic/v1/messages", "claude-opus-4-8", "x-api-key"),
        (3, "/anthropic-aws/v1/messages?beta=true", "claude-opus-4-7", "x-api-key"),
    ] {
        let sent = message(model);
        let headers =
            [(credential, ALICE_KEY), ("anthropic-version", "2023-06-01"), ("anthropic-workspace-id", "wrkspc_client")];
        let answer = http::request(gateway.weir.clients(), "POST", path, &headers, &sent);
        let (entry, record) = assert_whole(&gateway, nth, &sent, &answer, "anthropic");
        assert_booked(&entry, &record, true);
        let workspace = if model == "claude-opus-4-7" { "wrkspc_01" } else { "wrkspc_client" };
        assert_eq!(entry["headers"]["anthropic-workspace-id"], workspace);
        assert!(entry["path"].as_str().expect("a path").starts_with("/v1/messages"));
    }
}

#[test]
fn a_stream_that_breaks_off_ends_in_a_frame_no_client_can_read() {
    let gateway = start("");
    let sent = |cut: &str| body("bedrock-2023-05-31", cut);
    let path = format!("/model/{BEDROCK_ID}/invoke-with-response-stream");
    for (nth, cut) in [(1, "close_at=4"), (2, "reset_at=4")] {
        let answer = gateway.post(&path, &[], &sent(cut));
        let frames = frames(&answer.body);
        let last = frames.last().expect("a frame");
        assert_eq!(last.0, "exception", "{cut}");
        assert_eq!(last.1, "serviceUnavailableException");
        assert!(String::from_utf8_lossy(&last.2).contains("may be incomplete"));
        let record = gateway.record(nth);
        assert_eq!((&record["outcome"], &record["usage_source"]), (&json!("upstream_failed"), &json!("estimated")));
    }
    let answer = gateway.post(&path, &[], &sent("error_at=4"));
    assert_eq!(frames(&answer.body).last().map(|last| last.1.clone()).as_deref(), Some("throttlingException"));
    let entry = gateway.entry(3);
    assert_eq!(entry["response_sha256"], sha256(&answer.body), "an exception of the provider's is relayed as it is");
}

/// Message type, event or exception type, and payload of each frame, by AWS's own codec.
pub fn frames(mut bytes: &[u8]) -> Vec<(String, String, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let message = aws_smithy_eventstream::frame::read_message_from(&mut bytes).expect("a frame");
        let header = |names: &[&str]| {
            let header = message.headers().iter().find(|h| names.contains(&h.name().as_str()));
            header.map(|h| h.value().as_string().expect("a string").as_str().to_owned()).unwrap_or_default()
        };
        let kind = header(&[":event-type", ":exception-type"]);
        found.push((header(&[":message-type"]), kind, message.payload().to_vec()));
    }
    found
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(bytes)
}
