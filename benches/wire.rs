//! How fast the wire codecs walk what a coding agent sends and receives.
//!
//! The bodies are those of real traffic in shape: prompts of source code, which JSON fills with escapes, and streams of
//! small deltas. Each bench checks once what it walks, so that a fast wrong answer does not count.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and its macros make public items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weir::dialect::anthropic::usage::UsageTally;
use weir::wire::h1::{
    ChunkEvent, ChunkLimits, ChunkedScanner, HeadLimits, Progress, RequestHead, RequestParser, ResponseHead,
    ResponseParser,
};
use weir::wire::json::{TopLevelScanner, Wanted};
use weir::wire::sse::{EventClass, SseScanner, SseVisitor};

/// A body arrives in the buffers of the data plane.
const PIECE_BYTES: usize = 64 * 1024;
/// Small enough to stay in a core's own cache, as bytes that have just been received are.
const BODY_BYTES: usize = 256 * 1024;

const CODE: &str = r#"fn main() {\n    println!(\"hello, weir\");\n}\n"#;
const PROSE: &str = "the quick brown fox jumps over the lazy dog ";

const WANTED: &[Wanted] = &[
    Wanted { key: "model", capture_bytes_max: 256 },
    Wanted { key: "max_tokens", capture_bytes_max: 24 },
    Wanted { key: "stream", capture_bytes_max: 8 },
];

/// `text` over and over, until it has about `bytes`.
fn repeated(text: &str, bytes: usize) -> String {
    text.repeat(bytes / text.len())
}

/// A request whose messages are these, and its few tools.
fn request_body(messages: &str, tools: &str) -> String {
    format!(
        r#"{{"model":"claude-opus-4-6","messages":[{messages}],"system":[{{"type":"text","text":"You are helpful.","cache_control":{{"type":"ephemeral"}}}}],"tools":[{tools}],"metadata":{{"user_id":"u"}},"max_tokens":32000,"stream":true}}"#
    )
}

