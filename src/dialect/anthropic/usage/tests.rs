use super::*;
use crate::kernel::{
    limits::{ITERATIONS_MAX, USAGE_RAW_BYTES_MAX},
    pricing::PriceBook,
};

fn cost(tally: &UsageTally, model: &str) -> i64 {
    let book = PriceBook::built_in();
    tally.bill(&tally.usage(), &book.rates("", model, model), |id| book.rates("", id, id)).cost.0
}

#[test]
fn the_last_value_that_is_not_null_wins_and_the_split_survives() {
    let mut tally = UsageTally::default();
    let start = br#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":10,"cache_creation_input_tokens":30,
        "cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}}}"#;
    assert!(tally.start(start) && tally.started() && !tally.finished());
    let delta = br#"{"usage":{"input_tokens":null,"cache_creation_input_tokens":33,"output_tokens":7}}"#;
    assert!(tally.delta(delta) && tally.finished());
    let usage = tally.usage();
    assert_eq!((usage.input, usage.output, usage.cache_read), (10, 7, 5));
    assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (13, 20));
    assert_eq!(tally.model(), Some("m"));
}

#[test]
fn absurd_counts_do_not_overflow_the_books() {
    let mut tally = UsageTally::default();
    let most = u64::MAX;
    let usage = format!(r#"{{"input_tokens":{most},"output_tokens":{most},"cache_creation_input_tokens":{most}}}"#);
    assert!(tally.whole(usage.as_bytes()));
    let (usage, most) = (tally.usage(), wire::TOKENS_MAX);
    assert_eq!((usage.input, usage.output, usage.cache_write_5m), (most, most, most));
}

#[test]
fn odd_usage_is_given_up_not_guessed() {
    let mut tally = UsageTally::default();
    assert!(!tally.whole(br#"{"input_tokens":"ten"}"#));
    assert!(!tally.start(br#"{"type":"message_start"}"#));
    assert!(!tally.delta(b"[1]"));
    assert!(!tally.finished() && !tally.started());
    assert_eq!(tally.usage(), Usage::default());
    assert!(tally.delta(br#"{"type":"message_delta","usage":null}"#) && !tally.finished());
}

#[test]
fn a_tool_called_fallback_changes_the_model_that_served() {
    let mut tally = UsageTally::default();
    assert!(tally.block(br#"{"index":1,"content_block":{"type":"tool_use","name":"fallback","to":{"model":"x"}}}"#));
    assert_eq!(tally.model(), None);
    let block = br#"{"index":1,"content_block":{"type":"fallback","from":{"model":"a"},"to":{"model":"claude-\u006fpus-4-8"}}}"#;
    assert!(tally.block(block));
    assert_eq!(tally.model(), Some("claude-opus-4-8"));
    assert!(!tally.block(br#"{"index":1,"content_block":{"type":"fallback"}}"#));
}

#[test]
fn iterations_that_cannot_be_billed_are_taken_for_the_last_word() {
    let with = |iterations: &str| {
        let mut tally = UsageTally::default();
        let read =
            tally.whole(format!(r#"{{"input_tokens":10,"output_tokens":2,"iterations":{iterations}}}"#).as_bytes());
        assert_eq!(read, tally.finished());
        (read, tally)
    };
    let compaction = r#"{"type":"compaction","input_tokens":1000,"output_tokens":100}"#;
    let many = |count: usize| format!("[{}]", vec![compaction; count].join(","));
    let (read, tally) = with(&many(ITERATIONS_MAX));
    assert!(read);
    assert_eq!(cost(&tally, "claude-sonnet-5-5"), 40_000 + ITERATIONS_MAX as i64 * 3_000_000);
    let (read, more) = with(&many(ITERATIONS_MAX + 1));
    assert!(!read, "one too many");
    assert_eq!(cost(&more, "claude-sonnet-5-5"), cost(&tally, "claude-sonnet-5-5"), "what fits is on the bill");
    assert!(!with(r#"[{"type":"oracle","input_tokens":1}]"#).0, "a kind that nobody has priced");
    assert!(!with(r#"[{"type":"advisor_message","input_tokens":1}]"#).0, "nobody knows at whose price");
    assert!(!with(r#"{"type":"message"}"#).0);
    for plain in ["null", "[]", r#"[{"type":"message","model":"m","input_tokens":10,"output_tokens":2}]"#] {
        let (read, tally) = with(plain);
        assert!(read, "{plain}");
        assert_eq!(cost(&tally, "claude-sonnet-5-5"), 40_000, "{plain}");
    }
}

#[test]
fn a_takeover_whose_last_counts_never_came_is_billed_at_the_cheaper_model() {
    for (asked, took_over) in [("claude-opus-5-5", "claude-sonnet-5-5"), ("claude-sonnet-5-5", "claude-opus-5-5")] {
        let mut tally = UsageTally::default();
        let start = format!(r#"{{"message":{{"model":"{asked}","usage":{{"input_tokens":1000,"output_tokens":1}}}}}}"#);
        assert!(tally.start(start.as_bytes()));
        let block = format!(r#"{{"content_block":{{"type":"fallback","from":{{}},"to":{{"model":"{took_over}"}}}}}}"#);
        assert!(tally.block(block.as_bytes()));
        assert_eq!(cost(&tally, asked), 4_000_000 + 20_000);
        let again = UsageTally::of_raw(&tally.take_raw().unwrap()).unwrap();
        assert_eq!(cost(&again, asked), 4_020_000, "the takeover is kept with the counts");
    }
}

#[test]
fn kept_usage_says_something_else_when_it_is_read_again_or_grows_without_bound() {
    let mut tally = UsageTally::default();
    assert_eq!(tally.take_raw(), None);
    let usage = r#"{"input_tokens":7,"unknown":{"usage":1},"output_tokens":3}"#;
    assert!(tally.whole(usage.as_bytes()));
    assert_eq!(tally.take_raw().as_deref(), Some(usage), "byte for byte");
    assert_eq!(UsageTally::of_raw(usage).unwrap().usage(), tally.usage());
    let mut stream = UsageTally::default();
    assert!(stream.start(br#"{"message":{"usage":{"input_tokens":7,"speed":"fast"}}}"#));
    assert!(stream.delta(br#"{"usage":{"output_tokens":2}}"#) && stream.delta(br#"{"usage":{"output_tokens":3}}"#));
    let raw = stream.take_raw().unwrap();
    assert_eq!(&*raw, r#"{"message_start":{"input_tokens":7,"speed":"fast"},"message_delta":{"output_tokens":3}}"#);
    let again = UsageTally::of_raw(&raw).unwrap();
    assert!(again.finished());
    assert_eq!(again.usage(), stream.usage());
    let large = format!(r#"{{"input_tokens":7,"note":"{}"}}"#, "x".repeat(USAGE_RAW_BYTES_MAX));
    assert!(tally.whole(large.as_bytes()));
    assert_eq!(tally.take_raw(), None);
    assert!(UsageTally::of_raw("[]").is_none() && UsageTally::of_raw("").is_none());
}

#[test]
fn a_deeply_nested_event_does_not_take_the_stack() {
    let deep = 30_000;
    let data = format!(
        r#"{{"message":{{"model":"m","usage":{{"odd":{}{},"input_tokens":1}}}}}}"#,
        "[".repeat(deep),
        "]".repeat(deep)
    );
    let mut tally = UsageTally::default();
    assert!(!tally.start(data.as_bytes()));
    let usage = format!(r#"{{"input_tokens":1,"odd":{}{}}}"#, "[".repeat(deep), "]".repeat(deep));
    assert!(!tally.whole(usage.as_bytes()));
}

#[test]
fn absurd_counts_of_iterations_or_searches_overflow_the_books() {
    let (mut tally, told, most) = (UsageTally::default(), u64::MAX, wire::TOKENS_MAX);
    let counts = format!(r#""input_tokens":{told},"output_tokens":{told}"#);
    let tools = format!(r#""server_tool_use":{{"web_search_requests":{told}}}"#);
    assert!(tally.whole(format!(r#"{{{counts},{tools},"iterations":[{{"type":"compaction",{counts}}}]}}"#).as_bytes()));
    let rates = PriceBook::built_in().rates("", "claude-opus-5-5", "");
    let billed = tally.bill(&tally.usage(), &rates, |_| rates);
    assert_eq!((billed.usage.input, billed.usage.output, billed.usage.web_search), (2 * most, 2 * most, most));
    assert!(billed.cost.0 > 0);
}
