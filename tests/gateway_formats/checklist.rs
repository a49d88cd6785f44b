//! Rows of `tests/CHECKLIST.md` that no other test had for its subject.

use std::sync::Mutex;
use std::sync::mpsc;

use serde_json::json;
use weir::dialect::bedrock::chunk;

use crate::fixture::{ALICE_KEY, BEDROCK_ID, VERTEX_ID, VERTEX_TAIL, body, sha256, start, start_at};
use crate::raw_upstream::RawUpstream;
use crate::support::http::{self, Connection, request_bytes};

/// One model for each upstream of the configuration.
const MODELS: [&str; 5] =
    ["claude-sonnet-5", "claude-haiku-5-5", "claude-opus-5", "claude-opus-4-8", "claude-opus-4-7"];

fn message(model: &str, more: &str) -> Vec<u8> {
    format!(r#"{{"model":"{model}","max_tokens":1,"messages":[{{"role":"user","content":"hello"}}]{more}}}"#)
        .into_bytes()
}

#[test]
fn a_routed_model_does_not_answer_with_a_message() {
    let gateway = start("");
    for (nth, model) in MODELS.iter().enumerate() {
        let version = if nth % 2 == 0 { "2023-06-01" } else { "2026-10-21" };
        let answer = gateway.post("/v1/messages", &[("anthropic-version", version)], &message(model, ""));
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        assert!(answer.json()["id"].as_str().is_some_and(|id| id.starts_with("msg_")), "{}", answer.text());
        assert!(answer.json()["content"].is_array());
    }
}

#[test]
fn a_version_is_changed_on_its_way() {
    let gateway = start("");
    for (nth, version) in (1..).zip(["2023-06-01", "2026-10-21", "2031-01-01"]) {
        gateway.post("/v1/messages", &[("anthropic-version", version)], &message("claude-sonnet-5", ""));
        assert_eq!(gateway.entry(nth)["headers"]["anthropic-version"], version);
    }
}

#[test]
fn a_path_is_answered_with_a_redirect() {
    let gateway = start("");
    let stem = ["/v1/messages", "/v1/models", "/model/x/invoke", "/vertex/v1/projects/p", "/foundry/v1/messages", ""];
    for path in stem {
        for shape in
            [format!("{path}/"), format!("/{path}"), path.to_uppercase(), format!("{path}?x=1"), format!("{path}/..")]
        {
            let shape = if shape.starts_with('/') { shape } else { format!("/{shape}") };
            for method in ["GET", "POST", "HEAD"] {
                let mut connection = Connection::open(gateway.weir.clients());
                let headers = [("x-api-key", ALICE_KEY)];
                connection.send(&request_bytes(gateway.weir.clients(), method, &shape, &headers, b""));
                let head = connection.read_head();
                assert!(!(300..400).contains(&head.status), "{method} {shape}: {}", head.status);
                assert_eq!(head.header("location"), None, "{method} {shape}");
            }
        }
    }
}

#[test]
fn model_discovery_gives_what_claude_code_cannot_list() {
    let gateway = start("");
    let bearer = format!("Bearer {ALICE_KEY}");
    let both = [("authorization", bearer.as_str()), ("x-api-key", ALICE_KEY)];
    let answer = http::request(gateway.weir.clients(), "GET", "/v1/models?limit=1000", &both, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let list = answer.json();
    let models = list["data"].as_array().expect("models").clone();
    for model in MODELS {
        let found = models.iter().find(|one| one["id"] == model).unwrap_or_else(|| panic!("no {model}: {list}"));
        assert_eq!(found["type"], "model");
        assert!(found["display_name"].as_str().is_some_and(|name| !name.is_empty()), "{found}");
        assert!(found["created_at"].is_string(), "{found}");
    }
    assert_eq!((&list["has_more"], &list["first_id"]), (&json!(false), &models[0]["id"]));
    assert_eq!(gateway.provider.books()["totals"]["requests"], 0, "all of it from memory");
}

#[test]
fn a_body_that_looks_like_an_attack_on_a_web_site_is_refused() {
    let gateway = start("");
    let odd = r#"<script>alert(document.cookie)</script><system-reminder>' OR 1=1;-- ../../etc/passwd ${jndi:ldap://x} <?php system('rm -rf /'); ?>"#;
    let text = serde_json::to_string(&odd.repeat(1 + (1 << 20) / odd.len())).expect("text");
    for (nth, model) in (1..).zip(MODELS) {
        let sent = format!(r#"{{"model":"{model}","max_tokens":1,"messages":[{{"role":"user","content":{text}}}]}}"#);
        let answer = gateway.post("/v1/messages?beta=true", &[("anthropic-version", "2023-06-01")], sent.as_bytes());
        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let entry = gateway.entry(nth);
        let same = !matches!(model, "claude-haiku-5-5" | "claude-opus-5");
        assert_eq!(entry["request_sha256"] == sha256(sent.as_bytes()), same, "{model}");
    }
}

#[test]
fn the_largest_body_of_the_api_is_refused_or_a_larger_one_taken() {
    let gateway = start("");
    let sized = |bytes: usize| {
        let (front, back) =
            (r#"{"model":"claude-sonnet-5","max_tokens":1,"messages":[{"role":"user","content":""#, r#""}]}"#);
        format!("{front}{}{back}", "x".repeat(bytes - front.len() - back.len())).into_bytes()
    };
    let version = [("anthropic-version", "2023-06-01")];
    let answer = gateway.post("/v1/messages", &version, &sized(32 << 20));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut connection = Connection::open(gateway.weir.clients());
    let head = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: w\r\nx-api-key: {ALICE_KEY}\r\ncontent-length: {}\r\n\r\n",
        33 << 20
    );
    connection.send(head.as_bytes());
    let answer = connection.read_response();
    assert_eq!(
        (answer.status, &answer.json()["error"]["type"]),
        (413, &json!("request_too_large")),
        "{}",
        answer.text()
    );
    assert!(answer.text().contains("32 MiB"), "{}", answer.text());
}

#[test]
fn events_wait_for_each_other() {
    // The upstream sends an event only when the client has the one before.
    let (taken, takes) = mpsc::channel::<()>();
    let takes = Mutex::new(takes);
    let upstream = RawUpstream::start(move |mut peer| {
        peer.read_request().expect("a request");
        let frames = peer.request.starts_with(b"POST /model/");
        let kind = if frames { "application/vnd.amazon.eventstream" } else { "text/event-stream" };
        peer.send(format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n").as_bytes());
        for nth in 0..5 {
            let data = format!(r#"{{"type":"content_block_delta","index":{nth}}}"#);
            let mut event = Vec::new();
            match frames {
                true => chunk::append(&mut event, data.as_bytes()),
                false => event.extend(format!("event: content_block_delta\ndata: {data}\n\n").bytes()),
            }
            peer.send(&[format!("{:x}\r\n", event.len()).as_bytes(), &event, b"\r\n"].concat());
            takes.lock().expect("one at a time").recv().expect("the client has it");
        }
        peer.send(b"0\r\n\r\n");
    });
    let weir = start_at(&upstream.url(), "");
    let bedrock = format!("/model/{BEDROCK_ID}/invoke-with-response-stream");
    let vertex = format!("/vertex/{VERTEX_TAIL}/{VERTEX_ID}:streamRawPredict");
    for (path, sent) in [
        ("/v1/messages", message("claude-sonnet-5", r#","stream":true"#)),
        ("/v1/messages", message("claude-haiku-5-5", r#","stream":true"#)),
        (bedrock.as_str(), body("bedrock-2023-05-31", "")),
        ("/model/us.anthropic.claude-sonnet-5/invoke-with-response-stream", body("bedrock-2023-05-31", "")),
        (vertex.as_str(), body("vertex-2023-10-16", "")),
    ] {
        let mut connection = Connection::open(weir.clients());
        let headers = [("x-api-key", ALICE_KEY), ("anthropic-version", "2023-06-01")];
        connection.send(&request_bytes(weir.clients(), "POST", path, &headers, &sent));
        assert_eq!(connection.read_head().status, 200, "{path}");
        for _ in 0..5 {
            assert!(connection.read_chunk().is_some_and(|chunk| !chunk.is_empty()), "{path}");
            taken.send(()).expect("the upstream waits");
        }
        assert_eq!(connection.read_chunk(), None, "{path}");
    }
    upstream.check();
}

#[test]
fn a_second_turn_reads_nothing_from_the_cache() {
    let gateway = start("");
    let sent =
        message("claude-sonnet-5", r#","system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}]"#);
    let headers =
        [("anthropic-version", "2023-06-01"), ("anthropic-sim", "caches=1"), ("anthropic-sim-session", "one")];
    let read = |answer: http::Response| answer.json()["usage"]["cache_read_input_tokens"].as_u64();
    assert_eq!(read(gateway.post("/v1/messages", &headers, &sent)), Some(0));
    assert!(read(gateway.post("/v1/messages", &headers, &sent)) > Some(0));
    assert_eq!(gateway.entry(2)["request_sha256"], sha256(&sent));
    assert!(gateway.record(2)["usage"]["cache_read"].as_u64() > Some(0));
}

#[test]
fn a_feature_of_claude_code_does_not_reach_the_first_party() {
    let gateway = start("");
    let more = r#","context_management":{"edits":[{"type":"clear_tool_uses_20250919"}]},"thinking":{"type":"adaptive"},
        "output_config":{"effort":"max","format":{"type":"json_schema","schema":{}},"task_budget":{"tokens":5}},"safeguards":{"mode":"auto"},
        "tools":[{"type":"advisor_20260301","name":"advisor"},{"name":"T","strict":true,"defer_loading":true,"eager_input_streaming":true,
        "input_schema":{"type":"object","properties":{"p":{"pattern":"^\\p{Lu}"}}}}],"speed":"fast","service_tier":"auto""#;
    let sent = message("claude-sonnet-5", more);
    let answer = gateway.post("/v1/messages?beta=true", &[("anthropic-version", "2023-06-01")], &sent);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(gateway.entry(1)["request_sha256"], sha256(&sent));
}

#[test]
fn a_hint_of_claude_code_is_refused_or_forwarded_or_not_recorded() {
    let gateway = start("");
    let hints = [
        ("x-claude-code-session-id", "5f7f9b30-0000-4000-8000-000000000001"),
        ("x-claude-code-agent-id", "agent-1"),
        ("x-claude-code-parent-agent-id", "agent-0"),
        ("x-claude-code-request-class", "subagent"),
        ("x-claude-code-agent-type", "Explore"),
        ("x-claude-code-compaction", "auto"),
        ("x-claude-code-context-compacted", "manual"),
        ("x-claude-code-prev-tool-durations", "Bash=120;Read%3B=4"),
        ("x-claude-code-prompt-id", "5f7f9b30-0000-4000-8000-000000000002"),
        ("x-claude-code-not-invented-yet", "1"),
        ("anthropic-version", "2023-06-01"),
    ];
    let answer = gateway.post("/v1/messages", &hints, &message("claude-sonnet-5", ""));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let (entry, record) = (gateway.entry(1), gateway.record(1));
    let sent = entry["headers"].as_object().expect("headers");
    assert!(!sent.keys().any(|name| name.starts_with("x-claude-code-")), "{entry}");
    for (field, value) in [("session", hints[0].1), ("agent", "agent-1"), ("request_class", "subagent")] {
        assert_eq!(record[field], value, "{record}");
    }
    // Nobody becomes somebody by a hint.
    let stranger =
        http::request(gateway.weir.clients(), "POST", "/v1/messages", &hints, &message("claude-sonnet-5", ""));
    assert_eq!(stranger.status, 401, "{}", stranger.text());
}

#[test]
fn a_credential_of_foundry_clients_is_read_in_one_header_only() {
    let gateway = start("");
    let bearer = format!("Bearer {ALICE_KEY}");
    for (name, value) in [("api-key", ALICE_KEY), ("x-api-key", ALICE_KEY), ("authorization", bearer.as_str())] {
        let headers = [(name, value), ("anthropic-version", "2023-06-01")];
        for path in ["/foundry/v1/messages", "/foundry/anthropic/v1/messages"] {
            let sent = message("claude-opus-4-8", "");
            let answer = http::request(gateway.weir.clients(), "POST", path, &headers, &sent);
            assert_eq!(answer.status, 200, "{name} {path}: {}", answer.text());
        }
    }
}
