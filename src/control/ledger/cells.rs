//! The cell of a rollup: what it counts for, and what it sums.

use crate::kernel::{
    ids::PrincipalId,
    money::Nanos,
    names::NameId,
    record::Record,
    usage::{Usage, UsageSource},
};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, HashMap},
    hash::{Hash, Hasher},
    sync::Arc,
};

/// Prompt tokens above which a request counts for the long context window: the Admin API of Anthropic divides usage into
/// `0-200k` and `200k-1M`.
const LONG_CONTEXT_TOKENS: u64 = 200_000;

/// What of a request changes its price, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Class(pub u8);

impl Class {
    const BATCH: u8 = 1;
    const FAST: u8 = 2;
    const US: u8 = 4;
    const LONG: u8 = 8;
    /// All that are known; a snapshot with others is not ours.
    pub const ALL: u8 = 15;

    pub fn of(usage: &Usage) -> Self {
        let bit = |is: bool, bit: u8| if is { bit } else { 0 };
        Self(
            bit(usage.batch, Self::BATCH)
                | bit(usage.fast, Self::FAST)
                | bit(usage.geo_us, Self::US)
                | bit(usage.prompt() > LONG_CONTEXT_TOKENS, Self::LONG),
        )
    }

    /// As `service_tier` of the Admin API. The priority tier is not told apart from the standard one.
    pub fn tier(self) -> &'static str {
        if self.0 & Self::BATCH > 0 { "batch" } else { "standard" }
    }

    /// As `speed`.
    pub fn speed(self) -> &'static str {
        if self.0 & Self::FAST > 0 { "fast" } else { "standard" }
    }

    /// As `inference_geo`: what did not say that it ran in the US ran anywhere.
    pub fn geo(self) -> &'static str {
        if self.0 & Self::US > 0 { "us" } else { "global" }
    }

    /// As `context_window`.
    pub fn context(self) -> &'static str {
        if self.0 & Self::LONG > 0 { "200k-1M" } else { "0-200k" }
    }
}

/// What is summed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Requests that were not refused.
    pub requests: u64,
    /// Of these, with usage that weir estimated.
    pub estimated_requests: u64,
    /// Uncached input tokens.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Tokens read from the prompt cache.
    pub cache_read_tokens: u64,
    /// Tokens written to the five-minute cache.
    pub cache_write_5m_tokens: u64,
    /// Tokens written to the one-hour cache.
    pub cache_write_1h_tokens: u64,
    /// Web searches.
    pub web_searches: u64,
    /// Money.
    pub cost: Nanos,
}

impl Sums {
    /// The share of all prompt tokens that were read from the cache, to three digits; none without a prompt.
    pub fn cache_hit_rate(&self) -> Option<f64> {
        let written = self.cache_write_5m_tokens.saturating_add(self.cache_write_1h_tokens);
        let prompt = self.input_tokens.saturating_add(written).saturating_add(self.cache_read_tokens);
        (prompt > 0).then(|| (self.cache_read_tokens as f64 / prompt as f64 * 1000.0).round() / 1000.0)
    }

    pub(super) fn of(record: &Record) -> Self {
        Self {
            requests: 1,
            estimated_requests: u64::from(record.usage_source == UsageSource::Estimated),
            input_tokens: record.usage.input,
            output_tokens: record.usage.output,
            cache_read_tokens: record.usage.cache_read,
            cache_write_5m_tokens: record.usage.cache_write_5m,
            cache_write_1h_tokens: record.usage.cache_write_1h,
            web_searches: record.usage.web_search,
            cost: record.cost,
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.requests, other.requests),
            (&mut self.estimated_requests, other.estimated_requests),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.cache_read_tokens, other.cache_read_tokens),
            (&mut self.cache_write_5m_tokens, other.cache_write_5m_tokens),
            (&mut self.cache_write_1h_tokens, other.cache_write_1h_tokens),
            (&mut self.web_searches, other.web_searches),
        ];
        for (sum, more) in pairs {
            *sum = sum.saturating_add(more);
        }
        self.cost += other.cost;
    }
}

/// What a cell counts for, within its hour or minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CellKey {
    pub principal: Option<PrincipalId>,
    /// Place in `Models`.
    pub model: u32,
    pub upstream: Option<NameId>,
    pub class: Class,
    /// Empty where sessions are not kept.
    pub session: Arc<str>,
}

/// The same, its session only looked at: so cells are looked up, and nearly all are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CellRef<'a> {
    pub principal: Option<PrincipalId>,
    pub model: u32,
    pub upstream: Option<NameId>,
    pub class: Class,
    pub session: &'a str,
}

impl CellKey {
    pub fn as_ref(&self) -> CellRef<'_> {
        let Self { principal, model, upstream, class, ref session } = *self;
        CellRef { principal, model, upstream, class, session }
    }
}

impl CellRef<'_> {
    fn to_key(self) -> CellKey {
        let Self { principal, model, upstream, class, session } = self;
        CellKey { principal, model, upstream, class, session: session.into() }
    }
}

/// Either, as a table looks for it.
trait Wanted {
    fn wanted(&self) -> CellRef<'_>;
}

impl Wanted for CellKey {
    fn wanted(&self) -> CellRef<'_> {
        self.as_ref()
    }
}

impl Wanted for CellRef<'_> {
    fn wanted(&self) -> CellRef<'_> {
        *self
    }
}

impl<'a> Borrow<dyn Wanted + 'a> for CellKey {
    fn borrow(&self) -> &(dyn Wanted + 'a) {
        self
    }
}

impl Hash for dyn Wanted + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.wanted().hash(state);
    }
}

impl PartialEq for dyn Wanted + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.wanted() == other.wanted()
    }
}

impl Eq for dyn Wanted + '_ {}

/// As the key that is looked for.
impl Hash for CellKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// Its numbers in one piece, and the session, which clients choose, where there is one: each piece costs the keyed hash a round
/// of its own.
impl Hash for CellRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let number = |id: Option<u32>| u64::from(id.map_or(0, |id| id.wrapping_add(1)));
        let who = number(self.principal.map(|id| id.0)) << 32 | number(self.upstream.map(|id| id.0));
        state.write_u64(who);
        state.write_u64(u64::from(self.model) << 8 | u64::from(self.class.0));
        if !self.session.is_empty() {
            state.write(self.session.as_bytes());
        }
    }
}

/// The cells of one hour or minute.
pub(super) type Cells = HashMap<CellKey, Sums>;

/// Cells by hour or minute since the epoch. What is shared with an image is copied when it changes: one slot, not all.
pub(super) type Slots = BTreeMap<i64, Arc<Cells>>;

/// Adds to a cell; true if it is a new one.
pub(super) fn put(slots: &mut Slots, slot: i64, cell: CellRef<'_>, sums: &Sums) -> bool {
    let cells = Arc::make_mut(slots.entry(slot).or_default());
    if let Some(known) = cells.get_mut(&cell as &dyn Wanted) {
        known.add(sums);
        return false;
    }
    cells.insert(cell.to_key(), *sums);
    true
}
