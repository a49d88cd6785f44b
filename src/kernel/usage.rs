//! What a request used, as the provider counts it (contract.md §4.2). The three prompt counts never overlap:
//! prompt = input + cache writes + cache read.

use serde::{Deserialize, Serialize};

/// Token counts and the modifiers that change their price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Uncached input tokens.
    pub input: u64,
    /// Output tokens, thinking included.
    pub output: u64,
    /// Tokens read from the prompt cache.
    pub cache_read: u64,
    /// Tokens written to the five-minute cache.
    pub cache_write_5m: u64,
    /// Tokens written to the one-hour cache.
    pub cache_write_1h: u64,
    /// Web searches the provider ran.
    pub web_search: u64,
    /// Ran at the fast rate (`usage.speed`).
    #[serde(skip)]
    pub fast: bool,
    /// Ran in the batch tier (`usage.service_tier`).
    #[serde(skip)]
    pub batch: bool,
    /// Ran with US data residency (`usage.inference_geo`).
    #[serde(skip)]
    pub geo_us: bool,
}

impl Usage {
    /// All prompt tokens, cached or not; it selects the tier of tiered models.
    pub fn prompt(&self) -> u64 {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Its modifiers alone, without a token.
    #[must_use]
    pub fn flags(&self) -> Self {
        Self { fast: self.fast, batch: self.batch, geo_us: self.geo_us, ..Self::default() }
    }

    /// Both together, under this one's modifiers.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write_5m: self.cache_write_5m.saturating_add(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            web_search: self.web_search.saturating_add(other.web_search),
            ..*self
        }
    }
}

/// Where a usage figure comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UsageSource {
    /// The provider said so, to the end.
    Reported,
    /// Worked out by weir, because the provider's last word did not arrive.
    Estimated,
    /// Nothing was used.
    #[default]
    None,
}

impl UsageSource {
    /// The name in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}
