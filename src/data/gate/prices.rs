//! What a request can cost at most, before anybody knows which of its targets will serve it: a budget that holds must hold
//! for the dearest of them, since a failover may end there (law 6).

use super::Routed;
use crate::{
    data::{edge::incoming::Exchange, relay::target::model_at},
    kernel::{
        limits::{MODEL_BYTES_MAX, PRICES_KEPT_MAX},
        models::Target,
        pricing::{Ceiling, PriceBook, Rates},
        record::Format,
        routing::hash,
    },
};
use std::{cell::RefCell, collections::HashMap};

/// Prices of a request that any of its targets may serve.
#[derive(Clone, Copy)]
pub struct Prices {
    /// The rates with the dearest input: what an estimate is booked at as long as nobody has answered.
    pub dearest: Rates,
    /// The most that its tokens can cost.
    pub ceiling: Ceiling,
}

impl Prices {
    fn of(rates: Rates) -> Self {
        Self { dearest: rates, ceiling: rates.ceiling() }
    }

    fn or(self, rates: Rates) -> Self {
        let ceiling = rates.ceiling();
        let dearest = if ceiling.has_dearer_input_than(&self.dearest.ceiling()) { rates } else { self.dearest };
        Self { dearest, ceiling: self.ceiling.or(ceiling) }
    }
}

/// Prices of models with several targets, as a shard has worked them out for one snapshot: by model as the client writes it,
/// then by format, each with the targets they hold for. At most `PRICES_KEPT_MAX` models; others are worked out each time.
#[derive(Default)]
pub struct PriceMemo(RefCell<HashMap<Box<str>, [Option<Kept>; FORMATS]>>);

const FORMATS: usize = 3;

#[derive(Clone, Copy)]
struct Kept {
    able: u64,
    prices: Prices,
}

impl PriceMemo {
    fn find(&self, model: &str, format: Format, able: u64) -> Option<Prices> {
        let known = self.0.borrow();
        let kept = known.get(model)?.get(format as usize)?.as_ref().filter(|kept| kept.able == able)?;
        Some(kept.prices)
    }

    fn keep(&self, model: &str, format: Format, able: u64, prices: Prices) {
        let mut known = self.0.borrow_mut();
        if (known.len() < PRICES_KEPT_MAX || known.contains_key(model))
            && let Some(place) = known.entry(model.into()).or_default().get_mut(format as usize)
        {
            *place = Some(Kept { able, prices });
        }
    }
}

/// The prices that hold for a request until it is known who serves it.
pub fn prices_of(cx: &Exchange<'_>, routed: &Routed<'_>) -> Prices {
    let first = || routed.first().map_or_else(|| cx.serving.prices.rates("", "", ""), |first| rates(cx, routed, first));
    if routed.able.count_ones() < 2 {
        return Prices::of(first());
    }
    let format = routed.identified.incoming.route.format;
    if let Some(known) = cx.serving.price_memo.find(&routed.model, format, routed.able) {
        return known;
    }
    let able = routed.targets.iter().enumerate().filter(|(place, _)| routed.able >> (place & 63) & 1 == 1);
    let each = able.map(|(_, target)| rates(cx, routed, target));
    let prices = each.fold(None, |all: Option<Prices>, rates| match all {
        Some(all) => Some(all.or(rates)),
        None => Some(Prices::of(rates)),
    });
    let prices = prices.unwrap_or_else(|| Prices::of(first()));
    cx.serving.price_memo.keep(&routed.model, format, routed.able, prices);
    prices
}

/// What the relay will price the request with, if this target serves it.
fn rates(cx: &Exchange<'_>, routed: &Routed<'_>, target: &Target) -> Rates {
    let Some(upstream) = cx.serving.upstream(target.upstream) else { return cx.serving.prices.rates("", "", "") };
    let format = routed.identified.incoming.route.format;
    let model = model_at(format, upstream, target, &routed.model);
    cx.serving.rates(&upstream.name, model.as_deref().unwrap_or(&routed.model), &routed.model)
}

/// Rates that have been looked up for one snapshot: names are taken apart to find a model in the price list, and the same few
/// are asked for twice in every request.
#[derive(Default)]
pub struct RatesMemo(RefCell<[Option<Box<KnownRates>>; RATES_KEPT]>);

/// A power of two; others that fall on the same place are looked up each time they change.
const RATES_KEPT: usize = 32;

struct KnownRates {
    upstream: Box<str>,
    model: Box<str>,
    requested: Box<str>,
    rates: Rates,
}

impl RatesMemo {
    /// What the book says, or said when it was asked for the same before.
    pub fn rates(&self, book: &PriceBook, upstream: &str, model: &str, requested: &str) -> Rates {
        let other = if requested == model { "" } else { requested };
        let place =
            [model, other].iter().fold(0, |seed, text| hash::bytes(seed, text.as_bytes())) as usize % RATES_KEPT;
        let mut all = self.0.borrow_mut();
        if let Some(known) = &all[place]
            && (*known.upstream == *upstream && *known.model == *model && *known.requested == *requested)
        {
            return known.rates;
        }
        let rates = book.rates(upstream, model, requested);
        // A client may write anything for a model's name.
        if model.len().max(requested.len()) <= MODEL_BYTES_MAX {
            all[place] = Some(Box::new(KnownRates {
                upstream: upstream.into(),
                model: model.into(),
                requested: requested.into(),
                rates,
            }));
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::pricing::{Multiplier, PriceOverride, TokenPrice, UnknownPrice};

    #[test]
    fn rates_that_are_remembered_are_another_models_or_another_upstreams() {
        let own = PriceOverride {
            upstream: "dear".into(),
            model: "claude-sonnet-4-6".into(),
            input: TokenPrice(9_000_000),
            output: TokenPrice(90_000_000),
            cache_read: None,
            cache_write_5m: None,
            cache_write_1h: None,
        };
        let book = PriceBook::with(vec![own], Multiplier::ONE, UnknownPrice::default());
        let memo = RatesMemo::default();
        let models: Vec<String> = (0..100).map(|n| format!("m-{n}")).chain(["claude-sonnet-4-6".into()]).collect();
        for _ in 0..2 {
            for model in &models {
                for upstream in ["plain", "dear"] {
                    assert_eq!(
                        memo.rates(&book, upstream, model, "x"),
                        book.rates(upstream, model, "x"),
                        "{upstream} {model}"
                    );
                    assert_eq!(
                        memo.rates(&book, upstream, "x", model),
                        book.rates(upstream, "x", model),
                        "{upstream} {model}"
                    );
                }
            }
        }
    }
}
