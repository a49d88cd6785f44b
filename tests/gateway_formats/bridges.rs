//! A client of one format on an upstream of another. The simulated clouds refuse what the real ones refuse, so that a 200 says
//! that the request was theirs.

use serde_json::{Value, json};

use crate::fixture::{Gateway, VERTEX_TAIL, billed, body, sha256, start};
use crate::same_format::{base64, frames};
use crate::support::http::Response;

const SIM: &str = "events=12 thinking=1 cache_read=700 cache_5m=40";

/// What Claude Code sends, with everything that a cloud refuses.
fn messages(model: &str, sim: &str, stream: bool) -> Vec<u8> {
    format!(
        r#"{{"model":"{model}","messages":[{{"role":"user","content":"How deep? [[sim {sim}]] caf\u00e9"}}],"system":[{{"type":"text","text":"a"}}],"metadata":{{"user_id":"{{\"device_id\":\"d\"}}"}},"max_tokens":1000,"output_config":{{"effort":"low","format":{{"type":"json_schema"}}}},"service_tier":"auto","stream":{stream}}}"#
    )
    .into_bytes()
}

const BETAS: (&str, &str) = ("anthropic-beta", "oauth-2025-04-20,context-management-2025-06-27");
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// The types of the events of an SSE stream, with their data.
fn events(answer: &Response) -> Vec<(String, Value)> {
    answer
        .text()
        .split("\n\n")
        .filter(|event| !event.trim().is_empty())
        .map(|event| {
            let line =
                |field: &str| event.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().to_owned();
            (line("event: "), serde_json::from_str(&line("data: ")).expect("JSON"))
        })
        .collect()
}

/// The events inside frames.
fn framed(answer: &Response) -> Vec<Value> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let payloads = frames(&answer.body).into_iter().map(|(_, kind, payload)| {
        assert_eq!(kind, "chunk");
        serde_json::from_slice::<Value>(&payload).expect("JSON")["bytes"].as_str().expect("bytes").to_owned()
    });
    payloads.map(|text| serde_json::from_slice(&STANDARD.decode(text).expect("base64")).expect("JSON")).collect()
}

fn assert_told(gateway: &Gateway, nth: u64, stream: bool, format: &str, upstream: &str) -> Value {
    let (entry, record) = (gateway.entry(nth), gateway.record(nth as usize));
    assert_eq!((&record["usage"], &record["usage_source"]), (&billed(&entry), &json!("reported")), "{record}");
    assert_eq!((&record["format"], &record["upstream"]), (&json!(format), &json!(upstream)));
    assert_eq!((&record["stream"], &record["outcome"]), (&json!(stream), &json!("completed")));
    assert_ne!(record["cost_usd"], "0.000000000");
    entry
}

fn assert_whole_stream(types: &[String]) {
    assert_eq!(types.first().map(String::as_str), Some("message_start"));
    assert_eq!(types.iter().filter(|t| *t == "message_start").count(), 1);
    assert_eq!(types.last().map(String::as_str), Some("message_stop"));
    assert!(types.iter().filter(|t| *t == "content_block_delta").count() >= 12, "{types:?}");
}

#[test]
fn claude_code_cannot_be_served_by_bedrock_or_vertex() {
    let gateway = start("");
    let mut nth = 0;
    for (model, upstream, path) in [
        ("claude-haiku-5-5", "bedrock", "/model/us.anthropic.claude-haiku-5-5/invoke"),
        (
            "claude-opus-5[1m]",
            "vertex",
            "/v1/projects/of-the-gateway/locations/us-east5/publishers/anthropic/models/claude-opus-5:",
        ),
    ] {
        for stream in [false, true] {
            nth += 1;
            let sent = messages(model, SIM, stream);
            let answer = gateway.post("/v1/messages?beta=true", &[BETAS, VERSION], &sent);
            assert_eq!(answer.status, 200, "{}", answer.text());
            let entry = assert_told(&gateway, nth, stream, "anthropic", upstream);
            assert!(entry["path"].as_str().expect("a path").starts_with(path), "{entry}");
            assert_eq!(entry["path"].as_str().map(|p| p.contains("tream")), Some(stream));
            assert!(answer.header("request-id").is_some_and(|id| id.starts_with("req_")));
            assert!(answer.header("x-amzn-requestid").is_none());
            assert!(answer.header("x-weir-dropped").is_some_and(|dropped| dropped.contains("service_tier")));
            if stream {
                assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
                let types: Vec<String> =
                    events(&answer).into_iter().map(|(name, _)| name).filter(|n| n != "ping").collect();
                assert_whole_stream(&types);
            } else {
                assert_eq!(answer.json()["type"], "message");
            }
        }
    }
}

