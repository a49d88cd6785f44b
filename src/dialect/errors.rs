//! How a fault is said, in the dialect of the path it came on. Bodies and status codes are the formats' own; the headers that
//! tell a client when to come back are the same in all of them (contract.md §2.4).

use super::{answer::Answer, anthropic, bedrock, vertex};
use crate::kernel::{
    fault::{Fault, FaultKind, SpentBudget},
    ids::RequestId,
    record::Format,
    window::minute_utc,
};

/// Seconds a client is asked to wait when a nearly spent budget has its last room taken.
const BUSY_RETRY_SECONDS: u32 = 2;
/// Seconds a client is asked to wait at a rate limit, at most: with more it gives up (contract.md §2.2).
const RETRY_SECONDS_MAX: u32 = 60;
/// Seconds a client is asked to wait while the keys of its token's issuer are being fetched.
const KEYS_RETRY_SECONDS: u32 = 1;
/// Seconds a client is asked to wait when we are full.
const OVERLOADED_RETRY_SECONDS: u32 = 3;

/// The answer to a fault.
pub fn answer(format: Format, fault: &Fault, id: RequestId, now_seconds: i64) -> Answer {
    match format {
        Format::Anthropic => anthropic::errors::answer(fault, id, now_seconds),
        Format::Bedrock => bedrock::errors::answer(fault, id, now_seconds),
        Format::Vertex => vertex::errors::answer(fault, id, now_seconds),
    }
}

/// What ends a stream honestly where its upstream broke off: an event, or a frame. Vertex streams are Anthropic's.
pub fn stream_end(format: Format, fault: &Fault, id: RequestId) -> Vec<u8> {
    match format {
        Format::Anthropic | Format::Vertex => anthropic::errors::event(fault, id),
        Format::Bedrock => bedrock::errors::exception(fault),
    }
}

/// What a client is told.
pub(super) fn message(fault: &Fault) -> String {
    match &fault.kind {
        FaultKind::BudgetSpent(budget) => spent_message(budget),
        _ => fault.text.to_string(),
    }
}

/// The headers that say when to come back, or not to.
pub(super) fn pacing(answer: Answer, fault: &Fault, now_seconds: i64) -> Answer {
    match &fault.kind {
        FaultKind::BudgetSpent(budget) => spent_headers(answer, budget, now_seconds),
        FaultKind::MethodNotAllowed(allowed) => answer.with("allow", *allowed),
        FaultKind::BudgetBusy => answer.with("retry-after", BUSY_RETRY_SECONDS.to_string()),
        FaultKind::RateLimited { retry_after_seconds } => {
            answer.with("retry-after", (*retry_after_seconds).clamp(1, RETRY_SECONDS_MAX).to_string())
        }
        FaultKind::Overloaded => answer.with("retry-after", OVERLOADED_RETRY_SECONDS.to_string()),
        // By then the issuer's keys have been asked for.
        FaultKind::TokenKeyUnknown => {
            answer.with("x-should-retry", "true").with("retry-after", KEYS_RETRY_SECONDS.to_string())
        }
        // A client that retries a refused credential for minutes helps nobody (contract.md §2.4).
        FaultKind::Unauthenticated | FaultKind::SignedByClient | FaultKind::KeyRevoked | FaultKind::Denied => {
            answer.with("x-should-retry", "false")
        }
        FaultKind::UpstreamCredential => answer.with("x-should-retry", "false"),
        _ => answer,
    }
}

fn spent_message(budget: &SpentBudget) -> String {
    let reset = match budget.resets_at {
        Some(at) => format!("{}; resets {}", budget.period, minute_utc(at)),
        None => budget.period.to_string(),
    };
    let text = format!("spend limit reached ({reset}) {}", budget.message);
    text.trim_end().to_owned()
}

/// What Claude Code reads to show the message as it is, once, and not to retry.
fn spent_headers(answer: Answer, budget: &SpentBudget, now_seconds: i64) -> Answer {
    let mut answer = answer
        .with("x-should-retry", "false")
        .with("anthropic-ratelimit-unified-status", "rejected")
        .with("anthropic-ratelimit-unified-overage-utilization", "1")
        .with("anthropic-ratelimit-unified-overage-surpassed-threshold", "1")
        .with("anthropic-ratelimit-unified-overage-disabled-reason", "org_spend_cap_reached");
    if budget.resets_at.is_some() {
        answer = answer.with("anthropic-ratelimit-unified-overage-period", budget.period.as_str());
    }
    if budget.pooled {
        answer = answer.with("anthropic-ratelimit-unified-overage-scope", "group_pool");
    }
    if let Some(at) = budget.resets_at {
        answer = answer
            .with("retry-after", (at - now_seconds).max(1).to_string())
            .with("anthropic-ratelimit-unified-reset", at.to_string())
            .with("anthropic-ratelimit-unified-overage-reset", at.to_string());
    }
    answer
}
