//! What has to hold for every SDK; `python.rs` and `typescript.rs` call each check from a test of its own.

use serde_json::{Value, json};

use crate::gateway::{
    ALICE, ALICE_KEY, BLOCKED_MESSAGE, BOB_KEY, DEAR_ANSWER, HAIKU, OPUS, SONNET, TINY_BUDGET, start,
};
use crate::sdk::{Driven, Sdk, call, with};
use crate::support::{DEADLINE, eventually};

/// Bytes of the large prompt.
const PROMPT_BYTES: usize = 1 << 20;

pub fn answers_and_streams_arrive_whole(sdk: Sdk) {
    let (provider, weir) = start("");
    let message = with(call("message", ALICE_KEY, SONNET), "sim", "events=4 event_bytes=120");
    let stream = with(call("stream", ALICE_KEY, OPUS), "sim", "events=30 event_bytes=120 chunk=split comments=1");
    let large = with(stream.clone(), "prompt", large_prompt());
    let driven = sdk.drive(&weir, &[message, stream, large]);

    for (index, deltas) in [(0, 4), (1, 30), (2, 30)] {
        let answer = driven.ok(index);
        let sent = driven.exchanges[index]["request_sha256"].as_str().expect("a digest");
        let text = answer["text"].as_str().expect("a text");
        // The provider begins each answer with the first half of the digest of what it received.
        assert!(text.starts_with(&sent[..16]), "{} begins {text:?}", &sent[..16]);
        assert!(text.contains("日本 🙂 </s>"), "{text:?}");
        assert_eq!(answer["stop_reason"], "end_turn");
        if index > 0 {
            assert_eq!(answer["streamed_text"], answer["text"]);
            assert_stream_order(answer["events"].as_array().expect("events"), deltas);
        }
    }
    assert_eq!(driven.assert_relayed_unchanged(&provider), 3);
    let books = provider.books_of(3);
    for (index, entry) in books["entries"].as_array().expect("entries").iter().enumerate() {
        let (answer, billed) = (driven.ok(index), &entry["usage"]);
        assert_eq!((&answer["input_tokens"], &answer["output_tokens"]), (&billed["input"], &billed["output"]));
    }
    assert!(books["entries"][2]["request_bytes"].as_u64() > Some(PROMPT_BYTES as u64));
}

pub fn tokens_are_counted_and_not_billed(sdk: Sdk) {
    let (provider, weir) = start("");
    let count = with(call("count_tokens", ALICE_KEY, SONNET), "prompt", "How many tokens are these?");
    let driven = sdk.drive(&weir, &[count]);
    assert_eq!(driven.assert_relayed_unchanged(&provider), 1);
    let books = provider.books_of(1);
    let bytes = books["entries"][0]["request_bytes"].as_u64().expect("a size");
    assert_eq!(driven.ok(0)["input_tokens"], bytes.div_ceil(4));
    let report = weir.admin_get("/admin/v1/usage?group_by=user");
    let cost = |row: &Value| row["cost_usd"].as_str().and_then(|cost| cost.parse::<f64>().ok());
    let free = |row: &Value| row["input_tokens"] == 0 && cost(row) == Some(0.0);
    assert!(report["data"].as_array().expect("rows").iter().all(free), "counting is free: {report}");
}

pub fn models_of_the_key_are_listed(sdk: Sdk) {
    let (_provider, weir) = start("");
    let list = |key| call("models", key, "");
    let one = |key, model| call("model", key, model);
    let driven =
        sdk.drive(&weir, &[list(ALICE_KEY), list(BOB_KEY), one(ALICE_KEY, SONNET), one(ALICE_KEY, "claude-nothing-1")]);
    let ids = |index: usize| {
        let models = driven.ok(index).as_array().expect("models");
        let mut ids: Vec<&str> = models.iter().filter_map(|model| model["id"].as_str()).collect();
        assert!(models.iter().all(|model| model["display_name"].as_str().is_some_and(|name| !name.is_empty())));
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids(0), [HAIKU, OPUS, SONNET]);
    assert_eq!(ids(1), [HAIKU], "a key sees the models that it may use");
    assert_eq!(driven.ok(2)["id"], SONNET);
    assert_eq!(driven.error(3)["class"], "NotFoundError");
}

