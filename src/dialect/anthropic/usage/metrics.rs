//! Bedrock's own counts, in the last chunk of a stream (contract.md §4.5). They have no split of the cache writes, so the usage
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

impl UsageTally {
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
            && usage.cache_write_5m + usage.cache_write_1h == told.cache_write_input_token_count;
        if same { Compared::Same } else { Compared::Different }
    }
}
