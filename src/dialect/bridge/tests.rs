//! Requests and streams between all formats, against goldens and at every split.

use super::{Ask, Bridged, FramesToSse, SseToFrames, Text, bridge, request::applied};
use crate::{
    dialect::bedrock::{chunk, errors::exception_frame},
    kernel::{
        record::{Format, Operation},
        usage::Usage,
    },
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn ask(from: Format, to: Format) -> Ask<'static> {
    let model = match to {
        Format::Anthropic => "claude-opus-5",
        Format::Bedrock => "us.anthropic.claude-opus-5",
        Format::Vertex => "claude-opus-5",
    };
    Ask {
        from,
        to,
        operation: Operation::Messages,
        model,
        stream: None,
        version: Some(b"2023-06-01"),
        betas: &[],
        refused: &[],
    }
}

fn bridged(body: &[u8], ask: &Ask<'_>) -> (Vec<u8>, Bridged) {
    let whole = bridge(Text(&[body]), ask).expect("bridged");
    (applied(body, &whole.edits), whole)
}

/// The same at every cut.
fn everywhere(body: &[u8], ask: &Ask<'_>) -> (Vec<u8>, Bridged) {
    let whole = bridged(body, ask);
    for cut in 0..=body.len() {
        let pieces = [&body[..cut], &body[cut..]];
        assert_eq!(bridge(Text(&pieces), ask).as_ref(), Ok(&whole.1), "cut at {cut}");
    }
    whole
}

const CLAUDE_CODE: &str = r#"{"model":"claude-opus-5", "messages":[{"role":"user","content":[{"text":"caf\u00e9 \\p{L}","type":"text"}]}],"system":[{"type":"text","text":"x-anthropic-billing-header: a"}],"metadata":{"user_id":"{\"device_id\":\"d\"}"},"max_tokens":64000 ,"thinking":{"type":"adaptive"},"output_config":{"effort":"high","format":{"type":"json_schema"}},"service_tier":"auto","stream":true}"#;

#[test]
fn claude_codes_request_is_what_bedrock_takes() {
    let betas: [&[u8]; 2] =
        [b"claude-code-20250219, context-management-2025-06-27", b"oauth-2025-04-20,claude-code-20250219"];
    let (body, out) =
        everywhere(CLAUDE_CODE.as_bytes(), &Ask { betas: &betas, ..ask(Format::Anthropic, Format::Bedrock) });
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["claude-code-20250219","context-management-2025-06-27"],"messages":[{"role":"user","content":[{"text":"caf\u00e9 \\p{L}","type":"text"}]}],"system":[{"type":"text","text":"x-anthropic-billing-header: a"}],"metadata":{"user_id":"5c3eab71bd3af5a1a3fbeafa2cd2d8ed3dcb8cf04ae36a5cbd6efbbd0b0b2a44"},"max_tokens":64000 ,"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}}"#
            .replace("5c3eab71bd3af5a1a3fbeafa2cd2d8ed3dcb8cf04ae36a5cbd6efbbd0b0b2a44", &hash(r#"{"device_id":"d"}"#))
    );
    assert!(out.stream && out.lines.is_empty());
    assert_eq!(out.dropped, ["oauth-2025-04-20", "service_tier", "output_config.format"]);
}

fn hash(text: &str) -> String {
    let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn claude_codes_request_is_what_vertex_takes() {
    let betas: [&[u8]; 1] = [b"context-1m-2025-08-07"];
    let (body, out) =
        everywhere(CLAUDE_CODE.as_bytes(), &Ask { betas: &betas, ..ask(Format::Anthropic, Format::Vertex) });
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"anthropic_version":"vertex-2023-10-16","messages":[{"role":"user","content":[{"text":"caf\u00e9 \\p{L}","type":"text"}]}],"system":[{"type":"text","text":"x-anthropic-billing-header: a"}],"metadata":{"user_id":"{\"device_id\":\"d\"}"},"max_tokens":64000 ,"thinking":{"type":"adaptive"},"output_config":{"effort":"high","format":{"type":"json_schema"}},"stream":true}"#
    );
    assert_eq!(out.lines, b"anthropic-beta: context-1m-2025-08-07\r\n");
}

