//! Golden costs, exact to the nano-dollar, one per rule of contract.md §7.

use super::*;
use crate::kernel::{money::Nanos, usage::Usage};
use proptest::prelude::*;

fn price(text: &str) -> TokenPrice {
    TokenPrice::parse_per_million(text).unwrap()
}

fn cost(model: &str, usage: Usage) -> i64 {
    PriceBook::built_in().rates("any", model, model).cost(&usage).0
}

/// One million tokens in one category: the cost is the list price.
fn per_million(model: &str) -> [String; 5] {
    const N: u64 = 1_000_000;
    [
        Usage { input: N, ..Usage::default() },
        Usage { cache_write_5m: N, ..Usage::default() },
        Usage { cache_write_1h: N, ..Usage::default() },
        Usage { cache_read: N, ..Usage::default() },
        Usage { output: N, ..Usage::default() },
    ]
    .map(|usage| {
        let dollars = Nanos(cost(model, usage)).to_string();
        dollars.trim_end_matches('0').trim_end_matches('.').to_string()
    })
}

#[test]
fn a_model_is_charged_at_the_rates_of_another() {
    for (model, rates) in [
        ("claude-fable-5-2", ["8", "10", "16", "0.2", "40"]),
        ("claude-mythos-5-2", ["8", "10", "16", "0.2", "40"]),
        ("claude-fable-5-1", ["10", "12.5", "20", "0.25", "50"]),
        ("claude-mythos-5-1", ["10", "12.5", "20", "0.25", "50"]),
        ("claude-fable-5", ["10", "12.5", "20", "1", "50"]),
        ("claude-mythos-5", ["10", "12.5", "20", "1", "50"]),
        ("claude-opus-5-5", ["4", "5", "8", "0.2", "20"]),
        ("claude-opus-5", ["5", "6.25", "10", "0.5", "25"]),
        ("claude-opus-4-8", ["5", "6.25", "10", "0.5", "25"]),
        ("claude-opus-4-7", ["5", "6.25", "10", "0.5", "25"]),
        ("claude-opus-4-6", ["5", "6.25", "10", "0.5", "25"]),
        ("claude-opus-4-5-20251101", ["5", "6.25", "10", "0.5", "25"]),
        ("claude-opus-4-1-20250805", ["15", "18.75", "30", "1.5", "75"]),
        ("claude-opus-4-20250514", ["15", "18.75", "30", "1.5", "75"]),
        ("claude-sonnet-5-5", ["2", "2.5", "4", "0.1", "10"]),
        ("claude-sonnet-5", ["2", "2.5", "4", "0.2", "10"]),
        ("claude-sonnet-4-6", ["3", "3.75", "6", "0.3", "15"]),
        ("claude-sonnet-4-5", ["3", "3.75", "6", "0.3", "15"]),
        ("claude-sonnet-4-20250514", ["3", "3.75", "6", "0.3", "15"]),
        ("claude-haiku-4-5", ["1", "1.25", "2", "0.1", "5"]),
        ("claude-3-5-haiku-20241022", ["0.8", "1", "1.6", "0.08", "4"]),
        ("claude-3-haiku-20240307", ["0.25", "0.3", "0.5", "0.03", "1.25"]),
    ] {
        assert_eq!(per_million(model), rates, "{model}");
    }
}

#[test]
fn the_haiku_tier_begins_after_100_000_prompt_tokens_and_takes_the_whole_request() {
    let at = |cache_read, input| Usage {
        input,
        cache_read,
        cache_write_5m: 1000,
        cache_write_1h: 1000,
        output: 1000,
        ..Usage::default()
    };
    // 90,000 read at 10 nano-dollars, 8,000 input at 100, 1,000 written at 125 and at 200, 1,000 output at 500.
    assert_eq!(cost("claude-haiku-5-5", at(90_000, 8000)), 900_000 + 800_000 + 125_000 + 200_000 + 500_000);
    // One token more: five times as much for all of it.
    assert_eq!(cost("claude-haiku-5-5", at(90_000, 8001)), 4_500_000 + 4_000_500 + 625_000 + 1_000_000 + 2_500_000);
    // Output does not count towards the tier.
    let long_answer = Usage { input: 100_000, output: 128_000, ..Usage::default() };
    assert_eq!(cost("claude-haiku-5-5", long_answer), 10_000_000 + 64_000_000);
}