#[test]
fn the_audit_has_no_hash_of_an_answer_between_two_formats() {
    let gateway = start("[audit]\nbodies = \"hash\"\n");
    let scripts = [(SIM, false, 200), (SIM, true, 200), ("status=429", false, 429)];
    for (nth, (sim, stream, status)) in scripts.into_iter().enumerate() {
        let sent = messages("claude-haiku-5-5", sim, stream);
        assert_eq!(gateway.post("/v1/messages?beta=true", &[BETAS, VERSION], &sent).status, status);
        let record = gateway.record(nth + 1);
        assert_eq!((&record["body"], &record["request_sha256"]), (&json!("hashed"), &json!(sha256(&sent))), "{record}");
        assert!(record["response_sha256"].is_string() && record["response_sha256"] != sha256(b""), "{record}");
        assert_eq!((&record["request_cut"], &record["response_cut"]), (&json!(false), &json!(false)), "{record}");
    }
}

#[test]
fn a_client_of_bedrock_cannot_be_served_by_the_others() {
    let gateway = start("");
    let mut nth = 0;
    for (model, upstream) in [("us.anthropic.claude-sonnet-5", "main"), ("us.anthropic.claude-opus-5", "vertex")] {
        for (verb, stream) in [("invoke", false), ("invoke-with-response-stream", true)] {
            nth += 1;
            let sent = body("bedrock-2023-05-31", SIM);
            let answer = gateway.post(&format!("/bedrock/model/{model}/{verb}"), &[], &sent);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_told(&gateway, nth, stream, "bedrock", upstream);
            assert!(answer.header("x-amzn-requestid").is_some() && answer.header("request-id").is_none());
            if stream {
                assert_eq!(answer.header("content-type"), Some("application/vnd.amazon.eventstream"));
                let events = framed(&answer);
                let types: Vec<String> =
                    events.iter().map(|e| e["type"].as_str().expect("a type").to_owned()).collect();
                assert_whole_stream(&types);
                let metrics = &events.last().expect("events")["amazon-bedrock-invocationMetrics"];
                assert_eq!(metrics["cacheReadInputTokenCount"], 700, "{metrics}");
            } else {
                assert_eq!(answer.json()["type"], "message");
            }
        }
    }
}

#[test]
fn a_client_of_vertex_cannot_be_served_by_the_others() {
    let gateway = start("");
    let mut nth = 0;
    for (model, upstream) in [("claude-sonnet-5", "main"), ("claude-haiku-5-5", "bedrock")] {
        for (method, stream) in [("rawPredict", false), ("streamRawPredict", true)] {
            nth += 1;
            let sent = body("vertex-2023-10-16", SIM);
            let answer = gateway.post(&format!("/vertex/{VERTEX_TAIL}/{model}:{method}"), &[BETAS], &sent);
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_told(&gateway, nth, stream, "vertex", upstream);
            if stream {
                let types: Vec<String> =
                    events(&answer).into_iter().map(|(name, _)| name).filter(|n| n != "ping").collect();
                assert_whole_stream(&types);
            }
        }
    }
}

#[test]
fn an_error_comes_in_the_upstreams_dialect_or_loses_its_words() {
    let gateway = start("");
    let throttled = "status=429 retry_after=9 message=slow_down";
    let answer = gateway.post("/v1/messages", &[VERSION], &messages("claude-haiku-5-5", throttled, true));
    let error = &answer.json()["error"];
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("9")), "{}", answer.text());
    assert_eq!((&error["type"], &error["message"]), (&json!("rate_limit_error"), &json!("slow down")));
    assert_eq!(answer.header("x-amzn-errortype"), None);
    let answer =
        gateway.post("/model/us.anthropic.claude-sonnet-5/invoke", &[], &body("bedrock-2023-05-31", "status=529"));
    assert_eq!((answer.status, answer.header("x-amzn-errortype")), (503, Some("ServiceUnavailableException")));
    assert_eq!(answer.json(), json!({"message": "Overloaded"}));
    let long = "status=400 message=Input_is_too_long_for_requested_model.";
    let answer = gateway.post("/v1/messages", &[VERSION], &messages("claude-haiku-5-5", long, false));
    assert!(answer.text().contains("prompt is too long"), "{}", answer.text());
    let thread = r#"{"model":"claude-haiku-5-5","max_tokens":5,"thread":{"type":"create"},"messages":[]}"#;
    let answer = gateway.post("/v1/messages", &[VERSION], thread.as_bytes());
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("thread_unsupported_request"), "{}", answer.text());
}

