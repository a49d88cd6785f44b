//! How a fault is said in format C (contract.md §2.5): as Google's platform layer does.

use super::super::{
    answer::Answer,
    errors::{message, pacing},
};
use crate::kernel::{
    fault::{Fault, FaultKind},
    ids::RequestId,
};
use serde_json::json;

/// Status code and status name of a fault.
pub fn status_and_name(kind: &FaultKind) -> (u16, &'static str) {
    match kind {
        FaultKind::BadHead(status) => (*status, "INVALID_ARGUMENT"),
        FaultKind::BadBody => (400, "INVALID_ARGUMENT"),
        FaultKind::Unauthenticated | FaultKind::SignedByClient | FaultKind::TokenKeyUnknown | FaultKind::KeyRevoked => {
            (401, "UNAUTHENTICATED")
        }
        FaultKind::Denied => (403, "PERMISSION_DENIED"),
        FaultKind::NotFound => (404, "NOT_FOUND"),
        FaultKind::MethodNotAllowed(_) => (405, "INVALID_ARGUMENT"),
        FaultKind::BodyTooLarge => (413, "INVALID_ARGUMENT"),
        FaultKind::ClientTimeout => (408, "DEADLINE_EXCEEDED"),
        FaultKind::ClientGone | FaultKind::Superseded => (499, "CANCELLED"),
        FaultKind::BudgetSpent(_) | FaultKind::BudgetBusy | FaultKind::RateLimited { .. } => {
            (429, "RESOURCE_EXHAUSTED")
        }
        FaultKind::Overloaded | FaultKind::UpstreamUnreachable | FaultKind::UpstreamBroken => (503, "UNAVAILABLE"),
        FaultKind::UpstreamTimeout => (504, "DEADLINE_EXCEEDED"),
        FaultKind::UpstreamCredential | FaultKind::Internal => (500, "INTERNAL"),
    }
}

/// The answer to a fault.
pub fn answer(fault: &Fault, id: RequestId, now_seconds: i64) -> Answer {
    let (code, status) = status_and_name(&fault.kind);
    let body = json!({ "error": { "code": code, "message": message(fault), "status": status } });
    let answer = Answer::json(code, body.to_string().into_bytes()).with("request-id", id.to_string());
    pacing(answer, fault, now_seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fault::Room;

    #[test]
    fn a_client_of_vertex_never_reads_another_dialect() {
        let fault = Fault::new(Room::Gate, FaultKind::NotFound, "model: x is not served by this gateway");
        let answer = answer(&fault, RequestId(7), 0);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer.status, 404);
        assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&404.into(), &"NOT_FOUND".into()));
        assert_eq!(body["error"]["message"], "model: x is not served by this gateway");
    }
}