#[test]
fn long_prompts_of_other_models_are_charged_a_premium() {
    let usage = Usage { input: 900_000, ..Usage::default() };
    assert_eq!(cost("claude-opus-4-6", usage), 4_500_000_000);
}

#[test]
fn fast_mode_is_billed_at_the_standard_rate_or_on_models_without_it() {
    let usage =
        Usage { input: 1000, cache_read: 1000, cache_write_1h: 1000, output: 1000, fast: true, ..Usage::default() };
    assert_eq!(cost("claude-opus-5-5", usage), 2 * (4_000_000 + 200_000 + 8_000_000 + 20_000_000));
    assert_eq!(cost("claude-fable-5-2", usage), 2 * (8_000_000 + 200_000 + 16_000_000 + 40_000_000));
    assert_eq!(cost("claude-opus-4-6", usage), 5_000_000 + 500_000 + 10_000_000 + 25_000_000);
    assert_eq!(cost("claude-mythos-5-2", usage), 8_000_000 + 200_000 + 16_000_000 + 40_000_000);
}

#[test]
fn batch_loses_half_a_nano_dollar_by_rounding_each_category() {
    // Three cache reads of the small model in a batch: 5 nano-dollars each.
    let usage = Usage { cache_read: 3, batch: true, ..Usage::default() };
    assert_eq!(cost("claude-haiku-5-5", usage), 15);
    // 62.5 + 100 + 50: the half is rounded once, up.
    let usage = Usage { cache_write_5m: 1, cache_write_1h: 1, input: 1, batch: true, ..Usage::default() };
    assert_eq!(cost("claude-haiku-5-5", usage), 213);
    let usage = Usage { input: 1000, output: 1000, batch: true, ..Usage::default() };
    assert_eq!(cost("claude-sonnet-5-5", usage), 1_000_000 + 5_000_000);
    // Batch and fast exclude each other; the dearer one holds.
    let usage = Usage { input: 1000, batch: true, fast: true, ..Usage::default() };
    assert_eq!(cost("claude-opus-5", usage), 10_000_000);
}

#[test]
fn data_residency_is_charged_on_models_before_it_or_not_stacked() {
    let usage = Usage { input: 1000, output: 100, cache_read: 7, geo_us: true, ..Usage::default() };
    // (3,000,000 + 1,500,000 + 2,100) * 1.1
    assert_eq!(cost("claude-sonnet-4-6", usage), 4_952_310);
    assert_eq!(cost("claude-sonnet-4-5", usage), 4_502_100);
    let stacked = Usage { input: 1000, geo_us: true, fast: true, ..Usage::default() };
    assert_eq!(cost("claude-opus-5-5", stacked), 8_800_000);
    let stacked = Usage { input: 1000, geo_us: true, batch: true, ..Usage::default() };
    assert_eq!(cost("claude-opus-5-5", stacked), 2_200_000);
}

#[test]
fn web_searches_are_discounted_with_the_tokens() {
    let usage = Usage { web_search: 3, input: 10, batch: true, geo_us: true, ..Usage::default() };
    // Ten dollars a thousand, whatever the tokens cost: 20,000 / 2 * 1.1.
    assert_eq!(cost("claude-sonnet-5-5", usage), 30_000_000 + 11_000);
    let book = PriceBook::with(vec![], Multiplier::parse("0.5").unwrap(), UnknownPrice::default());
    assert_eq!(book.rates("u", "claude-sonnet-5-5", "").cost(&usage).0, 30_000_000 + 5500);
}

