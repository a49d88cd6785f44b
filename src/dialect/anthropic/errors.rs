//! How a fault is said in format A (contract.md §2.4, §2.5). The one place where a fault becomes an Anthropic answer.

use super::super::answer::Answer;
use crate::kernel::{
    fault::{Fault, FaultKind, SpentBudget},
    ids::RequestId,
    window::minute_utc,
};
use serde_json::json;

/// Seconds a client is asked to wait when a nearly spent budget has its last room taken.
const BUSY_RETRY_SECONDS: u32 = 2;
/// Seconds a client is asked to wait at a rate limit, at most: with more it gives up (contract.md §2.2).
const RETRY_SECONDS_MAX: u32 = 60;
/// Seconds a client is asked to wait while the keys of its token's issuer are being fetched.
const KEYS_RETRY_SECONDS: u32 = 1;
/// Seconds a client is asked to wait when we are full.
const OVERLOADED_RETRY_SECONDS: u32 = 3;

/// Status and `error.type` of a fault.
pub fn status_and_type(kind: &FaultKind) -> (u16, &'static str) {
    match kind {
        FaultKind::BadHead(status) => (*status, "invalid_request_error"),
        FaultKind::BadBody => (400, "invalid_request_error"),
        FaultKind::Unauthenticated | FaultKind::TokenKeyUnknown | FaultKind::KeyRevoked => {
            (401, "authentication_error")
        }
        FaultKind::Denied => (403, "permission_error"),
        FaultKind::NotFound => (404, "not_found_error"),
        FaultKind::MethodNotAllowed(_) => (405, "invalid_request_error"),
        FaultKind::BodyTooLarge => (413, "request_too_large"),
        FaultKind::ClientTimeout => (408, "invalid_request_error"),
        FaultKind::ClientGone => (499, "invalid_request_error"),
        FaultKind::BudgetSpent(_) => (429, "billing_error"),
        FaultKind::BudgetBusy | FaultKind::RateLimited { .. } => (429, "rate_limit_error"),
        FaultKind::Overloaded => (529, "overloaded_error"),
        FaultKind::UpstreamUnreachable | FaultKind::UpstreamBroken | FaultKind::UpstreamCredential => {
            (502, "api_error")
        }
        FaultKind::UpstreamTimeout => (504, "timeout_error"),
        FaultKind::Internal => (500, "api_error"),
    }
}

/// The answer to a fault.
pub fn answer(fault: &Fault, id: RequestId, now_seconds: i64) -> Answer {
    let (status, kind) = status_and_type(&fault.kind);
    let message = match &fault.kind {
        FaultKind::BudgetSpent(budget) => spent_message(budget),
        _ => fault.text.to_string(),
    };
    let answer = Answer::json(status, body(kind, &message, id)).with("request-id", id.to_string());
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
        FaultKind::Unauthenticated | FaultKind::KeyRevoked | FaultKind::Denied => {
            answer.with("x-should-retry", "false")
        }
        FaultKind::UpstreamCredential => answer.with("x-should-retry", "false"),
        _ => answer,
    }
}

/// The `error` event that ends a stream honestly (contract.md §4.1).
pub fn event(fault: &Fault, id: RequestId) -> Vec<u8> {
    let (_, kind) = status_and_type(&fault.kind);
    let mut out = b"event: error\ndata: ".to_vec();
    out.extend_from_slice(&body(kind, &fault.text, id));
    out.extend_from_slice(b"\n\n");
    out
}

fn body(kind: &str, message: &str, id: RequestId) -> Vec<u8> {
    json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id.to_string()})
        .to_string()
        .into_bytes()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{fault::Room, money::Nanos, window::Period};

    #[test]
    fn a_spent_budget_says_when_it_resets_and_asks_for_no_retry() {
        let spent = SpentBudget {
            period: Period::Daily,
            resets_at: Some(1_786_147_200),
            pooled: true,
            message: "ask in #llm-budget".into(),
            amount: Nanos(1),
        };
        let fault = Fault::new(Room::Gate, FaultKind::BudgetSpent(Box::new(spent)), "");
        let answer = answer(&fault, RequestId(7), 1_786_147_100);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 429);
        assert_eq!(body["error"]["type"], "billing_error");
        assert_eq!(
            body["error"]["message"],
            "spend limit reached (daily; resets 2026-08-08 00:00 UTC) ask in #llm-budget"
        );
        for (name, value) in
            [("retry-after", "100"), ("x-should-retry", "false"), ("anthropic-ratelimit-unified-reset", "1786147200")]
        {
            assert!(answer.headers.contains(&(name, value.to_owned())), "{name}");
        }
        assert!(!answer.headers.iter().any(|(name, _)| name.ends_with("representative-claim")));
    }
}
