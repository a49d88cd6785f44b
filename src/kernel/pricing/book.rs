//! The price table in force: the built-in list, the operator's own prices, and a price for what nobody knows.

use super::{
    model_id::canonical,
    rates::{Multiplier, Rates, Row, TokenPrice},
    table::{self, Listed},
};
use arrayvec::ArrayString;
use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
};

/// Prices an operator agreed on for one model at one upstream. What is left out follows from `input` by the model's usual ratios.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceOverride {
    /// Name of the upstream.
    pub upstream: Box<str>,
    /// Model id, as asked for upstream or in its plain form (`claude-sonnet-4-6` covers all its platform spellings).
    pub model: Box<str>,
    /// Uncached input.
    pub input: TokenPrice,
    /// Output.
    pub output: TokenPrice,
    /// Cache read.
    pub cache_read: Option<TokenPrice>,
    /// Five-minute cache write.
    pub cache_write_5m: Option<TokenPrice>,
    /// One-hour cache write.
    pub cache_write_1h: Option<TokenPrice>,
}

/// What a model costs that no table knows; never nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPrice {
    /// Uncached input.
    pub input: TokenPrice,
    /// Output.
    pub output: TokenPrice,
}

impl Default for UnknownPrice {
    /// Five and twenty-five dollars per million tokens (contract.md §7.3).
    fn default() -> Self {
        Self { input: TokenPrice(5_000_000), output: TokenPrice(25_000_000) }
    }
}

/// The price table in force.
pub struct PriceBook {
    overrides: HashMap<Box<str>, HashMap<Box<str>, Rates>>,
    multiplier: Multiplier,
    unknown: Rates,
    regional: HashSet<Box<str>>,
    version: ArrayString<24>,
}

impl PriceBook {
    /// The built-in table (contract.md §7.1).
    pub fn built_in() -> Self {
        Self::with(Vec::new(), Multiplier::ONE, UnknownPrice::default())
    }

    /// The built-in table under a contract: own prices, a multiplier on all token prices, a price for unknown models.
    pub fn with(overrides: Vec<PriceOverride>, multiplier: Multiplier, unknown: UnknownPrice) -> Self {
        let version = version(&overrides, multiplier, unknown);
        let mut by_upstream: HashMap<Box<str>, HashMap<Box<str>, Rates>> = HashMap::new();
        for price in overrides {
            let rates = overridden(&price, multiplier);
            by_upstream.entry(price.upstream).or_default().insert(price.model, rates);
        }
        let row = derived(unknown.input, unknown.output, None, None, None, (1, 10));
        let unknown = unlisted(row, multiplier);
        Self { overrides: by_upstream, multiplier, unknown, regional: HashSet::new(), version }
    }

    /// The same, with a tenth more at these upstreams, which are regional endpoints (contract.md §7.2).
    #[must_use]
    pub fn with_regional<'a>(mut self, upstreams: impl IntoIterator<Item = &'a str>) -> Self {
        for upstream in upstreams {
            if self.regional.insert(upstream.into()) {
                self.version = further(&self.version, upstream);
            }
        }
        self
    }

    /// Finds the rates: override per (upstream, model), then the upstream's model id, then the requested id, then unknown.
    /// Does not allocate.
    pub fn rates(&self, upstream: &str, upstream_model: &str, requested: &str) -> Rates {
        let (plain_upstream_model, plain_requested) = (canonical(upstream_model), canonical(requested));
        if let Some(prices) = self.overrides.get(upstream) {
            let spellings = [upstream_model, plain_upstream_model, requested, plain_requested];
            if let Some(rates) = spellings.into_iter().find_map(|id| prices.get(id)) {
                return *rates;
            }
        }
        let here = !self.regional.is_empty() && self.regional.contains(upstream);
        match table::find(plain_upstream_model).or_else(|| table::find(plain_requested)) {
            Some(listed) => Rates { regional: here && listed.regional, ..list_price(listed, self.multiplier) },
            None => Rates { regional: here, ..self.unknown },
        }
    }

    /// Is there a price for this model, other than the one for unknown models?
    pub fn knows(model: &str) -> bool {
        table::find(canonical(model)).is_some()
    }

    /// The name of the table, for records: the list's date, and a fingerprint of the operator's changes if there are any.
    pub fn version(&self) -> &str {
        &self.version
    }
}

