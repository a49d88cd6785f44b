//! How fast the meters look at what passes, beside a plain copy of the same bytes: what a meter takes longer than `memcpy` is the
//! price of knowing. Run with `cargo bench --bench meter`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and its macros make public items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weir::data::relay::meter::{Look, Meter};
use weir::data::spare::Spare;

/// As much as one read brings of a stream that does not wait.
const READ_BYTES: usize = 4096;
/// Small enough to stay in a core's own cache, as bytes that have just been received are.
const BYTES: usize = 64 * 1024;

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-sonnet-4-6\",\"content\":[],\"usage\":{\"input_tokens\":512,\"cache_read_input_tokens\":40000,\"output_tokens\":1}}}\n\n";
const END: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":420}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

fn delta(text: &str) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
    )
}

fn metered(content_type: &[u8], bytes: &[u8], read_bytes: usize) -> Meter {
    let mut meter = Meter::new(true);
    meter.fit(Look { billable: true, status: 200, content_type, encoded: false }, &mut Spare::default());
    for read in bytes.chunks(read_bytes) {
        meter.feed(black_box(read));
    }
    meter.finish();
    meter
}

fn streams(c: &mut Criterion) {
    let mut group = c.benchmark_group("sse_meter");
    for (name, text) in [("small_deltas", "let n = 4;\\n".to_owned()), ("large_deltas", "let n = 4;\\n".repeat(100))] {
        let delta = delta(&text);
        let stream = format!("{START}{}{END}", delta.repeat(BYTES / delta.len()));
        let meter = metered(b"text/event-stream", stream.as_bytes(), READ_BYTES);
        assert_eq!((meter.tally().usage().output, meter.gave_up()), (420, false), "{name}");
        group.throughput(Throughput::Bytes(stream.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| metered(b"text/event-stream", black_box(stream.as_bytes()), READ_BYTES).said_its_last());
        });
        let each = delta.len();
        group.bench_function(format!("{name}_one_a_read"), |b| {
            b.iter(|| metered(b"text/event-stream", black_box(stream.as_bytes()), each).said_its_last());
        });
        group.bench_function(format!("{name}_memcpy"), |b| {
            let copy = |to: &mut Vec<u8>| to.copy_from_slice(black_box(stream.as_bytes()));
            b.iter_batched_ref(|| vec![0; stream.len()], copy, BatchSize::SmallInput);
        });
    }
    group.finish();
}

fn answers(c: &mut Criterion) {
    let text = "fn main() {\\n    println!(\\\"hello, weir\\\");\\n}\\n".repeat(40);
    let answer = format!(
        r#"{{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-6","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","usage":{{"input_tokens":512,"output_tokens":420}}}}"#
    );
    let meter = metered(b"application/json", answer.as_bytes(), READ_BYTES);
    assert_eq!((meter.tally().usage().output, meter.model()), (420, Some("claude-sonnet-4-6")));
    let mut group = c.benchmark_group("json_meter");
    group.throughput(Throughput::Bytes(answer.len() as u64));
    group.bench_function("2_kb", |b| {
        b.iter(|| metered(b"application/json", black_box(answer.as_bytes()), READ_BYTES).tally().finished());
    });
    group.finish();
}

criterion_group!(benches, streams, answers);
criterion_main!(benches);
