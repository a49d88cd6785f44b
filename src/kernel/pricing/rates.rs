//! The prices of one model, and the arithmetic on them.

use super::super::{
    money::{MoneyError, NANOS_PER_DOLLAR, Nanos},
    usage::Usage,
};
use std::fmt;

/// Prompt tokens above which a tiered model's whole request moves to its higher row (contract.md §7.2).
pub(super) const TIER_TOKENS: u64 = 100_000;
/// One web search: ten dollars a thousand (contract.md §7.2).
const WEB_SEARCH_NANOS: u128 = 10_000_000;
/// The fast rate is twice the standard rate in every token category.
const FAST_FACTOR: u128 = 2;
/// Data residency adds a tenth, and so does a regional endpoint; where both hold they multiply.
const SURCHARGE_TENTHS: u128 = 11;
/// Millionths in one.
const ONE: u32 = 1_000_000;
/// Pico-dollars in a nano-dollar.
const PICOS_PER_NANO: u128 = 1000;
/// What all modifiers together are a fraction of: halves for batch, tenths for residency, tenths for the region, millionths
/// for the contract; from pico-dollars to nano-dollars. The same for all rates, so that exact sums can be added.
const UNDER: u128 = 2 * 10 * 10 * ONE as u128 * PICOS_PER_NANO;

/// The price of a token, in pico-dollars (a dollar per million tokens is a million of them).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenPrice(pub u64);

impl TokenPrice {
    /// Reads US dollars per million tokens, such as `0.125`; at most six decimals, since a pico-dollar a token is the unit.
    pub fn parse_per_million(text: &str) -> Result<Self, PriceError> {
        let nanos = Nanos::parse_dollars(text).map_err(PriceError::Money)?;
        if nanos.0 % 1000 != 0 {
            return Err(PriceError::TooFine);
        }
        Ok(Self(nanos.0.unsigned_abs() / 1000))
    }

    /// This price times a fraction, rounded half up.
    pub(super) fn times(self, over: u64, under: u64) -> Self {
        let exact = u128::from(self.0) * u128::from(over) + u128::from(under) / 2;
        Self(u64::try_from(exact / u128::from(under)).unwrap_or(u64::MAX))
    }
}

/// Why a text is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PriceError {
    /// No amount of money.
    Money(MoneyError),
    /// More than six decimals.
    TooFine,
    /// A multiplier above ten.
    TooLarge,
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Money(error) => error.fmt(f),
            Self::TooFine => f.write_str("has more than six decimals"),
            Self::TooLarge => f.write_str("is larger than 10"),
        }
    }
}

impl std::error::Error for PriceError {}

/// The contract multiplier on token prices, in millionths; from 0 to 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Multiplier(u32);

impl Multiplier {
    /// List price.
    pub const ONE: Self = Self(ONE);
    const LARGEST: u32 = 10 * ONE;

    /// Reads a decimal such as `0.85`, at most six decimals.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        let nanos = Nanos::parse_dollars(text).map_err(PriceError::Money)?.0;
        if nanos > i64::from(Self::LARGEST) * 1000 {
            return Err(PriceError::TooLarge);
        }
        if nanos % 1000 != 0 {
            return Err(PriceError::TooFine);
        }
        Ok(Self(u32::try_from(nanos / (NANOS_PER_DOLLAR / i64::from(ONE))).unwrap_or(Self::LARGEST)))
    }

    /// In millionths.
    pub fn millionths(self) -> u32 {
        self.0
    }
}

/// One row of a price list: the price of a token in each category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) input: TokenPrice,
    pub(super) write_5m: TokenPrice,
    pub(super) write_1h: TokenPrice,
    pub(super) read: TokenPrice,
    pub(super) output: TokenPrice,
}

impl Row {
    fn picos(&self, usage: &Usage) -> u128 {
        [
            (usage.input, self.input),
            (usage.cache_write_5m, self.write_5m),
            (usage.cache_write_1h, self.write_1h),
            (usage.cache_read, self.read),
            (usage.output, self.output),
        ]
        .into_iter()
        .fold(0, |sum: u128, (tokens, price)| sum.saturating_add(u128::from(tokens) * u128::from(price.0)))
    }

    fn dearest_input(&self) -> TokenPrice {
        self.input.max(self.write_5m).max(self.write_1h).max(self.read)
    }
}

/// The prices of one model at one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    pub(super) row: Row,
    /// The row of requests with more than `TIER_TOKENS` prompt tokens; the same row for models without tiers.
    pub(super) long: Row,
    /// Has a fast mode.
    pub(super) fast: bool,
    /// Charges for data residency.
    pub(super) geo: bool,
    /// The upstream is a regional endpoint, and the model charges for that.
    pub(super) regional: bool,
    pub(super) output_tokens_max: u64,
    pub(super) multiplier: Multiplier,
}

