//! Bedrock's streams, mutated from the seeds in `tests/corpus/eventstream`: whatever comes, nothing panics, every split reads the
//! same, no sound frame is counted wrong, and the bytes go on as they came.
//!
//! Deterministic: `WEIR_FUZZ_SEED` and `WEIR_FUZZ_ROUNDS` replay a failure, or look further.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use weir::data::relay::meter::{Look, Meter};
use weir::data::spare::Spare;
use weir::dialect::bridge::FramesToSse;
use weir::kernel::usage::Usage;
use weir::wire::eventstream;

use crate::fixture::{ALICE_KEY, BEDROCK_ID, body, start_at};
use crate::raw_upstream::RawUpstream;
use crate::support::http;

const SEED: u64 = 0x5eed_0ff4_a3e5;
const ROUNDS: usize = 60;
/// A provider that says more is mistaken.
const TOKENS_MAX: u64 = 1 << 40;

fn setting(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// The seeds, in the order of their names.
fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/eventstream");
    let entries = fs::read_dir(folder).expect("the corpus").map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<_> = entries.filter(|path| path.extension().is_some_and(|kind| kind == "frames")).collect();
    paths.sort();
    assert!(paths.len() >= 12, "{} seeds", paths.len());
    paths
        .into_iter()
        .map(|path| {
            (path.file_stem().expect("a name").to_string_lossy().into_owned(), fs::read(&path).expect("a seed"))
        })
        .collect()
}

/// What was read off a stream, and what a client of SSE gets of it.
#[derive(Debug, PartialEq)]
struct Read {
    usage: Usage,
    gave_up: bool,
    said_its_last: bool,
    sse: Result<Vec<u8>, Vec<u8>>,
}

fn read<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Read {
    let mut meter = Meter::new(true);
    let content_type = b"application/vnd.amazon.eventstream";
    meter.fit(Look { billable: true, status: 200, content_type, encoded: false }, &mut Spare::default());
    let (mut frames, mut out, mut sound) = (FramesToSse::default(), Vec::new(), true);
    for piece in pieces {
        meter.feed(piece);
        sound = sound && frames.feed(piece, &mut out).is_ok();
    }
    meter.finish();
    Read {
        usage: meter.tally().usage(),
        gave_up: meter.gave_up(),
        said_its_last: meter.said_its_last(),
        sse: if sound { Ok(out) } else { Err(out) },
    }
}

/// The events of the sound frames at a stream's beginning, by AWS's own codec and a parser of whole JSON.
fn events(mut bytes: &[u8]) -> Vec<Value> {
    let mut found = Vec::new();
    while let Ok(message) = aws_smithy_eventstream::frame::read_message_from(&mut bytes) {
        let is = |name: &str, value: &str| {
            let header = message.headers().iter().find(|header| header.name().as_str() == name);
            header.and_then(|header| header.value().as_string().ok()).is_some_and(|text| text.as_str() == value)
        };
        if is(":message-type", "event") && is(":event-type", "chunk") {
            let payload: Value = serde_json::from_slice(message.payload()).unwrap_or_default();
            let event = payload["bytes"].as_str().and_then(|text| STANDARD.decode(text).ok());
            found.extend(event.and_then(|event| serde_json::from_slice(&event).ok()));
        }
    }
    found
}

/// What the events say was used: the last value of each field that is not null.
fn counted(events: &[Value]) -> Usage {
    let (mut fields, mut split, mut finished) = (Map::new(), None, false);
    for event in events {
        let metrics = &event["amazon-bedrock-invocationMetrics"];
        let usage = match event["type"].as_str() {
            Some("message_start") => &event["message"]["usage"],
            Some("message_delta") => &event["usage"],
            // Without usage in the events Bedrock's own counts are better than an estimate.
            Some("message_stop") if metrics.is_object() && !finished => &taken(metrics),
            _ => continue,
        };
        finished |= event["type"] != "message_start" && usage.is_object();
        for (name, value) in usage.as_object().into_iter().flatten().filter(|(_, value)| value.is_u64()) {
            fields.insert(name.clone(), value.clone());
        }
        let writes = &usage["cache_creation"];
        let of = |name: &str| writes[name].as_u64().unwrap_or(0).min(TOKENS_MAX);
        split =
            writes.is_object().then(|| (of("ephemeral_5m_input_tokens"), of("ephemeral_1h_input_tokens"))).or(split);
    }
    let of = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or(0).min(TOKENS_MAX);
    let total = of("cache_creation_input_tokens");
    let (short, long) = split.unwrap_or((total, 0));
    Usage {
        input: of("input_tokens"),
        output: of("output_tokens"),
        cache_read: of("cache_read_input_tokens"),
        cache_write_5m: short + total.saturating_sub(short + long),
        cache_write_1h: long,
        ..Usage::default()
    }
}