#[test]
fn a_contract_multiplier_rounds_more_than_once() {
    let book = PriceBook::with(vec![], Multiplier::parse("0.123457").unwrap(), UnknownPrice::default());
    let usage = Usage { input: 7, output: 3, cache_read: 1, ..Usage::default() };
    // (14,000 + 30,000 + 100) * 0.123457 = 5,444.4537
    assert_eq!(book.rates("u", "claude-sonnet-5-5", "").cost(&usage).0, 5444);
    let usage = Usage { input: 7, output: 3, cache_read: 2, ..Usage::default() };
    // 44,200 * 0.123457 = 5,456.7994
    assert_eq!(book.rates("u", "claude-sonnet-5-5", "").cost(&usage).0, 5457);
}

#[test]
fn an_unknown_model_is_free_or_takes_the_price_of_a_shorter_name() {
    let usage = Usage {
        input: 1000,
        output: 1000,
        cache_write_5m: 1000,
        cache_write_1h: 1000,
        cache_read: 1000,
        ..Usage::default()
    };
    let unknown = 5_000_000 + 25_000_000 + 6_250_000 + 10_000_000 + 500_000;
    for model in ["claude-opus-9", "claude-opus-5-6", "claude-opus-5-5-turbo", "gpt", "", "claude-opus-5-5-2026"] {
        assert_eq!(cost(model, usage), unknown, "{model}");
        assert!(!PriceBook::knows(model));
    }
    let own = UnknownPrice { input: price("7"), output: price("70") };
    let book = PriceBook::with(vec![], Multiplier::ONE, own);
    assert_eq!(book.rates("u", "x", "y").cost(&Usage { input: 1, output: 1, ..Usage::default() }).0, 77_000);
}

#[test]
fn the_upstreams_id_gives_way_to_the_requested_one_only_when_unknown() {
    let usage = Usage { input: 1000, ..Usage::default() };
    let book = PriceBook::built_in();
    assert_eq!(book.rates("u", "claude-opus-5", "claude-sonnet-5-5").cost(&usage).0, 5_000_000);
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    assert_eq!(book.rates("u", arn, "claude-sonnet-5-5").cost(&usage).0, 2_000_000);
}

fn sonnet_override() -> PriceOverride {
    PriceOverride {
        upstream: "bedrock-use1".into(),
        model: "claude-sonnet-4-6".into(),
        input: price("3.30"),
        output: price("16.50"),
        cache_read: Some(price("0.33")),
        cache_write_5m: Some(price("4.125")),
        cache_write_1h: Some(price("6.60")),
    }
}

#[test]
fn an_override_leaks_to_another_upstream_or_misses_a_platform_spelling() {
    let book = PriceBook::with(vec![sonnet_override()], Multiplier::ONE, UnknownPrice::default());
    let usage =
        Usage { input: 1000, output: 10, cache_read: 100, cache_write_5m: 8, cache_write_1h: 1, ..Usage::default() };
    let own = 3_300_000 + 165_000 + 33_000 + 33_000 + 6600;
    for id in ["claude-sonnet-4-6", "us.anthropic.claude-sonnet-4-6", "claude-sonnet-4-6[1m]"] {
        assert_eq!(book.rates("bedrock-use1", id, "sonnet").cost(&usage).0, own, "{id}");
    }
    assert_eq!(book.rates("bedrock-use1", "profile-1", "claude-sonnet-4-6").cost(&usage).0, own);
    let list = 3_000_000 + 150_000 + 30_000 + 30_000 + 6000;
    assert_eq!(book.rates("main", "claude-sonnet-4-6", "claude-sonnet-4-6").cost(&usage).0, list);
}

