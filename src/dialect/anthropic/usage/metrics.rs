//! Bedrock's own counts, in the last chunk of a stream or the head of an answer (contract.md §4.5). They have no split of the cache writes, so the usage
//! of the events counts where there is one; without one they are better than an estimate.

use super::{
    UsageTally,
    raw::{key, member},
};
use crate::wire::json::Wanted;
use serde::Deserialize;

static METRICS: [Wanted; 1] = key("amazon-bedrock-invocationMetrics");

/// How Bedrock's counts compare with the usage of the events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compared {
    /// There are none.
    #[default]
    None,
    /// They say the same.
    Same,
    /// They say something else; the usage counts.
    Different,
    /// There was no usage: they count.
    Taken,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metrics {
    input_token_count: u64,
    output_token_count: u64,
    #[serde(default)]
    cache_read_input_token_count: u64,
    #[serde(default)]
    cache_write_input_token_count: u64,
}

/// The counts in the head of an answer that is not streamed: `x-amzn-bedrock-…-token-count`. Each may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeadCounts {
    /// `input`: without what was read from or written to the cache.
    pub input: Option<u64>,
    /// `output`.
    pub output: Option<u64>,
    /// `cache-read-input`.
    pub cache_read: Option<u64>,
    /// `cache-write-input`.
    pub cache_write: Option<u64>,
}

impl HeadCounts {
    /// Takes a header's name, in any case, and value. Anything but a count in digits counts as none.
    pub fn take(&mut self, name: &[u8], value: &[u8]) {
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        let place = match () {
            () if is(b"x-amzn-bedrock-input-token-count") => &mut self.input,
            () if is(b"x-amzn-bedrock-output-token-count") => &mut self.output,
            () if is(b"x-amzn-bedrock-cache-read-input-token-count") => &mut self.cache_read,
            () if is(b"x-amzn-bedrock-cache-write-input-token-count") => &mut self.cache_write,
            () => return,
        };
        *place = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    }
}

impl UsageTally {
    /// Compares the usage of a whole answer with the counts in its head. The usage counts, as it has the split of the cache.
    pub fn compared_with(&self, head: &HeadCounts) -> Compared {
        if *head == HeadCounts::default() || !self.finished {
            return Compared::None;
        }
        let usage = self.usage();
        let same = |told: Option<u64>, read: u64| told.is_none_or(|told| told == read);
        let all = same(head.input, usage.input)
            && same(head.output, usage.output)
            && same(head.cache_read, usage.cache_read)
            && same(head.cache_write, usage.cache_write_5m.saturating_add(usage.cache_write_1h));
        if all { Compared::Same } else { Compared::Different }
    }

    /// Takes the data of a `message_stop` event of Bedrock.
    pub fn metrics(&mut self, data: &[u8]) -> Compared {
        let Some(raw) = member(data, &METRICS) else { return Compared::None };
        let Ok(told) = serde_json::from_slice::<Metrics>(raw) else { return Compared::None };
        if !self.finished {
            let usage = serde_json::json!({
                "input_tokens": told.input_token_count, "output_tokens": told.output_token_count,
                "cache_read_input_tokens": told.cache_read_input_token_count,
                "cache_creation_input_tokens": told.cache_write_input_token_count,
            });
            self.went_on(usage.to_string().as_bytes());
            return Compared::Taken;
        }
        let usage = self.usage();
        let same = usage.input == told.input_token_count
            && usage.output == told.output_token_count
            && usage.cache_read == told.cache_read_input_token_count
            && usage.cache_write_5m.saturating_add(usage.cache_write_1h) == told.cache_write_input_token_count;
        if same { Compared::Same } else { Compared::Different }
    }
}
