//! `[pricing]` and `[[price]]`.

use super::{
    reader::Reader,
    types::{Config, Pricing},
};
use crate::kernel::pricing::{Multiplier, PriceBook, PriceOverride, TokenPrice, UnknownPrice};
use std::collections::HashMap;

const PRICE: &str = "US dollars per million tokens in quotes, such as \"3.00\"";

impl Config {
    /// The price table that this configuration means.
    pub fn price_book(&self) -> PriceBook {
        let Pricing { overrides, multiplier, unknown } = &self.pricing;
        let regional =
            self.upstreams.iter().filter(|upstream| upstream.regional).map(|upstream| upstream.name.as_str());
        PriceBook::with(overrides.clone(), *multiplier, *unknown).with_regional(regional)
    }
}

/// Reads both sections.
pub(super) fn pricing(root: &Reader<'_>) -> Pricing {
    let mut pricing =
        Pricing { multiplier: Multiplier::ONE, unknown: UnknownPrice::default(), overrides: overrides(root) };
    let Some(reader) = root.table("pricing") else { return pricing };
    let multiplier = reader.parsed("multiplier", "a decimal from \"0\" to \"10\", such as \"0.85\"", Multiplier::parse);
    pricing.multiplier = multiplier.unwrap_or(Multiplier::ONE);
    if let Some(unknown) = reader.table("unknown_model") {
        pricing.unknown = unknown_price(&unknown);
    }
    reader.finish();
    pricing
}

fn unknown_price(reader: &Reader<'_>) -> UnknownPrice {
    let mut unknown = UnknownPrice::default();
    for (key, place) in [("input", &mut unknown.input), ("output", &mut unknown.output)] {
        let read = need_price(reader, key);
        if read == Some(TokenPrice(0)) {
            reader.error(key, "is nothing; a model nobody knows is never free", format!("write {PRICE}"));
        }
        *place = read.unwrap_or(*place);
    }
    reader.finish();
    unknown
}

fn overrides(root: &Reader<'_>) -> Vec<PriceOverride> {
    let mut seen: HashMap<(Box<str>, Box<str>), String> = HashMap::new();
    let mut overrides = Vec::new();
    for reader in root.tables("price") {
        let read = PriceOverride {
            upstream: reader.need_text("upstream", "anthropic-main").unwrap_or_default().into(),
            model: reader.need_text("model", "claude-sonnet-5-5").unwrap_or_default().into(),
            input: need_price(&reader, "input").unwrap_or_default(),
            output: need_price(&reader, "output").unwrap_or_default(),
            cache_read: price(&reader, "cache_read"),
            cache_write_5m: price(&reader, "cache_write_5m"),
            cache_write_1h: price(&reader, "cache_write_1h"),
        };
        let path = reader.path_of("model");
        if let Some(first) = seen.insert((read.upstream.clone(), read.model.clone()), path) {
            reader.error("model", format!("has a price at this upstream already ({first})"), "keep one of the two");
        }
        reader.finish();
        overrides.push(read);
    }
    overrides
}

fn price(reader: &Reader<'_>, key: &'static str) -> Option<TokenPrice> {
    reader.parsed(key, PRICE, TokenPrice::parse_per_million)
}

fn need_price(reader: &Reader<'_>, key: &'static str) -> Option<TokenPrice> {
    if !reader.has(key) {
        reader.error(key, "is missing", format!("write {PRICE}"));
    }
    price(reader, key)
}
