//! What has to hold for every client of a cloud's API, on upstreams of its own format and of others; `python.rs`, `typescript.rs` and
//! `boto3.rs` call each check from a test of its own.

use serde_json::{Value, json};

use crate::gateway::{
    ALICE, ALICE_KEY, BLOCKED_MESSAGE, BOB_KEY, DEAR_ANSWER, SONNET, TINY_BUDGET, billed, entries, records,
};
use crate::platforms::{Api, Client, MODELS, upstream_of};
use crate::sdk::{Driven, Sdk, with};

/// Thinking, text and a tool, on a prompt that is partly cached.
const WHOLE: &str = "thinking=1 tool=auto events=6 event_bytes=120 cache_read=700 cache_5m=40";

pub fn answers_arrive_whole_from_every_upstream(client: Client) {
    let meeting = client.meet("");
    let mut calls = Vec::new();
    for model in MODELS {
        for name in ["message", "stream"] {
            let asked = client.call(name, ALICE_KEY, model, WHOLE);
            calls.push((model, with(with(asked, "tools", true), "thinking", true)));
        }
        if client.counts() {
            calls.push((model, client.call("count_tokens", ALICE_KEY, model, "")));
        }
    }
    let asked: Vec<Value> = calls.iter().map(|(_, call)| call.clone()).collect();
    let driven = meeting.drive(&asked);
    let entries = entries(&meeting.provider, calls.len() as u64);
    let records = records(&meeting.weir, calls.len(), |_| true);
    for (index, (model, call)) in calls.iter().enumerate() {
        let (answer, entry, record) = (driven.ok(index), &entries[index], &records[index]);
        let exchange = &driven.exchanges[index];
        if *model == client.home() {
            assert_eq!(exchange["request_sha256"], entry["request_sha256"], "{call}");
            let received = &exchange["response_sha256"];
            assert!(received.is_null() || *received == entry["response_sha256"], "{exchange}\n{entry}");
        }
        if client.api == Api::Aws && *model == SONNET {
            assert_eq!(entry["headers"]["anthropic-workspace-id"], "wrkspc_of_the_client");
        }
        let place = (&record["user"], &record["format"], &record["upstream"], &record["outcome"]);
        let expected = (&json!(ALICE), &json!(client.format()), &json!(upstream_of(model)), &json!("completed"));
        assert_eq!(place, expected, "{record}");
        assert_eq!(record["usage"], billed(entry), "{record}");
        if call["do"] == "count_tokens" {
            let bytes = entry["request_bytes"].as_u64().expect("a size");
            assert_eq!(answer["input_tokens"], bytes.div_ceil(4), "{call}");
        } else {
            assert_whole(answer, entry, call["do"] == "stream");
        }
    }
}