fn one_message(content: &str) -> String {
    request_body(&format!(r#"{{"role":"user","content":"{content}"}}"#), "")
}

/// A session some turns in: files read, edits asked for, and the tools' schemas.
fn agent_body() -> String {
    let turn = |n: usize| {
        let file = CODE.repeat(10 + n * 7 % 120);
        format!(
            r#"{{"role":"assistant","content":[{{"type":"text","text":"I'll read the file next."}},{{"type":"tool_use","id":"toolu_01A09q90qw{n:04}","name":"Read","input":{{"file_path":"/home/user/project/src/main.rs","offset":{n}}}}}]}},{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"toolu_01A09q90qw{n:04}","content":"{file}"}}]}}"#
        )
    };
    let tool = r#"{"name":"Bash","description":"Executes a given command in a persistent shell session with optional timeout.\n\nBefore executing the command, please follow these steps:\n\n1. Directory verification:\n - If the command will create new directories or files, first look whether the parent exists.\n","input_schema":{"type":"object","properties":{"command":{"type":"string","description":"The command to execute"},"timeout":{"type":"number","description":"Optional timeout in milliseconds"}},"required":["command"],"additionalProperties":false}}"#;
    let turns: Vec<String> = (0..80).map(turn).collect();
    request_body(&turns.join(","), &vec![tool; 40].join(","))
}

fn scan_json(scanner: &mut TopLevelScanner, body: &[u8]) -> bool {
    scanner.reset();
    body.chunks(PIECE_BYTES).all(|piece| scanner.feed(piece).is_ok()) && scanner.is_complete()
}

fn json(c: &mut Criterion) {
    let block = r#"{"type":"text","text":"hi there"},"#;
    let bodies = [
        ("plain_long_strings", one_message(&repeated(PROSE, BODY_BYTES))),
        ("dense_escapes", one_message(&repeated(CODE, BODY_BYTES))),
        ("many_small_strings", request_body(&(repeated(block, BODY_BYTES) + "{}"), "")),
        ("only_brackets", request_body(&(repeated("[{}],", BODY_BYTES) + "[]"), "")),
        ("agent_session", agent_body()),
    ];
    let mut group = c.benchmark_group("json_scan");
    for (name, body) in &bodies {
        let mut scanner = TopLevelScanner::new(WANTED);
        assert!(scan_json(&mut scanner, body.as_bytes()) && scanner.value(2).unwrap().raw == b"true", "{name}");
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(*name, |b| b.iter(|| scan_json(&mut scanner, black_box(body.as_bytes()))));
    }
    group.finish();
}

fn request_head(c: &mut Criterion) {
    let limits = HeadLimits { head_bytes_max: 32 * 1024, target_bytes_max: 8 * 1024, headers_max: 100 };
    let head_bytes = [
        "POST /v1/messages?beta=true HTTP/1.1",
        "Host: gateway.example:8080",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate, br, zstd",
        "Authorization: Bearer weir_0123456789abcdef0123456789abcdef",
        "Connection: keep-alive",
        "Content-Type: application/json",
        "User-Agent: claude-cli/2.1.0 (external, cli)",
        "anthropic-beta: claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14",
        "anthropic-dangerous-direct-browser-access: true",
        "anthropic-version: 2023-06-01",
        "X-Stainless-Arch: x64",
        "X-Stainless-Lang: js",
        "X-Stainless-OS: Linux",
        "X-Stainless-Package-Version: 0.60.0",
        "X-Stainless-Retry-Count: 0",
        "X-Stainless-Runtime: node",
        "X-Stainless-Runtime-Version: v24.3.0",
        "X-Stainless-Timeout: 600",
        "x-app: cli",
        "Content-Length: 262144",
        "\r\n",
    ]
    .join("\r\n");
    let mut parser = RequestParser::new(limits);
    let mut head = RequestHead::default();
    assert_eq!(parser.parse(head_bytes.as_bytes(), &mut head), Ok(Progress::Complete));
    assert_eq!((head.headers.len(), head.head_len), (20, head_bytes.len()));
    let mut group = c.benchmark_group("h1_request_head");
    group.throughput(Throughput::Bytes(head_bytes.len() as u64));
    group.bench_function("agent_request", |b| {
        b.iter(|| parser.parse(black_box(head_bytes.as_bytes()), &mut head).is_ok());
    });
    group.finish();
}

fn response_head(c: &mut Criterion) {
    let limits = HeadLimits { head_bytes_max: 64 * 1024, target_bytes_max: 64 * 1024, headers_max: 100 };
    let head_bytes = [
        "HTTP/1.1 200 OK",
        "Date: Sat, 21 Nov 2026 16:00:00 GMT",
        "Content-Type: application/json",
        "Content-Length: 2048",
        "Connection: keep-alive",
        "anthropic-ratelimit-requests-limit: 4000",
        "anthropic-ratelimit-requests-remaining: 3999",
        "anthropic-ratelimit-requests-reset: 2026-11-21T16:00:00Z",
        "anthropic-ratelimit-input-tokens-limit: 2000000",
        "anthropic-ratelimit-input-tokens-remaining: 1998000",
        "request-id: req_011CSHoEeqs5C35K2UUqR7Fy",
        "strict-transport-security: max-age=31536000; includeSubDomains; preload",
        "anthropic-organization-id: 0f3c9d5a-1111-4222-8333-444455556666",
        "server: cloudflare",
        "via: 1.1 google",
        "\r\n",
    ]
    .join("\r\n");
    let mut parser = ResponseParser::new(limits);
    let mut head = ResponseHead::default();
    assert_eq!(parser.parse(head_bytes.as_bytes(), &mut head), Ok(Progress::Complete));
    assert_eq!((head.headers.len(), head.head_len), (14, head_bytes.len()));
    let mut group = c.benchmark_group("h1_response_head");
    group.throughput(Throughput::Bytes(head_bytes.len() as u64));
    group.bench_function("provider_answer", |b| {
        b.iter(|| parser.parse(black_box(head_bytes.as_bytes()), &mut head).is_ok());
    });
    group.finish();
}

/// The usage object of an answer.
fn usage(c: &mut Criterion) {
    let usual = br#"{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2048,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":503,"service_tier":"standard","inference_geo":"not_available"}"#;
    let listed = br#"{"input_tokens":3,"output_tokens":503,"iterations":[{"type":"message","input_tokens":3,"output_tokens":503}]}"#;
    let mut group = c.benchmark_group("usage");
    for (name, raw) in [("usual", &usual[..]), ("with_iterations", &listed[..])] {
        let mut tally = UsageTally::default();
        assert!(tally.whole(raw) && tally.usage().output == 503);
        group.bench_function(name, |b| b.iter(|| tally.whole(black_box(raw))));
    }
    group.finish();
}

/// Walks a chunked body; how many bytes of data it held, once it is complete.
fn scan_chunks(limits: ChunkLimits, body: &[u8]) -> Option<usize> {
    let mut scanner = ChunkedScanner::new(limits);
    let (mut rest, mut data) = (body, 0);
    loop {
        let (consumed, event) = scanner.step(rest).ok()?;
        rest = rest.get(consumed..)?;
        match event {
            ChunkEvent::Data(range) => data += range.len(),
            ChunkEvent::NeedMore => return None,
            _ => {}
        }
        if scanner.is_done() {
            return Some(data);
        }
    }
}

/// The data itself is stepped over: what is timed is the framing, so only small chunks say much.
fn chunks(c: &mut Criterion) {
    let limits = ChunkLimits { extension_bytes_max: 4096, trailer_bytes_max: 8192 };
    let mut group = c.benchmark_group("h1_chunks");
    for (name, chunk_bytes) in [("one_delta_each", 180_usize), ("16_kib_each", 16 * 1024)] {
        let data = PIECE_BYTES / chunk_bytes * chunk_bytes;
        let chunk = format!("{chunk_bytes:x}\r\n{}\r\n", "x".repeat(chunk_bytes));
        let body = chunk.repeat(PIECE_BYTES / chunk_bytes) + "0\r\n\r\n";
        assert_eq!(scan_chunks(limits, body.as_bytes()), Some(data));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |b| b.iter(|| scan_chunks(limits, black_box(body.as_bytes()))));
    }
    group.finish();
}

#[derive(Default)]
struct Counter {
    deltas: usize,
    shown_bytes: usize,
}

impl SseVisitor for Counter {
    fn event(&mut self, class: EventClass, data: &[u8], _data_len: u64) {
        self.deltas += usize::from(class == EventClass::ContentBlockDelta);
        self.shown_bytes += data.len();
    }
}

fn deltas(c: &mut Criterion) {
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"let n = 4;\\n\"}}\n\n";
    let usage = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n";
    let stream = repeated(delta, PIECE_BYTES) + usage;
    let mut group = c.benchmark_group("sse_deltas");
    // A read brings one event when the model is slow, and many when it is fast.
    for (name, piece_bytes) in [("one_event_a_read", delta.len()), ("16_kib_a_read", 16 * 1024)] {
        let run = |scanner: &mut SseScanner| {
            let mut counter = Counter::default();
            for piece in black_box(stream.as_bytes()).chunks(piece_bytes) {
                scanner.feed(piece, &mut counter);
            }
            counter
        };
        let counter = run(&mut SseScanner::new(PIECE_BYTES));
        assert_eq!(counter.deltas, PIECE_BYTES / delta.len());
        assert!(counter.shown_bytes > 0);
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |b| {
            b.iter_batched_ref(|| SseScanner::new(PIECE_BYTES), run, BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, json, request_head, response_head, usage, chunks, deltas);
criterion_main!(benches);