impl Rates {
    /// What this usage costs, rounded half up to the nano-dollar. Saturates.
    pub fn cost(&self, usage: &Usage) -> Nanos {
        Bill::default().with(self, usage).total()
    }

    /// The same before rounding, in units of one nano-dollar / `UNDER`.
    fn exact(&self, usage: &Usage) -> u128 {
        let row = if usage.prompt() > TIER_TOKENS { &self.long } else { &self.row };
        let fast = usage.fast && self.fast;
        // The provider does not combine the two; were it ever to say both, the dearer reading holds.
        let batch = usage.batch && !fast;
        let search = u128::from(usage.web_search) * WEB_SEARCH_NANOS;
        let tokens = row.picos(usage).saturating_mul(self.factor(fast, batch, usage.geo_us));
        tokens.saturating_add(search.saturating_mul(UNDER))
    }

    /// The most a request can cost in tokens: every input token at the dearest input price of the dearest row, fast and
    /// with data residency where the model has them; rounded up. Web searches and what runs beside the message
    /// (compaction, advisor, fallback) are not in it: no request says how much there will be.
    pub fn bound(&self, input_tokens_max: u64, output_tokens_max: u64) -> Nanos {
        self.ceiling().bound(input_tokens_max, output_tokens_max)
    }

    /// The most that tokens can cost at these rates.
    pub fn ceiling(&self) -> Ceiling {
        let factor = self.factor(self.fast, false, true);
        let input = self.row.dearest_input().max(self.long.dearest_input());
        let output = self.row.output.max(self.long.output);
        Ceiling {
            input: u128::from(input.0).saturating_mul(factor),
            output: u128::from(output.0).saturating_mul(factor),
            output_tokens_max: self.output_tokens_max,
        }
    }

    /// The same for requests of a batch: the batch tier has no fast mode.
    pub fn batch_bound(&self, input_tokens_max: u64, output_tokens_max: u64) -> Nanos {
        let input = self.row.dearest_input().max(self.long.dearest_input());
        let output = self.row.output.max(self.long.output);
        let picos = u128::from(input_tokens_max) * u128::from(input.0);
        let picos = picos.saturating_add(u128::from(output_tokens_max) * u128::from(output.0));
        nanos(picos.saturating_mul(self.factor(false, true, true)).div_ceil(UNDER))
    }

    /// The most output tokens the model gives in one answer.
    pub fn output_tokens_max(&self) -> u64 {
        self.output_tokens_max
    }

    /// All modifiers, over `UNDER`.
    fn factor(&self, fast: bool, batch: bool, geo_us: bool) -> u128 {
        let speed = if fast { FAST_FACTOR } else { 1 };
        let halves = if batch { 1 } else { 2 };
        let tenths = |surcharge: bool| if surcharge { SURCHARGE_TENTHS } else { 10 };
        speed * halves * tenths(geo_us && self.geo) * tenths(self.regional) * u128::from(self.multiplier.millionths())
    }
}

/// The most that tokens can cost, at one upstream's rates or at the dearest of several. Aligned as a word is, as `RequestId`: futures
/// hold it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(Rust, packed(8))]
pub struct Ceiling {
    /// One input token, over `UNDER`.
    input: u128,
    /// One output token, over `UNDER`.
    output: u128,
    output_tokens_max: u64,
}

impl Ceiling {
    /// The ceiling over both: whichever upstream serves the request, it costs no more. Where one of them has the dearer
    /// input and the other the dearer output, this lies above either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            output: self.output.max(other.output),
            output_tokens_max: self.output_tokens_max.max(other.output_tokens_max),
        }
    }

    /// The most that so many tokens can cost, rounded up. Saturates.
    pub fn bound(&self, input_tokens_max: u64, output_tokens_max: u64) -> Nanos {
        let input = u128::from(input_tokens_max).saturating_mul(self.input);
        let output = u128::from(output_tokens_max).saturating_mul(self.output);
        nanos(input.saturating_add(output).div_ceil(UNDER))
    }

    /// The most output tokens one answer has.
    pub fn output_tokens_max(&self) -> u64 {
        self.output_tokens_max
    }

    /// Is an input token dearer here?
    pub fn has_dearer_input_than(&self, other: &Self) -> bool {
        self.input > other.input
    }
}

/// A sum of costs at several rates, exact until its one rounding at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bill {
    exact: u128,
}

impl Bill {
    /// The bill with one more part on it.
    #[must_use]
    pub fn with(self, rates: &Rates, usage: &Usage) -> Self {
        Self { exact: self.exact.saturating_add(rates.exact(usage)) }
    }

    /// The sum, rounded half up to the nano-dollar. Saturates.
    pub fn total(self) -> Nanos {
        nanos(self.exact.saturating_add(UNDER / 2) / UNDER)
    }
}

fn nanos(amount: u128) -> Nanos {
    Nanos(i64::try_from(amount).unwrap_or(i64::MAX))
}