/// Thinking with its signature, the text from its mark on, the tool's input, and what it cost.
fn assert_whole(answer: &Value, entry: &Value, stream: bool) {
    assert_eq!(answer["stop_reason"], "tool_use", "{answer}");
    let content = answer["content"].as_array().expect("content");
    let kinds: Vec<&str> = content.iter().filter_map(|block| block["type"].as_str()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    assert!(content[0]["thinking"].as_str().is_some_and(|text| text.ends_with("It goes over the weir.")));
    let mark = &entry["request_sha256"].as_str().expect("a digest")[..16];
    let signed = |signature: &str| signature.contains(mark) && signature.ends_with("==");
    assert!(content[0]["signature"].as_str().is_some_and(signed), "{answer}");
    let text = answer["text"].as_str().expect("a text");
    assert!(text.starts_with(mark) && text.contains("日本 🙂 </s>"), "{text:?}");
    let input = json!({ "command": "ls -la", "path": "/srv/app", "note": "café \"x\"" });
    assert_eq!((&content[2]["name"], &content[2]["input"]), (&json!("list_files"), &input));
    let billed = &entry["usage"];
    assert_eq!((&answer["input_tokens"], &answer["output_tokens"]), (&billed["input"], &billed["output"]));
    if !stream {
        return;
    }
    assert_eq!(answer["streamed_text"], answer["text"]);
    let events: Vec<&str> = answer["events"].as_array().expect("events").iter().filter_map(Value::as_str).collect();
    assert_eq!((events.first(), events.last()), (Some(&"message_start"), Some(&"message_stop")), "{events:?}");
    let count = |kind: &str| events.iter().filter(|known| **known == kind).count();
    assert_eq!((count("content_block_start"), count("content_block_stop"), count("message_delta")), (3, 3, 1));
    if let Some(metrics) = answer.get("metrics") {
        let told = (&metrics["inputTokenCount"], &metrics["outputTokenCount"], &metrics["cacheReadInputTokenCount"]);
        assert_eq!(told, (&billed["input"], &billed["output"], &json!(700)));
    }
}

pub fn errors_keep_their_class_and_words_from_every_upstream(client: Client) {
    let meeting = client.meet("");
    let mut calls = Vec::new();
    for model in MODELS {
        let overloaded = if upstream_of(model) == "bedrock" { 503 } else { 529 };
        for (status, name) in [400, 404, 429, 500, overloaded].iter().flat_map(|s| [(*s, "message"), (*s, "stream")]) {
            let script = format!("status={status} message=words_of_the_provider_about_{status}");
            calls.push((model, status, client.call(name, ALICE_KEY, model, &script)));
        }
        let throttled = format!("status=429 message={model} then events=2");
        calls.push((model, 200, with(client.call("message", ALICE_KEY, model, &throttled), "retries", 2)));
    }
    let asked: Vec<Value> = calls.iter().map(|(.., call)| call.clone()).collect();
    let driven = meeting.drive(&asked);
    for (index, (model, status, call)) in calls.iter().enumerate() {
        if *status == 200 {
            driven.ok(index);
            assert_eq!(driven.results[index]["attempts"], 2, "throttled once, tried again once: {call}");
            continue;
        }
        let seen = match status {
            503 | 529 if *model != client.home() => 503,
            _ => *status,
        };
        let error = driven.error(index);
        assert_eq!(
            (&error["class"], &error["status"]),
            (&json!(class_of(client, seen)), &json!(seen)),
            "{call}: {error}"
        );
        let words = format!("words of the provider about {status}");
        assert!(error["text"].as_str().is_some_and(|text| text.contains(&words)), "{call}: {error}");
    }
    // The gateway tries nothing by itself: the provider was asked once for each of the client's tries.
    let tries: u64 = driven.results.iter().filter_map(|result| result["attempts"].as_u64()).sum();
    assert_eq!(entries(&meeting.provider, tries).len() as u64, calls.len() as u64 + MODELS.len() as u64);
}

/// What a client raises on a status.
fn class_of(client: Client, status: u16) -> &'static str {
    if client.sdk == Sdk::Boto3 {
        return match status {
            400 => "ValidationException",
            403 => "AccessDeniedException",
            404 => "ResourceNotFoundException",
            429 => "ThrottlingException",
            503 => "ServiceUnavailableException",
            _ => "InternalServerException",
        };
    }
    match status {
        400 => "BadRequestError",
        401 => "AuthenticationError",
        403 => "PermissionDeniedError",
        404 => "NotFoundError",
        429 => "RateLimitError",
        503 => "ServiceUnavailableError",
        529 => "OverloadedError",
        _ => "InternalServerError",
    }
}

