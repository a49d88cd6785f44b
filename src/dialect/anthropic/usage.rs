//! What an answer of format A says it used (contract.md §4.2): the last value that is not null wins for each cumulative
//! field; the cache split and the modifiers come from the start.

use crate::kernel::usage::Usage;
use serde::Deserialize;

/// No answer uses more than this; a provider that says so is mistaken, and must not overflow the books. Tokens.
const TOKENS_MAX: u64 = 1 << 40;

/// `usage` as it stands on the wire; every field may be absent or null.
#[derive(Debug, Default, Deserialize)]
pub struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<WireCacheCreation>,
    server_tool_use: Option<WireServerTools>,
    service_tier: Option<String>,
    inference_geo: Option<String>,
    speed: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct WireCacheCreation {
    ephemeral_5m_input_tokens: Option<u64>,
    ephemeral_1h_input_tokens: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct WireServerTools {
    web_search_requests: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
struct WireStart {
    message: Option<WireMessage>,
}

#[derive(Debug, Default, Deserialize)]
struct WireMessage {
    model: Option<String>,
    usage: Option<WireUsage>,
}

#[derive(Debug, Default, Deserialize)]
struct WireDelta {
    usage: Option<WireUsage>,
}

/// Collects usage over the frames of an answer.
#[derive(Clone, Debug, Default)]
pub struct UsageTally {
    seen: Usage,
    cache_writes: Option<u64>,
    split: Option<(u64, u64)>,
    started: bool,
    finished: bool,
    model: Option<String>,
}

impl UsageTally {
    /// Takes a whole `usage` object, as raw JSON, from an answer that is not streamed. False if it is not readable.
    pub fn whole(&mut self, raw: &mut [u8]) -> bool {
        let Ok(usage) = simd_json::serde::from_slice::<WireUsage>(raw) else { return false };
        self.merge(&usage);
        self.started = true;
        self.finished = true;
        true
    }

    /// Takes the data of a `message_start` event.
    pub fn start(&mut self, data: &mut [u8]) -> bool {
        let Ok(start) = simd_json::serde::from_slice::<WireStart>(data) else { return false };
        let Some(message) = start.message else { return false };
        self.model = message.model;
        if let Some(usage) = message.usage {
            self.merge(&usage);
            self.started = true;
        }
        true
    }

    /// Takes the data of a `message_delta` event.
    pub fn delta(&mut self, data: &mut [u8]) -> bool {
        let Ok(delta) = simd_json::serde::from_slice::<WireDelta>(data) else { return false };
        if let Some(usage) = delta.usage {
            self.merge(&usage);
            self.finished = true;
        }
        true
    }

    fn merge(&mut self, usage: &WireUsage) {
        let take = |place: &mut u64, value: Option<u64>| *place = value.map_or(*place, |tokens| tokens.min(TOKENS_MAX));
        take(&mut self.seen.input, usage.input_tokens);
        take(&mut self.seen.output, usage.output_tokens);
        take(&mut self.seen.cache_read, usage.cache_read_input_tokens);
        let writes = usage.cache_creation_input_tokens.map(|tokens| tokens.min(TOKENS_MAX));
        self.cache_writes = writes.or(self.cache_writes);
        if let Some(split) = &usage.cache_creation {
            let part = |tokens: Option<u64>| tokens.unwrap_or(0).min(TOKENS_MAX);
            self.split = Some((part(split.ephemeral_5m_input_tokens), part(split.ephemeral_1h_input_tokens)));
        }
        if let Some(tools) = &usage.server_tool_use {
            take(&mut self.seen.web_search, tools.web_search_requests);
        }
        if let Some(tier) = &usage.service_tier {
            self.seen.batch = tier == "batch";
        }
        if let Some(geo) = &usage.inference_geo {
            self.seen.geo_us = geo == "us";
        }
        if let Some(speed) = &usage.speed {
            self.seen.fast = speed == "fast";
        }
    }

    /// What was used, as far as told. Cache writes beyond the split are priced as five-minute writes.
    pub fn usage(&self) -> Usage {
        let (five_minutes, one_hour) = self.split.unwrap_or((self.cache_writes.unwrap_or(0), 0));
        let surplus = self.cache_writes.unwrap_or(0).saturating_sub(five_minutes.saturating_add(one_hour));
        Usage { cache_write_5m: five_minutes.saturating_add(surplus), cache_write_1h: one_hour, ..self.seen }
    }

    /// Takes the model's id from an answer that is not streamed.
    pub fn served_by(&mut self, model: Option<String>) {
        self.model = model;
    }

    /// The provider told the prompt's size.
    pub fn started(&self) -> bool {
        self.started
    }

    /// The provider told the final counts.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// The model that answers, once told.
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_that_is_not_null_wins_and_the_split_survives() {
        let mut tally = UsageTally::default();
        let mut start = br#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":10,"cache_creation_input_tokens":30,
            "cache_read_input_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":1}}}"#
            .to_vec();
        assert!(tally.start(&mut start) && tally.started() && !tally.finished());
        let mut delta =
            br#"{"usage":{"input_tokens":null,"cache_creation_input_tokens":33,"output_tokens":7}}"#.to_vec();
        assert!(tally.delta(&mut delta) && tally.finished());
        let usage = tally.usage();
        assert_eq!((usage.input, usage.output, usage.cache_read), (10, 7, 5));
        assert_eq!((usage.cache_write_5m, usage.cache_write_1h), (13, 20));
        assert_eq!(tally.model(), Some("m"));
    }

    #[test]
    fn absurd_counts_do_not_overflow_the_books() {
        let mut tally = UsageTally::default();
        let most = u64::MAX;
        let mut usage =
            format!(r#"{{"input_tokens":{most},"output_tokens":{most},"cache_creation_input_tokens":{most}}}"#)
                .into_bytes();
        assert!(tally.whole(&mut usage));
        let usage = tally.usage();
        assert_eq!((usage.input, usage.output, usage.cache_write_5m), (TOKENS_MAX, TOKENS_MAX, TOKENS_MAX));
    }

    #[test]
    fn odd_usage_is_given_up_not_guessed() {
        let mut tally = UsageTally::default();
        assert!(!tally.whole(&mut br#"{"input_tokens":"ten"}"#.to_vec()));
        assert!(!tally.start(&mut br#"{"type":"message_start"}"#.to_vec()));
        assert_eq!(tally.usage(), Usage::default());
    }

    #[test]
    fn a_deeply_nested_event_does_not_take_the_stack() {
        let deep = 30_000;
        let data = format!(
            r#"{{"message":{{"model":"m","odd":{}{},"usage":{{"input_tokens":1}}}}}}"#,
            "[".repeat(deep),
            "]".repeat(deep)
        );
        let mut tally = UsageTally::default();
        assert!(!tally.start(&mut data.clone().into_bytes()));
        let usage = format!(r#"{{"input_tokens":1,"odd":{}{}}}"#, "[".repeat(deep), "]".repeat(deep));
        assert!(!tally.whole(&mut usage.into_bytes()));
    }
}
