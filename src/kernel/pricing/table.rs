//! The built-in price list: first-party, standard speed, global (contract.md §7.1, as of 2026-11-09), and the most output
//! tokens of an answer (the providers' model pages: 128,000 from the 4.6 generation on).

use super::rates::{Row, TokenPrice};

/// Name of this list, for records.
pub(super) const VERSION: &str = "2026-11-09";
/// The most output tokens of current models, and of models nobody knows.
pub(super) const OUTPUT_TOKENS_MAX: u64 = 128_000;

/// One model of the list.
pub(super) struct Listed {
    /// Names without platform prefixes and suffixes.
    pub(super) ids: &'static [&'static str],
    pub(super) row: Row,
    /// The row of long prompts, where there is one.
    pub(super) long: Option<Row>,
    pub(super) fast: bool,
    pub(super) geo: bool,
    /// Charges for regional endpoints: models of the 4.5 generation and later (contract.md §7.2).
    pub(super) regional: bool,
    pub(super) output_tokens_max: u64,
}

/// A row in thousandths of a dollar per million tokens: input, five-minute write, one-hour write, read, output.
const fn row(prices: [u64; 5]) -> Row {
    const fn price(thousandths: u64) -> TokenPrice {
        TokenPrice(thousandths * 1000)
    }
    Row {
        input: price(prices[0]),
        write_5m: price(prices[1]),
        write_1h: price(prices[2]),
        read: price(prices[3]),
        output: price(prices[4]),
    }
}

/// A model of the 4.6 generation or later.
const fn current(ids: &'static [&'static str], prices: [u64; 5]) -> Listed {
    Listed {
        ids,
        row: row(prices),
        long: None,
        fast: false,
        geo: true,
        regional: true,
        output_tokens_max: OUTPUT_TOKENS_MAX,
    }
}

/// The same, with a fast mode.
const fn fast(ids: &'static [&'static str], prices: [u64; 5]) -> Listed {
    let mut listed = current(ids, prices);
    listed.fast = true;
    listed
}

/// A model from before data residency, and from before regional prices.
const fn old(ids: &'static [&'static str], prices: [u64; 5], output_tokens_max: u64) -> Listed {
    Listed { ids, row: row(prices), long: None, fast: false, geo: false, regional: false, output_tokens_max }
}

/// A model of the 4.5 generation: regional prices, but no data residency.
const fn of_4_5(ids: &'static [&'static str], prices: [u64; 5], output_tokens_max: u64) -> Listed {
    let mut listed = old(ids, prices, output_tokens_max);
    listed.regional = true;
    listed
}

const HAIKU_5_5: Listed = Listed {
    ids: &["claude-haiku-5-5"],
    row: row([100, 125, 200, 10, 500]),
    long: Some(row([500, 625, 1000, 50, 2500])),
    fast: false,
    geo: true,
    regional: true,
    output_tokens_max: OUTPUT_TOKENS_MAX,
};

/// The list. The models of today's fleets come first, since it is searched in order.
pub(super) static LIST: &[Listed] = &[
    current(&["claude-sonnet-5-5"], [2000, 2500, 4000, 100, 10_000]),
    fast(&["claude-opus-5-5"], [4000, 5000, 8000, 200, 20_000]),
    HAIKU_5_5,
    fast(&["claude-fable-5-2"], [8000, 10_000, 16_000, 200, 40_000]),
    current(&["claude-mythos-5-2"], [8000, 10_000, 16_000, 200, 40_000]),
    current(&["claude-fable-5-1", "claude-mythos-5-1"], [10_000, 12_500, 20_000, 250, 50_000]),
    current(&["claude-fable-5", "claude-mythos-5"], [10_000, 12_500, 20_000, 1000, 50_000]),
    fast(&["claude-opus-5", "claude-opus-4-8"], [5000, 6250, 10_000, 500, 25_000]),
    current(&["claude-opus-4-7", "claude-opus-4-6"], [5000, 6250, 10_000, 500, 25_000]),
    current(&["claude-sonnet-5"], [2000, 2500, 4000, 200, 10_000]),
    current(&["claude-sonnet-4-6"], [3000, 3750, 6000, 300, 15_000]),
    of_4_5(&["claude-haiku-4-5"], [1000, 1250, 2000, 100, 5000], 64_000),
    of_4_5(&["claude-opus-4-5"], [5000, 6250, 10_000, 500, 25_000], 64_000),
    of_4_5(&["claude-sonnet-4-5"], [3000, 3750, 6000, 300, 15_000], 64_000),
    old(&["claude-sonnet-4", "claude-sonnet-4-0"], [3000, 3750, 6000, 300, 15_000], 64_000),
    old(&["claude-opus-4-1", "claude-opus-4", "claude-opus-4-0"], [15_000, 18_750, 30_000, 1500, 75_000], 32_000),
    old(&["claude-3-5-haiku"], [800, 1000, 1600, 80, 4000], 8192),
    old(&["claude-3-haiku"], [250, 300, 500, 30, 1250], 4096),
];

/// The listed model of a canonical id; the whole id must match.
pub(super) fn find(canonical_id: &str) -> Option<&'static Listed> {
    LIST.iter().find(|listed| listed.ids.contains(&canonical_id))
}
