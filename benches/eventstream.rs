//! How fast Bedrock's event streams are metered and said anew, beside the plain SSE meter, and beside a copy of the same bytes,
//! which is the least that any of them could cost. Each bench checks once what it makes of them.

#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and its macros make public items")]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use weir::data::relay::meter::{Look, Meter};
use weir::data::spare::Spare;
use weir::dialect::bedrock::chunk;
use weir::dialect::bridge::{FramesToSse, SseToFrames};
use weir::kernel::usage::Usage;
use weir::wire::eventstream::FrameScanner;

/// Small enough to stay in a core's own cache, as bytes that have just been received are.
const STREAM_BYTES: usize = 256 * 1024;
/// Reads of a fast model, and of one that sends an event at a time.
const READS: [(&str, usize); 2] = [("16_kib_a_read", 16 * 1024), ("256_bytes_a_read", 256)];
const OUTPUT_TOKENS: u64 = 4711;

const FRAMES: &[u8] = b"application/vnd.amazon.eventstream";
const SSE: &[u8] = b"text/event-stream; charset=utf-8";

/// The events of an answer whose deltas have so much text.
fn events(text_bytes: usize) -> Vec<String> {
    let text = r"let n = 4;\n".repeat(text_bytes.div_ceil(12));
    let delta =
        format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#);
    let mut all = vec![
        r#"{"type":"message_start","message":{"id":"msg_1","model":"claude-opus-5-5","usage":{"input_tokens":9,"output_tokens":1}}}"#.to_owned(),
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#.to_owned(),
    ];
    all.extend(vec![delta.clone(); STREAM_BYTES / (delta.len() * 4 / 3 + 100)]);
    all.push(format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"end_turn"}},"usage":{{"output_tokens":{OUTPUT_TOKENS}}}}}"#
    ));
    all.push(r#"{"type":"message_stop"}"#.to_owned());
    all
}

fn framed(events: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|event| chunk::append(&mut out, event.as_bytes()));
    out
}

fn as_sse(events: &[String]) -> Vec<u8> {
    let name = |event: &str| event.split('"').nth(3).unwrap().to_owned();
    events.iter().flat_map(|event| format!("event: {}\ndata: {event}\n\n", name(event)).into_bytes()).collect()
}

fn meter(content_type: &[u8]) -> Meter {
    let mut meter = Meter::new(true);
    meter.fit(Look { billable: true, status: 200, content_type, encoded: false }, &mut Spare::default());
    meter
}

fn assert_read(meter: &Meter) {
    assert_eq!((meter.gave_up(), meter.tally().usage().output), (false, OUTPUT_TOKENS));
}

fn streams(c: &mut Criterion) {
    for (shape, text_bytes) in [("small_deltas", 12), ("large_deltas", 4096)] {
        let events = events(text_bytes);
        let (frames, sse) = (framed(&events), as_sse(&events));
        for (stream, bytes) in [("frames", &frames), ("sse", &sse)] {
            let mut group = c.benchmark_group(format!("{stream}_{shape}"));
            group.throughput(Throughput::Bytes(bytes.len() as u64));
            let mut copy = vec![0; bytes.len()];
            group.bench_function("memcpy", |b| b.iter(|| copy.copy_from_slice(black_box(bytes))));
            for (name, read_bytes) in READS {
                walks(&mut group, name, (stream, bytes), read_bytes);
            }
            group.finish();
        }
    }
}

type Group<'c> = criterion::BenchmarkGroup<'c, criterion::measurement::WallTime>;

/// Everything that can be done with a stream, in reads of this size.
fn walks(group: &mut Group<'_>, name: &str, (stream, bytes): (&str, &[u8]), read_bytes: usize) {
    let pieces = || black_box(bytes).chunks(read_bytes);
    let kind = if stream == "frames" { FRAMES } else { SSE };
    let metered = |meter: &mut Meter| pieces().for_each(|piece| meter.feed(piece));
    let mut once = meter(kind);
    metered(&mut once);
    assert_read(&once);
    group.bench_function(format!("meter/{name}"), |b| {
        b.iter_batched_ref(|| meter(kind), metered, BatchSize::SmallInput)
    });
    if stream == "sse" {
        let said = |bridge: &mut SseToFrames| {
            let mut out = Vec::with_capacity(bytes.len() * 2);
            for piece in pieces() {
                bridge.feed(piece, Usage::default, &mut out).unwrap();
            }
            out
        };
        let mut read = meter(FRAMES);
        read.feed(&said(&mut SseToFrames::default()));
        assert_read(&read);
        group.bench_function(format!("to_frames/{name}"), |b| {
            b.iter_batched_ref(SseToFrames::default, said, BatchSize::SmallInput);
        });
        return;
    }
    group.bench_function(format!("checksums/{name}"), |b| {
        let scan = |scanner: &mut FrameScanner| {
            let mut frames = 0;
            pieces().for_each(|piece| scanner.feed(piece, |_| frames += 1).unwrap());
            frames
        };
        b.iter_batched_ref(|| FrameScanner::new(64 * 1024), scan, BatchSize::SmallInput);
    });
    let said = |bridge: &mut FramesToSse| {
        let mut out = Vec::with_capacity(bytes.len());
        for piece in pieces() {
            bridge.feed(piece, &mut out).unwrap();
        }
        out
    };
    let mut read = meter(SSE);
    read.feed(&said(&mut FramesToSse::default()));
    assert_read(&read);
    group.bench_function(format!("to_sse/{name}"), |b| {
        b.iter_batched_ref(FramesToSse::default, said, BatchSize::SmallInput);
    });
}

criterion_group!(benches, streams);
criterion_main!(benches);