fn list_price(listed: &Listed, multiplier: Multiplier) -> Rates {
    Rates {
        row: listed.row,
        long: listed.long.unwrap_or(listed.row),
        fast: listed.fast,
        geo: listed.geo,
        regional: false,
        output_tokens_max: listed.output_tokens_max,
        multiplier,
    }
}

/// Every modifier counts on a model that nobody knows: it must not be cheaper than it is.
fn unlisted(row: Row, multiplier: Multiplier) -> Rates {
    let output_tokens_max = table::OUTPUT_TOKENS_MAX;
    Rates { row, long: row, fast: true, geo: true, regional: false, output_tokens_max, multiplier }
}

/// An override is one flat row, also for a tiered model; speed, batch and residency stack on it as on the list price.
fn overridden(price: &PriceOverride, multiplier: Multiplier) -> Rates {
    let listed = table::find(canonical(&price.model));
    let read_ratio = listed.map_or((1, 10), |l| (l.row.read.0, l.row.input.0));
    let row =
        derived(price.input, price.output, price.cache_read, price.cache_write_5m, price.cache_write_1h, read_ratio);
    match listed {
        Some(listed) => Rates { row, long: row, ..list_price(listed, multiplier) },
        None => unlisted(row, multiplier),
    }
}

/// A row whose missing cache prices follow from the input price: 1.25x and 2x for writes, the model's ratio for reads.
fn derived(
    input: TokenPrice,
    output: TokenPrice,
    read: Option<TokenPrice>,
    write_5m: Option<TokenPrice>,
    write_1h: Option<TokenPrice>,
    (over, under): (u64, u64),
) -> Row {
    Row {
        input,
        write_5m: write_5m.unwrap_or_else(|| input.times(5, 4)),
        write_1h: write_1h.unwrap_or_else(|| input.times(2, 1)),
        read: read.unwrap_or_else(|| input.times(over, under)),
        output,
    }
}

fn version(overrides: &[PriceOverride], multiplier: Multiplier, unknown: UnknownPrice) -> ArrayString<24> {
    let mut text = ArrayString::new();
    let plain = overrides.is_empty() && multiplier == Multiplier::ONE && unknown == UnknownPrice::default();
    let written = if plain {
        text.write_str(table::VERSION)
    } else {
        write!(text, "{}+{:08x}", table::VERSION, fingerprint(overrides, multiplier, unknown))
    };
    debug_assert!(written.is_ok(), "a date and nine characters fit");
    text
}

/// FNV-1a over the operator's changes: equal configurations name their table equally, on every machine and after every start.
fn fingerprint(overrides: &[PriceOverride], multiplier: Multiplier, unknown: UnknownPrice) -> u32 {
    let first = eat(0x811c_9dc5, &format!("{} {} {}", multiplier.millionths(), unknown.input.0, unknown.output.0));
    overrides.iter().fold(first, |hash, price| eat(hash, &format!("{price:?}")))
}

/// The name of a table that differs from a named one by one more regional upstream.
fn further(version: &str, upstream: &str) -> ArrayString<24> {
    let mut text = ArrayString::new();
    let written = write!(text, "{}+{:08x}", table::VERSION, eat(eat(0x811c_9dc5, version), upstream));
    debug_assert!(written.is_ok(), "a date and nine characters fit");
    text
}

fn eat(hash: u32, text: &str) -> u32 {
    text.bytes().chain([0]).fold(hash, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
