//! Golden transcripts: answers as providers send them, one for each price rule of contract.md §7, each with the usage and the
//! cost that is to be booked, exact to the nano-dollar. The meter sees each in one piece, cut in two at every byte, and byte by
//! byte; and what is kept of it is priced again from the record alone.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

use std::fs;

use weir::data::relay::meter::{Look, Meter};
use weir::data::spare::Spare;
use weir::dialect::anthropic::usage::{Billed, UsageTally};
use weir::kernel::pricing::{Multiplier, PriceBook, PriceOverride, TokenPrice, UnknownPrice};
use weir::kernel::usage::Usage;

/// A transcript, and what it has to come to.
struct Golden {
    file: &'static str,
    /// What the client asked for.
    model: &'static str,
    served: &'static str,
    upstream: &'static str,
    /// Input, output, cache read, five-minute writes, one-hour writes, web searches.
    usage: [u64; 6],
    nanos: i64,
}

const fn golden(file: &'static str, model: &'static str, usage: [u64; 6], nanos: i64) -> Golden {
    Golden { file, model, served: model, upstream: "main", usage, nanos }
}

const fn served(served: &'static str, golden: Golden) -> Golden {
    Golden { served, ..golden }
}

const fn at(upstream: &'static str, golden: Golden) -> Golden {
    Golden { upstream, ..golden }
}

const OPUS: &str = "claude-opus-5-5";
const OPUS_4_8: &str = "claude-opus-4-8";
const SONNET: &str = "claude-sonnet-5-5";
const SONNET_4_6: &str = "claude-sonnet-4-6";
const HAIKU: &str = "claude-haiku-5-5";
const FABLE: &str = "claude-fable-5";

/// Costs are worked out by hand, from the price list in nano-dollars a token.
#[rustfmt::skip]
const TABLE: &[Golden] = &[
    // 100 x 4000 + 1500 x 5000 (500 of them beyond the split) + 2000 x 8000 + 50,000 x 200 + 700 x 20,000
    golden("cache_writes.sse", OPUS, [100, 700, 50_000, 1500, 2000, 0], 47_900_000),
    // 8000 x 100 + 90,000 x 10 + 1000 x 125 + 1000 x 200 + 1000 x 500; one token more, and all of it costs five times as much.
    golden("haiku_at_100000.sse", HAIKU, [8000, 1000, 90_000, 1000, 1000, 0], 2_525_000),
    golden("haiku_at_100001.sse", HAIKU, [8001, 1000, 90_000, 1000, 1000, 0], 12_625_500),
    golden("fast.sse", OPUS, [1000, 1000, 1000, 0, 1000, 0], 2 * 32_200_000),
    golden("geo.sse", SONNET_4_6, [1000, 100, 7, 0, 0, 0], 4_952_310),
    at("regional", golden("geo.sse", SONNET_4_6, [1000, 100, 7, 0, 0, 0], 5_447_541)),
    golden("batch.json", SONNET, [1000, 1000, 2000, 40, 0, 0], 12_300_000 / 2),
    golden("web_search.json", SONNET_4_6, [500, 200, 0, 0, 0, 3], 4_500_000 + 30_000_000),
    golden("compaction.sse", SONNET, [203_000, 4500, 0, 0, 0, 0], 56_000_000 + 395_000_000),
    // The message is below the tier's edge, the compaction is above it.
    golden("compaction_haiku.sse", HAIKU, [203_000, 4500, 0, 0, 0, 0], 2_800_000 + 98_750_000),
    golden("advisor.json", SONNET, [1235, 2143, 100, 0, 0, 0], 6_134_000 + 35_552_000),
    // What declined before it said anything is not charged.
    served(OPUS_4_8, golden("fallback_pre_output.json", FABLE, [412, 264, 0, 0, 0, 0], 8_660_000)),
    served(OPUS_4_8, golden("fallback_pre_output.sse", FABLE, [412, 264, 0, 0, 0, 0], 8_660_000)),
    // 1000 x 10,000 + 50 x 50,000 at the one, 1100 x 5000 + 300 x 25,000 at the other
    served(OPUS_4_8, golden("fallback_mid_output.sse", "claude-fable-5-1", [2100, 350, 0, 0, 0, 0], 12_500_000 + 13_000_000)),
    served(OPUS_4_8, golden("fallback_sticky.sse", FABLE, [500, 100, 0, 0, 0, 0], 5_000_000)),
    golden("refusal.json", FABLE, [106, 1, 0, 0, 0, 0], 1_110_000),
    golden("refusal.sse", FABLE, [106, 1, 0, 0, 0, 0], 1_110_000),
    // The writes are priced as reads: 5000 x 500 instead of 5000 x 6250.
    golden("credit_redeemed.json", OPUS_4_8, [20, 300, 0, 5000, 0, 0], 100_000 + 2_500_000 + 7_500_000),
    golden("credit_not_applied.sse", OPUS_4_8, [20, 300, 0, 5000, 0, 0], 100_000 + 31_250_000 + 7_500_000),
    golden("unknown_model.sse", "acme-large-1", [1000, 100, 10, 0, 0, 0], 7_505_000),
    // 3.30, 16.50, 0.33 and 1.25 x 3.30 dollars a million
    at("contract", golden("override.sse", SONNET_4_6, [1000, 10, 100, 8, 0, 0], 3_531_000)),
    golden("override.sse", SONNET_4_6, [1000, 10, 100, 8, 0, 0], 3_210_000),
    // 0.85 of the tokens, and one search
    at("discount", golden("multiplier.json", SONNET_4_6, [1000, 10, 0, 0, 0, 1], 2_677_500 + 10_000_000)),
];

