//! The meter of Bedrock streams: at every split, with checksums spoilt, with exceptions.

use super::{Look, Meter, Spare};
use crate::dialect::{
    anthropic::usage::Compared,
    bedrock::{chunk, errors::exception_frame},
};
use proptest::prelude::*;

const START: &str = r#"{"type":"message_start","message":{"model":"claude-sonnet-4-6","id":"msg_1","usage":{"input_tokens":10,"cache_creation_input_tokens":30,"cache_read_input_tokens":7,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}}}"#;
const TEXT: &str = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"over the weir"}}"#;
const DELTA: &str = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":55}}"#;
const STOP: &str = r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":10,"outputTokenCount":55,"invocationLatency":9,"firstByteLatency":3,"cacheReadInputTokenCount":7,"cacheWriteInputTokenCount":30}}"#;

fn frames(events: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    events.iter().for_each(|event| chunk::append(&mut out, event.as_bytes()));
    out
}

fn meter() -> Meter {
    let mut meter = Meter::new(true);
    let content_type = b"application/vnd.amazon.eventstream";
    meter.fit(Look { billable: true, status: 200, content_type, encoded: false }, &mut Spare::default());
    assert!(meter.is_stream() && meter.at_event_boundary());
    meter
}

fn assert_read(meter: &Meter, at: usize) {
    let usage = meter.tally().usage();
    assert_eq!((usage.input, usage.output, usage.cache_read), (10, 55, 7), "cut at {at}");
    assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (10, 20), "cut at {at}");
    assert_eq!(
        (meter.gave_up(), meter.said_its_last(), meter.compared()),
        (false, true, Compared::Same),
        "cut at {at}"
    );
    assert_eq!(meter.model(), Some("claude-sonnet-4-6"));
    // The event's bytes, rounded up to whole groups of base64, without the envelope.
    assert!((4..=8).contains(&meter.output_bytes()), "{}", meter.output_bytes());
}

#[test]
fn usage_is_read_off_frames_at_every_cut() {
    let stream = frames(&[START, TEXT, DELTA, STOP]);
    for cut in 0..=stream.len() {
        let mut meter = meter();
        meter.feed(&stream[..cut]);
        meter.feed(&stream[cut..]);
        assert_read(&meter, cut);
    }
    let mut meter = meter();
    stream.chunks(1).for_each(|byte| meter.feed(byte));
    assert_read(&meter, 1);
}

#[test]
fn a_spoilt_frame_ends_the_reading_and_nothing_is_taken_from_it() {
    let mut stream = frames(&[START, TEXT]);
    let from = stream.len();
    stream.extend(frames(&[DELTA, STOP]));
    stream[from + 60] ^= 1;
    let mut meter = meter();
    meter.feed(&stream);
    assert!(meter.gave_up() && !meter.tally().finished() && !meter.at_event_boundary());
    assert_eq!(meter.tally().usage().input, 10);
}

#[test]
fn an_exception_ends_the_stream_and_counts_that_never_came_are_taken_from_the_metrics() {
    let mut broken = meter();
    broken.feed(&[frames(&[START, TEXT]), exception_frame("throttlingException", "slow down")].concat());
    assert!(broken.stream_ended() && !broken.said_its_last() && !broken.gave_up());
    let mut bare = meter();
    bare.feed(&frames(&[TEXT, STOP]));
    assert_eq!(bare.compared(), Compared::Taken);
    assert_eq!(
        (bare.tally().finished(), bare.tally().usage().output, bare.tally().usage().cache_write_5m),
        (true, 55, 30)
    );
    let mut other = meter();
    other.feed(&frames(&[START, DELTA, &STOP.replace("55", "56")]));
    assert_eq!((other.compared(), other.tally().usage().output), (Compared::Different, 55));
}

#[test]
fn what_is_no_event_passes() {
    let mut out = Vec::new();
    crate::wire::eventstream::encode(
        &mut out,
        &[(":event-type", "initial-response"), (":message-type", "event")],
        b"{}",
    );
    crate::wire::eventstream::encode(&mut out, &[], b"");
    chunk::append(&mut out, b"{}");
    out.extend(frames(&[START, DELTA, STOP]));
    let mut meter = meter();
    meter.feed(&out);
    assert!(!meter.gave_up() && meter.said_its_last());
}

proptest! {
    #[test]
    fn noise_neither_panics_nor_counts(noise in prop::collection::vec(any::<u8>(), 0..600), cut in 0usize..600) {
        let mut meter = meter();
        let cut = cut.min(noise.len());
        meter.feed(&noise[..cut]);
        meter.feed(&noise[cut..]);
        prop_assert!(!meter.tally().finished());
    }
}

/// An answer that is not streamed, through a scanner that is given back wherever the answer broke off.
#[test]
fn a_scanner_used_again_tells_of_the_answer_before() {
    let json = Look { billable: true, status: 200, content_type: b"application/json", encoded: false };
    let first = br#"{"model":"claude-opus-4-6","container":{"id":"c"},"content":[{"a":"b\"]"}],"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let second = br#"{"model":"claude-sonnet-4-6","usage":{"input_tokens":10,"output_tokens":55}}"#;
    for cut in 0..=first.len() {
        let mut spare = Spare::default();
        let mut meter = Meter::new(true);
        meter.fit(json, &mut spare);
        meter.feed(&first[..cut]);
        meter.finish();
        meter.give_back(&mut spare);
        let scanner = spare.take().unwrap();
        spare.put(scanner);
        let mut meter = Meter::new(true);
        meter.fit(json, &mut spare);
        assert!(spare.take().is_none(), "it is used again");
        assert!(!meter.shows_sticky(), "cut at {cut}");
        meter.feed(second);
        meter.finish();
        let usage = meter.tally().usage();
        assert_eq!((usage.input, usage.output, meter.gave_up()), (10, 55, false), "cut at {cut}");
        assert_eq!(meter.model(), Some("claude-sonnet-4-6"), "cut at {cut}");
    }
}