#[test]
fn a_request_of_bedrock_is_what_the_first_party_takes() {
    let sent =
        br#"{ "anthropic_version":"bedrock-2023-05-31", "max_tokens":5,"anthropic_beta":["a-1","b-2"],"messages":[] }"#;
    let streaming = Ask { stream: Some(true), version: None, ..ask(Format::Bedrock, Format::Anthropic) };
    let (body, out) = everywhere(sent, &streaming);
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"model":"claude-opus-5","stream":true, "max_tokens":5,"messages":[] }"#
    );
    assert_eq!(String::from_utf8(out.lines).unwrap(), "anthropic-version: 2023-06-01\r\nanthropic-beta: a-1,b-2\r\n");
    let plain = Ask { stream: Some(false), ..streaming };
    assert!(String::from_utf8(everywhere(sent, &plain).0).unwrap().starts_with(r#"{"model":"claude-opus-5", "max"#));
    let (body, out) = everywhere(sent, &Ask { to: Format::Vertex, ..streaming });
    assert_eq!(
        String::from_utf8(body).unwrap(),
        r#"{"anthropic_version":"vertex-2023-10-16","stream":true, "max_tokens":5,"messages":[] }"#
    );
    assert_eq!(out.lines, b"anthropic-beta: a-1,b-2\r\n");
}

#[test]
fn a_request_of_vertex_is_what_the_others_take() {
    let sent = br#"{"anthropic_version":"vertex-2023-10-16","stream":true,"max_tokens":5,"messages":[]}"#;
    let betas: [&[u8]; 1] = [b"a-1"];
    let from = Ask { stream: Some(true), betas: &betas, ..ask(Format::Vertex, Format::Anthropic) };
    let (body, out) = everywhere(sent, &from);
    assert_eq!(body, br#"{"model":"claude-opus-5","stream":true,"max_tokens":5,"messages":[]}"#);
    assert_eq!(out.lines, b"anthropic-version: 2023-06-01\r\nanthropic-beta: a-1\r\n");
    let (body, _) = everywhere(sent, &Ask { to: Format::Bedrock, model: "us.anthropic.claude-opus-5", ..from });
    assert_eq!(
        body,
        br#"{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1"],"max_tokens":5,"messages":[]}"#
    );
}

#[test]
fn tokens_are_counted_between_formats() {
    let count = |from, to| Ask { operation: Operation::CountTokens, version: None, ..ask(from, to) };
    let sent = br#"{"model":"claude-opus-5","messages":[]}"#;
    let (body, _) = everywhere(sent, &count(Format::Anthropic, Format::Bedrock));
    let wrapped: Value = serde_json::from_slice(&body).unwrap();
    let inner = wrapped["input"]["invokeModel"]["body"].as_str().unwrap();
    let mut decoded = Vec::new();
    assert!(chunk::decode(inner.as_bytes(), &mut decoded));
    assert_eq!(decoded, br#"{"anthropic_version":"bedrock-2023-05-31","max_tokens":1,"messages":[]}"#);
    let (back, _) = everywhere(&body, &count(Format::Bedrock, Format::Anthropic));
    assert_eq!(back, sent);
    let (vertex, _) = everywhere(&body, &count(Format::Bedrock, Format::Vertex));
    assert_eq!(vertex, br#"{"anthropic_version":"vertex-2023-10-16","model":"claude-opus-5","messages":[]}"#);
    assert!(bridge(Text(&[b"{\"input\":{}}"]), &count(Format::Bedrock, Format::Anthropic)).is_err());
    assert_eq!(
        super::counted(Format::Bedrock, Format::Anthropic, b"{\"inputTokens\":12}").unwrap(),
        b"{\"input_tokens\":12}"
    );
    assert_eq!(
        super::counted(Format::Vertex, Format::Bedrock, b"{\"input_tokens\":7}").unwrap(),
        b"{\"inputTokens\":7}"
    );
    assert_eq!(super::counted(Format::Vertex, Format::Bedrock, b"{\"input_tokens\":\"x\"}"), None);
}

#[test]
fn what_an_upstream_does_not_have_is_refused_and_never_silently_dropped() {
    let to = ask(Format::Anthropic, Format::Bedrock);
    for (field, says) in
        [("thread", "thread_unsupported_request"), ("container", "container"), ("mcp_servers", "mcp_servers")]
    {
        let body = format!(r#"{{"model":"m","{field}":{{}},"messages":[]}}"#);
        let refused = bridge(Text(&[body.as_bytes()]), &to).unwrap_err();
        assert!(refused.0.contains(says), "{refused:?}");
    }
    for body in
        [&br#"{"model":"m","stream":true,"stream":false}"#[..], b"[]", b"{\"model\":", b"", b"{\"anthropic_beta\":7}"]
    {
        assert!(bridge(Text(&[body]), &to).is_err(), "{body:?}");
    }
    let many = br#"{"speed":"fast","cache_control":{"type":"ephemeral"},"tags":{},"fallbacks":[],"model":"m"}"#;
    let (body, out) = everywhere(many, &to);
    assert_eq!(body, br#"{"anthropic_version":"bedrock-2023-05-31"}"#);
    assert_eq!(out.dropped, ["tags", "fallbacks", "cache_control", "speed"]);
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","usage":{"input_tokens":1}}}"#;
const DELTA: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\n data: x"}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[test]
fn frames_become_events_at_every_cut() {
    let mut frames = Vec::new();
    for event in [START, "{}", DELTA, STOP] {
        chunk::append(&mut frames, event.as_bytes());
    }
    frames.extend(exception_frame("throttlingException", "slow down, arn:aws:iam::123456789012:role/x"));
    let expected = format!(
        "event: message_start\ndata: {START}\n\nevent: content_block_delta\ndata: {DELTA}\n\nevent: message_stop\ndata: {STOP}\n\n\
         event: error\ndata: {}\n\n",
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down, arn:…"}})
    );
    for cut in 0..=frames.len() {
        let (mut bridge, mut out) = (FramesToSse::default(), Vec::new());
        assert_eq!(bridge.feed(&frames[..cut], &mut out), Ok(()));
        assert_eq!(bridge.feed(&frames[cut..], &mut out), Ok(()));
        assert!(bridge.at_boundary());
        assert_eq!(String::from_utf8(out).unwrap(), expected, "cut at {cut}");
    }
    frames[40] ^= 1;
    assert!(FramesToSse::default().feed(&frames, &mut Vec::new()).is_err());
}

#[test]
fn events_become_frames_that_another_codec_reads_at_every_cut() {
    let usage = Usage { input: 3, output: 9, cache_read: 4, cache_write_5m: 1, cache_write_1h: 2, ..Usage::default() };
    for end in ["\n", "\r\n", "\r"] {
        let sse = [
            format!(": comment{end}{end}event: message_start{end}data: {START}{end}{end}"),
            format!("event: ping{end}data: {{\"type\": \"ping\"}}{end}{end}data:{DELTA}{end}{end}"),
            format!("event: message_stop{end}data: {STOP}{end}{end}"),
            format!(r#"event: error{end}data: {{"type":"error","error":{{"type":"overloaded_error","message":"busy"}}}}{end}{end}"#),
        ]
        .concat();
        let mut whole = Vec::new();
        SseToFrames::default().feed(sse.as_bytes(), || usage, &mut whole).unwrap();
        for cut in 0..=sse.len() {
            let (mut bridge, mut out) = (SseToFrames::default(), Vec::new());
            bridge.feed(&sse.as_bytes()[..cut], || usage, &mut out).unwrap();
            bridge.feed(&sse.as_bytes()[cut..], || usage, &mut out).unwrap();
            assert!(bridge.at_boundary() && out == whole, "cut at {cut}");
        }
        let mut rest = &whole[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let message = aws_smithy_eventstream::frame::read_message_from(&mut rest).expect("a frame");
            let payload: Value = serde_json::from_slice(message.payload()).unwrap();
            let mut event = Vec::new();
            match payload["bytes"].as_str() {
                Some(text) => assert!(chunk::decode(text.as_bytes(), &mut event)),
                None => event = payload.to_string().into_bytes(),
            }
            events.push(String::from_utf8(event).unwrap());
        }
        assert_eq!((events.len(), &*events[0], &*events[1], &*events[3]), (4, START, DELTA, r#"{"message":"busy"}"#));
        let stop: Value = serde_json::from_str(&events[2]).unwrap();
        assert_eq!(
            stop["amazon-bedrock-invocationMetrics"],
            json!({"inputTokenCount": 3, "outputTokenCount": 9, "cacheReadInputTokenCount": 4, "cacheWriteInputTokenCount": 3})
        );
    }
}

#[test]
fn an_event_without_end_is_kept_without_end() {
    let mut bridge = SseToFrames::default();
    let piece = [b'x'; 4096];
    let fed = (0..1000).try_for_each(|_| bridge.feed(&piece, Usage::default, &mut Vec::new()));
    assert!(fed.is_err());
}

fn member() -> impl Strategy<Value = (String, String)> {
    let key = prop::sample::select(vec![
        "model",
        "stream",
        "anthropic_version",
        "anthropic_beta",
        "metadata",
        "output_config",
        "max_tokens",
        "speed",
        "tags",
        "service_tier",
        "messages",
        "system",
        "x",
        "cache_control",
    ]);
    let value = prop::sample::select(vec![
        "1",
        "true",
        "\"a\"",
        "[]",
        "{}",
        "[\"a-1\"]",
        "{\"user_id\":\"{}\"}",
        "{\"format\":{},\"effort\":\"low\"}",
        "{\"effort\":1,\"format\":2}",
        "{ \"format\" : 1 }",
        "null",
    ]);
    (key.prop_map(str::to_owned), value.prop_map(str::to_owned))
}

proptest! {
    /// Whatever is cut and put in, what comes out is JSON again, without what the upstream refuses, and all else as it was.
    #[test]
    fn an_edited_body_is_json_and_keeps_the_rest(
        members in prop::collection::vec(member(), 0..8),
        space in prop::sample::select(vec!["", " ", "\n\t "]),
        to in prop::sample::select(vec![Format::Anthropic, Format::Bedrock, Format::Vertex]),
        from in prop::sample::select(vec![Format::Anthropic, Format::Bedrock, Format::Vertex]),
        cut in 0usize..400,
    ) {
        let mut seen = Vec::new();
        let members: Vec<_> = members.into_iter().filter(|(k, _)| !seen.contains(k) && { seen.push(k.clone()); true }).collect();
        let inside: Vec<String> = members.iter().map(|(k, v)| format!("{space}\"{k}\"{space}:{space}{v}{space}")).collect();
        let body = format!("{space}{{{}{space}}}{space}", inside.join(","));
        let cut = cut.min(body.len());
        let asked = ask(from, to);
        let Ok(out) = bridge(Text(&[&body.as_bytes()[..cut], &body.as_bytes()[cut..]]), &asked) else { return Ok(()) };
        let edited = applied(body.as_bytes(), &out.edits);
        let value: Value = serde_json::from_slice(&edited)
            .map_err(|e| TestCaseError::fail(format!("{e}: {}", String::from_utf8_lossy(&edited))))?;
        let object = value.as_object().expect("an object");
        prop_assert_eq!(object.contains_key("model"), to == Format::Anthropic);
        prop_assert_eq!(object.contains_key("anthropic_version"), to != Format::Anthropic);
        for (key, text) in &members {
            let kept = matches!(key.as_str(), "messages" | "system" | "x");
            if kept {
                let member = format!("\"{key}\"{space}:{space}{text}");
                prop_assert!(String::from_utf8_lossy(&edited).contains(&member), "{} is gone", member);
            }
        }
        if to == Format::Bedrock {
            prop_assert!(value.pointer("/output_config/format").is_none() && !object.contains_key("stream"));
        }
    }
}