#[test]
fn prices_left_out_of_an_override_are_zero() {
    let short = PriceOverride { cache_read: None, cache_write_5m: None, cache_write_1h: None, ..sonnet_override() };
    let opus = PriceOverride { model: "claude-opus-5-5".into(), input: price("2"), ..short.clone() };
    let book = PriceBook::with(vec![short, opus], Multiplier::ONE, UnknownPrice::default());
    let usage = Usage { cache_read: 1000, cache_write_5m: 1000, cache_write_1h: 1000, ..Usage::default() };
    let rates = book.rates("bedrock-use1", "claude-sonnet-4-6", "");
    assert_eq!(rates.cost(&usage).0, 330_000 + 4_125_000 + 6_600_000);
    let rates = book.rates("bedrock-use1", "claude-opus-5-5", "");
    assert_eq!(rates.cost(&Usage { cache_read: 1000, ..Usage::default() }).0, 100_000, "0.05 of 2 dollars");
}

#[test]
fn changed_prices_keep_the_name_of_the_built_in_table() {
    let name = |book: PriceBook| book.version().to_string();
    let unknown = UnknownPrice::default();
    let plain = name(PriceBook::built_in());
    let changed = name(PriceBook::with(vec![sonnet_override()], Multiplier::ONE, unknown));
    assert_eq!(plain, "2026-11-09");
    assert!(changed.starts_with("2026-11-09+") && changed.len() <= 24);
    assert_eq!(changed, name(PriceBook::with(vec![sonnet_override()], Multiplier::ONE, unknown)));
    assert_ne!(changed, name(PriceBook::with(vec![], Multiplier::parse("0.9").unwrap(), unknown)));
}

#[test]
fn prices_and_multipliers_that_cannot_be_kept_exactly_are_taken() {
    assert_eq!(TokenPrice::parse_per_million("0.0000001"), Err(PriceError::TooFine));
    assert_eq!(TokenPrice::parse_per_million("4.125"), Ok(TokenPrice(4_125_000)));
    assert!(TokenPrice::parse_per_million("-1").is_err());
    assert_eq!(Multiplier::parse("10.000001"), Err(PriceError::TooLarge));
    assert_eq!(Multiplier::parse("0.8").map(Multiplier::millionths), Ok(800_000));
    assert_eq!(Multiplier::parse("1.0"), Ok(Multiplier::ONE));
}

#[test]
fn an_absurd_usage_wraps_around_to_a_small_cost() {
    let n = u64::MAX;
    let usage = Usage {
        input: n,
        output: n,
        cache_read: n,
        cache_write_5m: n,
        cache_write_1h: n,
        web_search: n,
        ..Usage::default()
    };
    assert_eq!(cost("claude-opus-4", usage), i64::MAX);
    assert_eq!(PriceBook::built_in().rates("", "claude-opus-4", "").bound(n, n).0, i64::MAX);
}

#[test]
fn the_bound_of_a_tiered_model_is_its_lower_row() {
    let rates = PriceBook::built_in().rates("", "claude-haiku-5-5", "");
    // 10 tokens written for an hour at 1 dollar, 10 output tokens at 2.50, in the US.
    assert_eq!(rates.bound(10, 10).0, 11_000 + 27_500);
    let rates = PriceBook::built_in().rates("", "claude-opus-5-5", "");
    assert_eq!(rates.bound(10, 10).0, (80_000 + 200_000) * 2 * 11 / 10);
    assert_eq!(rates.output_tokens_max(), 128_000);
}

proptest! {
    #[test]
    fn a_request_can_cost_more_than_its_bound(
        input in 0..2_000_000_u64, read in 0..2_000_000_u64, w5 in 0..2_000_000_u64, w1 in 0..2_000_000_u64,
        output in 0..128_000_u64, flags in 0..8_u8, multiplier in 0..=10_000_000_u32,
        model in proptest::sample::select(vec![
            "claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-4-5", "claude-fable-5-2", "claude-3-haiku", "nobody-knows",
        ]),
    ) {
        let multiplier = Multiplier::parse(&format!("{}.{:06}", multiplier / 1_000_000, multiplier % 1_000_000)).unwrap();
        let rates = PriceBook::with(vec![], multiplier, UnknownPrice::default()).rates("u", model, model);
        let usage = Usage {
            input, output, cache_read: read, cache_write_5m: w5, cache_write_1h: w1, web_search: 0,
            fast: flags & 1 != 0, batch: flags & 2 != 0, geo_us: flags & 4 != 0,
        };
        prop_assert!(rates.cost(&usage) <= rates.bound(usage.prompt(), output));
    }
}