fn price(text: &str) -> TokenPrice {
    TokenPrice::parse_per_million(text).expect("a price")
}

/// The price table of an upstream; the upstream `discount` has a contract of its own.
fn book(upstream: &str) -> PriceBook {
    let own = PriceOverride {
        upstream: "contract".into(),
        model: SONNET_4_6.into(),
        input: price("3.30"),
        output: price("16.50"),
        cache_read: Some(price("0.33")),
        cache_write_5m: None,
        cache_write_1h: None,
    };
    let multiplier = Multiplier::parse(if upstream == "discount" { "0.85" } else { "1" }).expect("a multiplier");
    PriceBook::with(vec![own], multiplier, UnknownPrice::default()).with_regional(["regional"])
}

fn metered<'a>(file: &str, pieces: impl IntoIterator<Item = &'a [u8]>) -> Meter {
    let content_type: &[u8] =
        if file.ends_with(".sse") { b"text/event-stream; charset=utf-8" } else { b"application/json" };
    let mut meter = Meter::new(true);
    meter.fit(Look { billable: true, status: 200, content_type, encoded: false }, &mut Spare::default());
    pieces.into_iter().for_each(|piece| meter.feed(piece));
    meter.finish();
    meter
}

fn billed(golden: &Golden, tally: &UsageTally) -> Billed {
    let book = book(golden.upstream);
    let own = book.rates(golden.upstream, golden.model, golden.model);
    tally.bill(&tally.usage(), &own, |model| book.rates(golden.upstream, model, model))
}

fn counts(usage: &Usage) -> [u64; 6] {
    [usage.input, usage.output, usage.cache_read, usage.cache_write_5m, usage.cache_write_1h, usage.web_search]
}

fn assert_golden(golden: &Golden, meter: &Meter, how: &str) {
    let what = format!("{} at {}, {how}", golden.file, golden.upstream);
    assert!(meter.tally().finished() && !meter.gave_up(), "{what}: the provider's last word was not read");
    let Billed { usage, cost } = billed(golden, meter.tally());
    assert_eq!(counts(&usage), golden.usage, "{what}");
    assert_eq!(cost.0, golden.nanos, "{what}");
    assert_eq!(meter.model(), Some(golden.served), "{what}");
}

fn transcript(file: &str) -> Vec<u8> {
    let path = format!("{}/tests/golden/{file}", env!("CARGO_MANIFEST_DIR"));
    fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn a_price_rule_is_forgotten_or_depends_on_where_the_answer_was_cut() {
    for golden in TABLE {
        let bytes = transcript(golden.file);
        assert_golden(golden, &metered(golden.file, [bytes.as_slice()]), "in one piece");
        for cut in 1..bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_golden(golden, &metered(golden.file, [first, second]), &format!("cut at {cut}"));
        }
        for size in [1, 7, 1000] {
            assert_golden(golden, &metered(golden.file, bytes.chunks(size)), &format!("in pieces of {size}"));
        }
    }
}

#[test]
fn what_is_kept_of_an_answer_comes_to_another_cost() {
    for golden in TABLE {
        let bytes = transcript(golden.file);
        let mut meter = metered(golden.file, [bytes.as_slice()]);
        let raw = meter.take_raw().expect("the usage is kept");
        let again = UsageTally::of_raw(&raw).expect("it can be read");
        assert_eq!(billed(golden, &again), billed(golden, meter.tally()), "{}: {raw}", golden.file);
        assert!(again.finished());
    }
}

#[test]
fn a_transcript_lies_there_that_nobody_reads() {
    let folder = format!("{}/tests/golden", env!("CARGO_MANIFEST_DIR"));
    for file in fs::read_dir(folder).expect("the transcripts") {
        let file = file.expect("a file");
        // What bridges make of messages has a folder and a test of its own.
        if file.file_type().expect("a type").is_dir() {
            continue;
        }
        let name = file.file_name().into_string().expect("a plain name");
        assert!(TABLE.iter().any(|golden| golden.file == name), "{name}");
    }
}
