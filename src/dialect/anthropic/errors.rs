//! How a fault is said in format A (contract.md §2.4, §2.5). The one place where a fault becomes an Anthropic answer.

use super::super::{
    answer::Answer,
    errors::{message, pacing},
};
use crate::kernel::{
    fault::{Fault, FaultKind},
    ids::RequestId,
};
use serde_json::json;

/// Status and `error.type` of a fault.
pub fn status_and_type(kind: &FaultKind) -> (u16, &'static str) {
    match kind {
        FaultKind::BadHead(status) => (*status, "invalid_request_error"),
        FaultKind::BadBody => (400, "invalid_request_error"),
        FaultKind::Unauthenticated | FaultKind::SignedByClient | FaultKind::TokenKeyUnknown | FaultKind::KeyRevoked => {
            (401, "authentication_error")
        }
        FaultKind::Denied => (403, "permission_error"),
        FaultKind::NotFound => (404, "not_found_error"),
        FaultKind::MethodNotAllowed(_) => (405, "invalid_request_error"),
        FaultKind::BodyTooLarge => (413, "request_too_large"),
        FaultKind::ClientTimeout => (408, "invalid_request_error"),
        FaultKind::ClientGone | FaultKind::Superseded => (499, "invalid_request_error"),
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
    let answer = Answer::json(status, body(kind, &message(fault), id)).with("request-id", id.to_string());
    pacing(answer, fault, now_seconds)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{
        fault::{Room, SpentBudget},
        money::Nanos,
        window::Period,
    };

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
