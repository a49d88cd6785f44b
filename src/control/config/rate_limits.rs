//! `[[rate_limit]]`.

use super::{
    budgets::scope,
    reader::Reader,
    types::{RateLimitConfig, ScopePattern},
};
use crate::kernel::{limiter::Measure, money::Nanos};
use std::collections::HashMap;

/// The largest limit; what a shard's counters hold is far more.
const LIMIT_MAX: u64 = 100_000_000_000;
/// Nano-units in a thousandth.
const NANOS_PER_MILLI: i64 = 1_000_000;

/// Reads all rate limits; a scope is written once, with all its limits.
pub(super) fn rate_limits(root: &Reader<'_>) -> Vec<RateLimitConfig> {
    let mut seen: HashMap<ScopePattern, String> = HashMap::new();
    let mut limits = Vec::new();
    for reader in root.tables("rate_limit") {
        let limit = rate_limit(&reader);
        if let Some(scope) = &limit.scope
            && let Some(first) = seen.insert(scope.clone(), reader.path_of("scope"))
        {
            reader.error("scope", format!("has rate limits already ({first})"), "write all its limits in one table");
        }
        limits.push(limit);
    }
    limits
}

fn rate_limit(reader: &Reader<'_>) -> RateLimitConfig {
    let mut limits = Vec::new();
    for measure in Measure::ALL {
        let key = measure.as_str();
        if reader.has(key) {
            limits.push((measure, reader.integer(key, 1, 1..=LIMIT_MAX) as i64));
        }
    }
    if limits.is_empty() {
        reader.error_here("limits nothing", "write requests_per_minute = 60, or another limit");
    }
    let limit = RateLimitConfig { scope: scope(reader), limits, cache_read_permille: cache_read_weight(reader) };
    if reader.has("cache_read_weight") && !reader.has(Measure::InputTokens.as_str()) {
        let mend = "write input_tokens_per_minute too, or remove it";
        reader.error("cache_read_weight", "weighs input tokens, which are not limited here", mend);
    }
    reader.finish();
    limit
}

/// From 0 to 1, to the thousandth.
fn cache_read_weight(reader: &Reader<'_>) -> u16 {
    reader.measured("cache_read_weight", 0, "a weight from \"0\" to \"1\" with at most three decimals", |text| {
        let nanos = Nanos::parse_dollars(text).ok()?.0;
        let permille = u16::try_from(nanos / NANOS_PER_MILLI).ok()?;
        (nanos % NANOS_PER_MILLI == 0 && permille <= 1000).then_some(permille)
    })
}