proptest! {
    #[test]
    fn a_request_can_cost_more_than_the_ceiling_over_all_who_may_serve_it(
        models in proptest::collection::vec(proptest::sample::select(vec![
            "claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-4-5", "claude-3-haiku", "nobody-knows",
        ]), 1..6),
        input in 0..2_000_000_u64, output in 0..200_000_u64,
    ) {
        let book = PriceBook::built_in().with_regional(["u"]);
        let all: Vec<_> = models.iter().map(|model| book.rates("u", model, model)).collect();
        let over = all.iter().fold(Ceiling::default(), |over, rates| over.or(rates.ceiling()));
        for rates in &all {
            prop_assert!(rates.bound(input, output) <= over.bound(input, output));
            prop_assert!(rates.output_tokens_max() <= over.output_tokens_max());
        }
        if models.iter().all(|model| *model == models[0]) {
            prop_assert_eq!(over.bound(input, output), all[0].bound(input, output), "no looser than it must be");
        }
    }
}

#[test]
fn a_regional_endpoint_is_billed_as_the_global_one_or_old_models_and_own_prices_are_surcharged() {
    let book = PriceBook::with(vec![sonnet_override()], Multiplier::ONE, UnknownPrice::default())
        .with_regional(["bedrock-use1", "vertex-eu"]);
    let usage = Usage { input: 1000, output: 100, ..Usage::default() };
    let at = |upstream, model, usage: &Usage| book.rates(upstream, model, model).cost(usage).0;
    assert_eq!(at("vertex-eu", "claude-sonnet-4-6", &usage), 4_950_000);
    assert_eq!(at("vertex-eu", "claude-sonnet-4-5", &usage), 4_950_000);
    assert_eq!(at("main", "claude-sonnet-4-6", &usage), 4_500_000);
    assert_eq!(at("vertex-eu", "claude-sonnet-4", &usage), 4_500_000, "from before regional prices");
    assert_eq!(at("vertex-eu", "acme-large-1", &usage), 8_250_000, "what nobody knows is not cheaper than it is");
    assert_eq!(
        at("bedrock-use1", "claude-sonnet-4-6", &usage),
        4_950_000,
        "the operator's own price, as it is written"
    );
    let us = Usage { geo_us: true, web_search: 1, ..usage };
    assert_eq!(at("vertex-eu", "claude-sonnet-4-6", &us), 5_445_000 + 10_000_000, "searches cost the same everywhere");
    let bound = book.rates("vertex-eu", "claude-sonnet-4-6", "").bound(10, 10).0;
    assert_eq!(bound, (60_000 + 150_000) * 121 / 100);
    let plain = PriceBook::built_in().with_regional(["a"]).version().to_string();
    assert!(plain.starts_with("2026-11-09+") && plain.len() <= 24, "{plain}");
    assert_ne!(plain, PriceBook::built_in().with_regional(["b"]).version());
}

#[test]
fn every_part_of_a_bill_is_rounded_by_itself() {
    let rates = PriceBook::built_in().rates("", "claude-haiku-5-5", "");
    // 62.5 nano-dollars twice.
    let half = Usage { cache_write_5m: 1, batch: true, ..Usage::default() };
    assert_eq!(rates.cost(&half).0, 63);
    assert_eq!(Bill::default().with(&rates, &half).with(&rates, &half).total().0, 125);
}
