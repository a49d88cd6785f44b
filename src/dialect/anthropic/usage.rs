//! What an answer of format A says it used (contract.md §4.2): the last value that is not null wins for each cumulative
//! field; the cache split and the modifiers come from the start. `hops` reads `iterations[]`, `bill` prices all of it, `raw`
//! keeps it as it came.

mod bill;
mod hops;
mod metrics;
mod quick;
mod raw;
#[cfg(test)]
mod tests;
mod wire;

pub use bill::Billed;
pub use metrics::{Compared, HeadCounts};

use crate::{
    kernel::usage::Usage,
    wire::json::{Wanted, unescape_string},
};
use hops::{Hop, HopKind};
use raw::{Raw, key, keys, member, members};
use wire::{WireCacheCreation, WireCredit, WireUsage, Word, writes};

static MESSAGE: [Wanted; 1] = key("message");
static MODEL: [Wanted; 1] = key("model");
static USAGE: [Wanted; 1] = key("usage");
static MODEL_AND_USAGE: [Wanted; 2] = keys(["model", "usage"]);
static BLOCK: [Wanted; 1] = key("content_block");
static TYPE: [Wanted; 1] = key("type");
static TO: [Wanted; 1] = key("to");

/// Collects usage over the frames of an answer.
#[derive(Clone, Debug, Default)]
pub struct UsageTally {
    seen: Usage,
    cache_writes: Option<u64>,
    split: Option<(u64, u64)>,
    started: bool,
    finished: bool,
    model: Option<String>,
    /// The model that a `fallback` block handed over to.
    fallback_to: Option<String>,
    hops: Box<[Hop]>,
    credit_redeemed: bool,
    raw: Raw,
}

impl UsageTally {
    /// Takes a whole `usage` object, as raw JSON, from an answer that is not streamed. False if it is not readable, here and
    /// below: what could be read counts, but it is not the provider's last word.
    pub fn whole(&mut self, raw: &[u8]) -> bool {
        Raw::keep(&mut self.raw.first, raw);
        let read = self.read(raw);
        self.started |= read;
        self.finished = read;
        read
    }

    /// Takes the data of a `message_start` event.
    pub fn start(&mut self, data: &[u8]) -> bool {
        let Some(message) = member(data, &MESSAGE) else { return false };
        let [model, usage] = members(message, &MODEL_AND_USAGE);
        self.model = model.and_then(unescape_string).map(Into::into);
        usage.is_none_or(|usage| self.started_with(usage))
    }

    /// Takes the data of a `message_delta` event.
    pub fn delta(&mut self, data: &[u8]) -> bool {
        if data.trim_ascii_start().first() != Some(&b'{') {
            return false;
        }
        member(data, &USAGE).is_none_or(|usage| self.went_on(usage))
    }

    /// Takes the data of a `content_block_start` event. A `fallback` block says which model answers from here.
    pub fn block(&mut self, data: &[u8]) -> bool {
        let Some(block) = member(data, &BLOCK) else { return false };
        if text_of(block, &TYPE).as_deref() != Some("fallback") {
            return true;
        }
        let Some(model) = member(block, &TO).and_then(|to| text_of(to, &MODEL)) else { return false };
        self.fallback_to = Some(model);
        true
    }

    fn started_with(&mut self, usage: &[u8]) -> bool {
        self.raw.streamed = true;
        Raw::keep(&mut self.raw.first, usage);
        let read = self.read(usage);
        self.started |= read;
        read
    }

    fn went_on(&mut self, usage: &[u8]) -> bool {
        self.raw.streamed = true;
        Raw::keep(&mut self.raw.last, usage);
        self.finished = self.read(usage);
        self.finished
    }

    fn read(&mut self, raw: &[u8]) -> bool {
        if let Some(usage) = quick::quick(raw) {
            return self.merge(&usage);
        }
        let mut scratch = raw.to_vec();
        let usage = simd_json::serde::from_slice::<WireUsage>(&mut scratch);
        usage.is_ok_and(|usage| self.merge(&usage))
    }

    fn merge(&mut self, usage: &WireUsage) -> bool {
        let take = |place: &mut u64, value: Option<u64>| *place = value.unwrap_or(*place);
        take(&mut self.seen.input, usage.input_tokens);
        take(&mut self.seen.output, usage.output_tokens);
        take(&mut self.seen.cache_read, usage.cache_read_input_tokens);
        self.cache_writes = usage.cache_creation_input_tokens.or(self.cache_writes);
        self.split = usage.cache_creation.as_ref().map(WireCacheCreation::split).or(self.split);
        if let Some(tools) = &usage.server_tool_use {
            take(&mut self.seen.web_search, tools.web_search_requests);
        }
        if let Some(tier) = &usage.service_tier {
            self.seen.batch = *tier == Word::Batch;
        }
        if let Some(geo) = &usage.inference_geo {
            self.seen.geo_us = *geo == Word::Us;
        }
        if let Some(speed) = &usage.speed {
            self.seen.fast = *speed == Word::Fast;
        }
        if let Some(credit) = &usage.fallback_credit {
            self.credit_redeemed = WireCredit::redeemed(credit);
        }
        let Some(iterations) = &usage.iterations else { return true };
        let (hops, sound) = hops::hops(iterations);
        self.hops = hops;
        sound
    }

    /// What the message used, as far as told. Cache writes beyond the split are priced as five-minute writes.
    pub fn usage(&self) -> Usage {
        let (cache_write_5m, cache_write_1h) = writes(self.cache_writes, self.split);
        Usage { cache_write_5m, cache_write_1h, ..self.seen }
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

    /// The model that answers, once told: the one that took over, or the one that began.
    pub fn model(&self) -> Option<&str> {
        let serving = self.hops.iter().rev().find(|hop| hop.kind == HopKind::Fallback);
        serving.and_then(|hop| hop.model.as_deref()).or(self.fallback_to.as_deref()).or(self.model.as_deref())
    }
}

fn text_of(object: &[u8], wanted: &'static [Wanted; 1]) -> Option<String> {
    unescape_string(member(object, wanted)?).map(Into::into)
}