pub fn own_refusals_raise_the_right_class(sdk: Sdk) {
    let (provider, weir) = start("");
    let refused = [
        (call("message", "weir-key-of-nobody", SONNET), "AuthenticationError", 401, "authentication_error"),
        (call("stream", ALICE_KEY, "claude-nothing-1"), "NotFoundError", 404, "not_found_error"),
        (call("message", BOB_KEY, SONNET), "PermissionDeniedError", 403, "permission_error"),
    ];
    let calls: Vec<Value> = refused.iter().map(|(call, ..)| call.clone()).collect();
    let driven = sdk.drive(&weir, &calls);
    for (index, (call, class, status, kind)) in refused.iter().enumerate() {
        let error = driven.error(index);
        let told = (&error["class"], &error["status"], &error["type"]);
        assert_eq!(told, (&json!(class), &json!(status), &json!(kind)), "{call}: {error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty() && !message.contains(ALICE_KEY), "{error}");
        assert!(Driven::is_own(&driven.exchanges[index]), "{}", driven.exchanges[index]);
    }
    for (index, model) in [(1, "claude-nothing-1"), (2, SONNET)] {
        let message = driven.error(index)["message"].as_str().unwrap_or_default();
        assert!(message.contains(model), "the message names the model: {message:?}");
    }
    assert_eq!(provider.books()["totals"]["requests"], 0, "no refused call goes upstream");
}

pub fn upstream_errors_keep_their_class_and_words(sdk: Sdk) {
    let (provider, weir) = start("");
    let scripted = [
        (400, "BadRequestError", "invalid_request_error"),
        (413, "RequestTooLargeError", "request_too_large"),
        (429, "RateLimitError", "rate_limit_error"),
        (500, "InternalServerError", "api_error"),
        (529, "OverloadedError", "overloaded_error"),
    ];
    let failing = |status: &u16, kind: &str| {
        let script = format!("status={status} message=words_of_the_provider_about_{status}");
        with(call(kind, ALICE_KEY, SONNET), "sim", script)
    };
    let calls: Vec<Value> =
        scripted.iter().flat_map(|(status, ..)| ["message", "stream"].map(|kind| failing(status, kind))).collect();
    let driven = sdk.drive(&weir, &calls);
    for (index, (status, class, kind)) in scripted.iter().flat_map(|one| [one, one]).enumerate() {
        let error = driven.error(index);
        let told = (&error["status"], &error["type"], &error["message"]);
        let words = format!("words of the provider about {status}");
        assert_eq!(told, (&json!(status), &json!(kind), &json!(words)), "{error}");
        // 413 has two classes of one meaning in the SDKs.
        let named = error["class"].as_str().unwrap_or_default();
        assert!(named == *class || (*status == 413 && named == "ContentTooLargeError"), "{error}");
    }
    assert_eq!(driven.assert_relayed_unchanged(&provider), calls.len() as u64);
}

pub fn an_error_inside_a_stream_is_raised(sdk: Sdk) {
    let (provider, weir) = start("");
    let broken = with(call("stream", ALICE_KEY, SONNET), "sim", "events=20 error_at=8");
    let cut = with(call("stream", ALICE_KEY, SONNET), "sim", "events=20 close_at=8");
    let driven = sdk.drive(&weir, &[broken, cut]);
    let error = driven.error(0);
    assert_eq!((&error["type"], &error["is_api_error"]), (&json!("overloaded_error"), &json!(true)), "{error}");
    let class = if sdk == Sdk::Python { "APIStatusError" } else { "APIError" };
    assert_eq!(error["class"], class, "{error}");
    // A stream that is cut off must not look like one that ended well; how the SDK names it is the SDK's affair.
    driven.error(1);
    let books = provider.books_of(2);
    let sent = &driven.exchanges[0];
    assert_eq!(sent["response_sha256"], books["entries"][0]["response_sha256"], "{sent}");
}

pub fn tools_and_thinking_are_parsed(sdk: Sdk) {
    let (provider, weir) = start("");
    let asked = |kind| {
        let call = with(call(kind, ALICE_KEY, SONNET), "tools", true);
        with(call, "sim", "thinking=1 tool=auto events=6 event_bytes=120")
    };
    let driven = sdk.drive(&weir, &[asked("message"), asked("stream")]);
    for index in [0, 1] {
        let answer = driven.ok(index);
        assert_eq!(answer["stop_reason"], "tool_use");
        let content = answer["content"].as_array().expect("content");
        let kinds: Vec<&str> = content.iter().filter_map(|block| block["type"].as_str()).collect();
        assert_eq!(kinds, ["thinking", "text", "tool_use"]);
        assert!(content[0]["thinking"].as_str().is_some_and(|text| text.ends_with("It goes over the weir.")));
        assert!(content[0]["signature"].as_str().is_some_and(|signature| signature.ends_with("==")), "{content:?}");
        let input = json!({ "command": "ls -la", "path": "/srv/app", "note": "café \"x\"" });
        assert_eq!((&content[2]["name"], &content[2]["input"]), (&json!("list_files"), &input));
    }
    assert_eq!(driven.assert_relayed_unchanged(&provider), 2);
}

pub fn an_empty_budget_is_told_once(sdk: Sdk) {
    let (provider, weir) = start(TINY_BUDGET);
    let dear = with(call("stream", ALICE_KEY, SONNET), "sim", DEAR_ANSWER);
    sdk.drive(&weir, std::slice::from_ref(&dear)).ok(0);
    eventually(DEADLINE, "the dear answer is booked", || {
        let report = weir.admin_get("/admin/v1/usage?group_by=user");
        let mut rows = report["data"].as_array()?.iter();
        rows.any(|row| row["user"] == ALICE && row["output_tokens"] == 100_000).then_some(())
    });
    let driven = sdk.drive(&weir, &[with(dear, "retries", 2)]);
    let error = driven.error(0);
    let told = (&error["class"], &error["status"], &error["type"]);
    assert_eq!(told, (&json!("RateLimitError"), &json!(429), &json!("billing_error")), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains(BLOCKED_MESSAGE)), "{error}");
    assert_eq!(driven.results[0]["attempts"], 1, "x-should-retry: false is obeyed");
    let seconds = driven.exchanges[0]["headers"]["retry-after"].as_str().and_then(|text| text.parse::<u32>().ok());
    assert!(seconds.is_some_and(|seconds| seconds <= 24 * 3600), "{}", driven.exchanges[0]);
    assert_eq!(provider.books()["totals"]["requests"], 1, "no call upstream without money");
}

/// `message_start` first, `message_stop` last, one block between them with all its deltas.
fn assert_stream_order(events: &[Value], deltas: usize) {
    let kinds: Vec<&str> = events.iter().filter_map(Value::as_str).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"message_start"), Some(&"message_stop")), "{kinds:?}");
    let count = |kind: &str| kinds.iter().filter(|known| **known == kind).count();
    assert_eq!(count("content_block_delta"), deltas, "{kinds:?}");
    assert_eq!((count("content_block_start"), count("content_block_stop"), count("message_delta")), (1, 1, 1));
}

/// Source code, markup and other things that filters in front of gateways like to block.
fn large_prompt() -> String {
    const PIECE: &str = "<script>alert('\\u0022 OR 1=1 --')</script> <tool_result id=\"1\">\n\tfn main() { let x = b\"\\\\\"; }\n\
        SELECT * FROM users; ../../etc/passwd ${jndi} {{7*7}} naïve 日本 🙂 </tool_result>\n";
    PIECE.repeat(PROMPT_BYTES.div_ceil(PIECE.len()))
}