fn taken(metrics: &Value) -> Value {
    json!({
        "input_tokens": metrics["inputTokenCount"], "output_tokens": metrics["outputTokenCount"],
        "cache_read_input_tokens": metrics["cacheReadInputTokenCount"],
        "cache_creation_input_tokens": metrics["cacheWriteInputTokenCount"],
    })
}

/// A frame for an event, written in one of the ways in which its payload may be.
fn framed(random: &mut fastrand::Rng, event: &str) -> Vec<u8> {
    let bytes = STANDARD.encode(event);
    let payload = match random.u8(0..4) {
        0 => format!(r#"{{"bytes":"{bytes}"}}"#),
        1 => format!(r#"{{"bytes":"{bytes}","p":"abcdefgh"}}"#),
        2 => format!(r#"{{"p":"abcdefgh","bytes":"{bytes}"}}"#),
        _ => format!("{{ \"bytes\" : \"{bytes}\" }}"),
    };
    let mut headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    random.shuffle(&mut headers);
    let mut out = Vec::new();
    eventstream::encode(&mut out, &headers, payload.as_bytes());
    out
}

const COUNTS: [&str; 4] = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];

/// An event whose counts are others, or in another order, or not there.
fn altered(random: &mut fastrand::Rng, mut event: Value) -> String {
    for place in ["/usage", "/message/usage"] {
        let Some(usage) = event.pointer_mut(place).and_then(Value::as_object_mut) else { continue };
        for name in COUNTS {
            match random.u8(0..8) {
                0 => drop(usage.remove(name)),
                1 => drop(usage.insert(name.to_owned(), Value::Null)),
                2 => drop(usage.insert(name.to_owned(), json!(random.u64(..)))),
                3 | 4 => drop(usage.insert(name.to_owned(), json!(random.u64(0..1_000_000)))),
                5 => drop(
                    usage.insert(format!("x{}", random.u8(..)), json!({"input_tokens": 7, "type": "message_delta"})),
                ),
                _ => {}
            }
        }
    }
    // The type may stand anywhere, also far behind.
    let members: Vec<(String, Value)> = event.as_object().cloned().unwrap_or_default().into_iter().collect();
    let mut order: Vec<usize> = (0..members.len()).collect();
    random.shuffle(&mut order);
    let space = ["", " ", "\n\t"][random.usize(0..3)];
    let inside: Vec<String> =
        order.iter().map(|at| format!("{space}\"{}\"{space}:{space}{}", members[*at].0, members[*at].1)).collect();
    format!("{{{}{space}}}", inside.join(","))
}

/// A stream like a seed, but damaged (false), or sound and different (true).
fn mutated(random: &mut fastrand::Rng, seed: &[u8]) -> (bool, Vec<u8>) {
    let mut bytes = seed.to_vec();
    match random.u8(0..6) {
        0 => {
            for _ in 0..random.usize(1..4) {
                let at = random.usize(0..bytes.len());
                bytes[at] ^= 1 << random.u8(0..8);
            }
            (false, bytes)
        }
        1 => {
            bytes.truncate(random.usize(0..bytes.len()));
            (false, bytes)
        }
        2 => {
            let (at, noise) = (random.usize(0..bytes.len()), random.usize(1..40));
            let noise: Vec<u8> = (0..noise).map(|_| random.u8(..)).collect();
            bytes.splice(at..at, noise);
            (false, bytes)
        }
        _ => {
            let mut events = events(seed);
            if random.bool() && !events.is_empty() {
                // Frames lost, repeated or in another order are sound one by one.
                let (one, other) = (random.usize(0..events.len()), random.usize(0..events.len()));
                match random.u8(0..3) {
                    0 => drop(events.remove(one)),
                    1 => events.swap(one, other),
                    _ => events.insert(one, events[other].clone()),
                }
            }
            (
                true,
                events
                    .into_iter()
                    .flat_map(|event| {
                        let event = altered(random, event);
                        framed(random, &event)
                    })
                    .collect(),
            )
        }
    }
}

#[test]
fn a_seed_of_the_corpus_is_read_differently_where_a_packet_ends() {
    for (name, bytes) in corpus() {
        let whole = read([&bytes[..]].into_iter());
        assert!(whole.gave_up || whole.usage == counted(&events(&bytes)), "{name}: {:?}", whole.usage);
        for cut in 0..=bytes.len() {
            let (front, back) = bytes.split_at(cut);
            assert_eq!(read([front, back].into_iter()), whole, "{name} cut at {cut}");
        }
        assert_eq!(read(bytes.chunks(1)), whole, "{name} in bytes");
    }
}

#[test]
fn a_mutated_stream_panics_or_is_counted_wrong() {
    let (seed, rounds) = (setting("WEIR_FUZZ_SEED", SEED), setting("WEIR_FUZZ_ROUNDS", ROUNDS as u64));
    let (mut sound_ones, mut read_whole) = (0, 0);
    for (name, bytes) in corpus() {
        for round in 0..rounds {
            let mut random = fastrand::Rng::with_seed(seed ^ (round << 32) ^ bytes.len() as u64);
            let (sound, stream) = mutated(&mut random, &bytes);
            let says = format!("{name}, round {round}, seed {seed}");
            let whole = read([&stream[..]].into_iter());
            for size in [1, 13, random.usize(1..=stream.len().max(1)), 4096] {
                assert_eq!(read(stream.chunks(size)), whole, "{says}, in {size} bytes");
            }
            sound_ones += usize::from(sound);
            if whole.gave_up {
                continue;
            }
            read_whole += usize::from(sound);
            assert_eq!(whole.usage, counted(&events(&stream)), "{says}");
            assert!(!sound || whole.sse.is_ok(), "{says}: {:?}", whole.sse);
        }
    }
    assert!(read_whole * 10 >= sound_ones * 9, "{read_whole} of {sound_ones} sound streams could be read");
}

#[test]
fn a_damaged_stream_is_changed_on_its_way_to_a_client_of_bedrock() {
    let stage = Arc::new(Mutex::new(Vec::new()));
    let shared = stage.clone();
    let upstream = RawUpstream::start(move |mut peer| {
        while peer.read_request().is_some() {
            let payload: Vec<u8> = shared.lock().expect("the stage").clone();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";
            let mut answer = head.as_bytes().to_vec();
            for chunk in payload.chunks(777) {
                answer.extend(format!("{:x}\r\n", chunk.len()).bytes());
                answer.extend_from_slice(chunk);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            peer.send(&answer);
        }
    });
    let weir = start_at(&upstream.url(), "");
    let path = format!("/model/{BEDROCK_ID}/invoke-with-response-stream");
    let headers = [("x-api-key", ALICE_KEY), ("content-type", "application/json")];
    for (name, bytes) in corpus() {
        for round in 0..6 {
            let mut random = fastrand::Rng::with_seed(SEED ^ (round << 32) ^ bytes.len() as u64);
            let stream = if round == 0 { bytes.clone() } else { mutated(&mut random, &bytes).1 };
            stage.lock().expect("the stage").clone_from(&stream);
            let answer = http::request(weir.clients(), "POST", &path, &headers, &body("bedrock-2023-05-31", ""));
            assert_eq!(answer.status, 200, "{name}, round {round}");
            assert!(answer.body == stream, "{name}, round {round}: {} bytes of {}", answer.body.len(), stream.len());
        }
    }
    upstream.check();
    assert_eq!(weir.admin_get("/admin/v1/shards")["data"][0]["panics"], 0);
}