#[test]
fn a_stream_that_breaks_off_looks_whole_in_the_other_format() {
    let gateway = start("");
    for (nth, cut) in [(1, "close_at=5"), (2, "reset_at=5"), (3, "error_at=5")] {
        let answer = gateway.post("/v1/messages", &[VERSION], &messages("claude-haiku-5-5", cut, true));
        let events = events(&answer);
        let (name, data) = events.last().expect("events");
        assert_eq!((name.as_str(), &data["type"]), ("error", &json!("error")), "{cut}");
        assert!(!events.iter().any(|(name, _)| name == "message_stop"));
        let record = gateway.record(nth);
        assert_eq!(record["usage_source"], "estimated", "{record}");
    }
    let path = "/model/us.anthropic.claude-sonnet-5/invoke-with-response-stream";
    for (cut, exception) in
        [("close_at=5", "serviceUnavailableException"), ("error_at=5", "serviceUnavailableException")]
    {
        let answer = gateway.post(path, &[], &body("bedrock-2023-05-31", cut));
        let frames = frames(&answer.body);
        let last = frames.last().expect("a frame");
        assert_eq!((last.0.as_str(), last.1.as_str()), ("exception", exception), "{cut}");
    }
}

#[test]
fn a_silent_cloud_lets_the_client_wait_without_a_ping() {
    let gateway = start("");
    let sent = messages("claude-haiku-5-5", "events=1 gap_ms=16500", true);
    let answer = gateway.post("/v1/messages", &[VERSION], &sent);
    let names: Vec<String> = events(&answer).into_iter().map(|(name, _)| name).collect();
    let start = ["message_start", "content_block_start", "ping"].map(str::to_owned);
    assert_eq!(names[..3], start, "after 15 s, between two events");
    assert_eq!(names.iter().filter(|name| *name == "ping").count(), 1, "{names:?}");
    assert_eq!(names.last().map(String::as_str), Some("message_stop"));
    assert_told(&gateway, 1, true, "anthropic", "bedrock");
}

#[test]
fn a_provider_that_counts_two_things_is_believed_in_silence() {
    let gateway = start("");
    let mut nth = 0;
    let differed = || gateway.weir.metric("weir_counts_differed_total", &[]);
    for (miscounts, expected) in [(0, 0.0), (1, 4.0)] {
        for stream in [false, true] {
            nth += 2;
            let sim = format!("{SIM} miscounts={miscounts}");
            gateway.post("/v1/messages", &[VERSION], &messages("claude-haiku-5-5", &sim, stream));
            assert_told(&gateway, nth - 1, stream, "anthropic", "bedrock");
            let verb = if stream { "invoke-with-response-stream" } else { "invoke" };
            let path = format!("/model/us.anthropic.claude-haiku-5-5/{verb}");
            let answer = gateway.post(&path, &[], &body("bedrock-2023-05-31", &sim));
            assert!(stream || answer.header("x-amzn-bedrock-output-token-count").is_some());
            // The usage in the answer is what is booked.
            assert_told(&gateway, nth, stream, "bedrock", "bedrock");
        }
        assert_eq!(differed(), expected, "miscounts={miscounts}");
    }
    assert_eq!(gateway.weir.log().matches("counts differ").count(), 4);
}

#[test]
fn tokens_are_not_counted_between_formats() {
    let gateway = start("");
    let count = r#"{"model":"claude-haiku-5-5","messages":[{"role":"user","content":"?"}]}"#;
    let answer = gateway.post("/v1/messages/count_tokens", &[VERSION], count.as_bytes());
    assert!(answer.json()["input_tokens"].as_u64() > Some(0), "{}", answer.text());
    assert_eq!(gateway.entry(1)["path"], "/model/anthropic.claude-haiku-5-5/count-tokens");
    let answer = gateway.post("/v1/messages/count_tokens", &[VERSION], count.replace("haiku-5-5", "opus-5").as_bytes());
    assert!(answer.json()["input_tokens"].as_u64() > Some(0), "{}", answer.text());
    let inner = br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[]}"#;
    let wrapped = json!({ "input": { "invokeModel": { "body": base64(inner) } } }).to_string();
    let answer = gateway.post("/model/us.anthropic.claude-sonnet-5/count-tokens", &[], wrapped.as_bytes());
    assert!(answer.json()["inputTokens"].as_u64() > Some(0), "{}", answer.text());
    assert_eq!(gateway.entry(3)["path"], "/v1/messages/count_tokens");
}
