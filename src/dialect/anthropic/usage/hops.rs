//! `usage.iterations`: what ran beside the message, and which models an answer went through (contract.md §4.2).

use super::wire::{WireCacheCreation, WireIteration, writes};
use crate::kernel::{limits::ITERATIONS_MAX, usage::Usage};

/// What an iteration was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HopKind {
    /// A part of the message, or an attempt that declined.
    Message,
    /// The attempt of a fallback model that made the message.
    Fallback,
    /// A summary of the conversation so far.
    Compaction,
    /// Another model's advice.
    Advisor,
}

/// One iteration. Its modifiers are those of the whole answer; only its speed may be its own.
#[derive(Clone, Debug)]
pub(super) struct Hop {
    pub kind: HopKind,
    pub model: Option<Box<str>>,
    pub usage: Usage,
    pub fast: Option<bool>,
}

/// The iterations that the counts at the top do not tell already, at most `ITERATIONS_MAX`. False: some of them cannot be
/// billed, or there are too many, so that the answer's usage is no more than an estimate.
pub(super) fn hops(iterations: &[WireIteration]) -> (Box<[Hop]>, bool) {
    let mut sound = iterations.len() <= ITERATIONS_MAX;
    let mut hops = Vec::new();
    if iterations.iter().all(|iteration| iteration.kind.as_deref() == Some("message")) {
        // Nothing but the message: the counts at the top are the sum.
        return (hops.into(), sound);
    }
    for iteration in iterations.iter().take(ITERATIONS_MAX) {
        match hop(iteration) {
            Some(hop) => hops.push(hop),
            None => sound = false,
        }
    }
    (hops.into(), sound)
}

fn hop(iteration: &WireIteration) -> Option<Hop> {
    let kind = match iteration.kind.as_deref()? {
        "message" => HopKind::Message,
        "fallback_message" => HopKind::Fallback,
        "compaction" => HopKind::Compaction,
        "advisor_message" => HopKind::Advisor,
        _ => return None,
    };
    if iteration.model.is_none() && matches!(kind, HopKind::Advisor | HopKind::Fallback) {
        return None;
    }
    let split = iteration.cache_creation.as_ref().map(WireCacheCreation::split);
    let (cache_write_5m, cache_write_1h) = writes(iteration.cache_creation_input_tokens, split);
    let usage = Usage {
        input: iteration.input_tokens.unwrap_or(0),
        output: iteration.output_tokens.unwrap_or(0),
        cache_read: iteration.cache_read_input_tokens.unwrap_or(0),
        cache_write_5m,
        cache_write_1h,
        ..Usage::default()
    };
    Some(Hop {
        kind,
        model: iteration.model.as_deref().map(Into::into),
        usage,
        fast: iteration.speed.as_ref().map(|speed| speed == "fast"),
    })
}