pub fn a_stream_that_breaks_off_is_raised(client: Client) {
    let meeting = client.meet("");
    let cuts = [("error_at=8", false), ("close_at=8", true), ("reset_at=8", true)];
    let calls: Vec<Value> = MODELS
        .iter()
        .flat_map(|model| cuts.map(|(cut, _)| client.call("stream", ALICE_KEY, model, &format!("events=20 {cut}"))))
        .collect();
    let driven = meeting.drive(&calls);
    for (index, (model, (cut, broken))) in MODELS.iter().flat_map(|model| cuts.map(|cut| (model, cut))).enumerate() {
        let error = driven.error(index);
        assert_eq!(error["is_api_error"], true, "{model} {cut}: {error}");
        let throttled = upstream_of(model) == "bedrock" && !broken;
        let kind = match (client.api, throttled) {
            (Api::Bedrock, true) => "throttlingException",
            (Api::Bedrock, false) => "serviceUnavailableException",
            (_, true) => "rate_limit_error",
            (_, false) if broken => "api_error",
            (_, false) => "overloaded_error",
        };
        assert_eq!(error["type"], kind, "{model} {cut}: {error}");
        let words = match (broken, throttled) {
            (true, _) => "the upstream broke off",
            (false, true) => "Too many requests",
            (false, false) => "Overloaded",
        };
        assert!(error["message"].as_str().is_some_and(|told| told.contains(words)), "{model} {cut}: {error}");
        if client.sdk == Sdk::Boto3 {
            assert_eq!(error["class"], "EventStreamError", "{error}");
        }
    }
    let estimated = records(&meeting.weir, calls.len(), |_| true);
    assert!(estimated.iter().all(|record| record["usage_source"] == "estimated"), "{estimated:#?}");
}

pub fn own_refusals_are_in_the_clients_words(client: Client) {
    let meeting = client.meet(TINY_BUDGET);
    let mut refused = vec![
        (client.call("message", "weir-key-of-nobody", SONNET, ""), 401, "Authorization"),
        (client.call("stream", ALICE_KEY, "claude-nothing-1", ""), 404, "claude-nothing-1"),
        (client.call("message", BOB_KEY, SONNET, ""), 403, "claude-sonnet-4-6"),
    ];
    if client.api == Api::Bedrock {
        let signed = with(client.call("stream", ALICE_KEY, SONNET, ""), "signs", true);
        refused.push((signed, 403, "AWS_BEARER_TOKEN_BEDROCK"));
    }
    let calls: Vec<Value> = refused.iter().map(|(call, ..)| call.clone()).collect();
    let driven = meeting.drive(&calls);
    for (index, (call, status, words)) in refused.iter().enumerate() {
        let error = driven.error(index);
        assert_eq!(error["status"], *status, "{call}: {error}");
        let text = error["text"].as_str().unwrap_or_default();
        assert!(text.contains(words) && !text.contains(ALICE_KEY), "{call}: {error}");
        if client.sdk != Sdk::Boto3 {
            assert_eq!(error["class"], class_of(client, *status), "{error}");
            assert!(Driven::is_own(&driven.exchanges[index]), "{}", driven.exchanges[index]);
        }
    }
    if client.sdk == Sdk::Boto3 {
        let kinds: Vec<&Value> = driven.results.iter().map(|result| &result["error"]["type"]).collect();
        let names = ["UnrecognizedClientException", "ResourceNotFoundException", "AccessDeniedException"];
        assert_eq!(json!(kinds), json!([names[0], names[1], names[2], "InvalidSignatureException"]));
    }
    assert_eq!(meeting.provider.books()["totals"]["requests"], 0, "no refused call goes upstream");

    let dear = client.call("stream", ALICE_KEY, client.home(), DEAR_ANSWER);
    meeting.drive(std::slice::from_ref(&dear)).ok(0);
    records(&meeting.weir, 1, |record| record["usage"]["output"] == 100_000);
    let driven = meeting.drive(&[with(dear, "retries", 2)]);
    let error = driven.error(0);
    assert_eq!((&error["class"], &error["status"]), (&json!(class_of(client, 429)), &json!(429)), "{error}");
    assert!(error["text"].as_str().is_some_and(|text| text.contains(BLOCKED_MESSAGE)), "{error}");
    if client.sdk != Sdk::Boto3 {
        assert_eq!(driven.results[0]["attempts"], 1, "x-should-retry: false is obeyed");
    }
    assert_eq!(meeting.provider.books()["totals"]["requests"], 1, "no call upstream without money");
}
