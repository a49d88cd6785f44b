//! Errors of the admin API, and the clock it reads.

use crate::kernel::time::UnixMs;
use axum::{
    Json,
    http::{Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use std::time::{SystemTime, UNIX_EPOCH};

/// An error answer: `{"error":{"type","message"}}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
    details: Vec<String>,
}

impl Refusal {
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), details: Vec::new() }
    }

    /// The question itself is wrong.
    pub fn bad_query(message: String) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    /// Several things are wrong; each is listed in `errors`.
    pub fn with_details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut error = json!({ "type": self.kind, "message": self.message });
        if !self.details.is_empty() {
            error["errors"] = self.details.into();
        }
        let answer = (self.status, Json(json!({ "error": error })));
        if self.status == StatusCode::UNAUTHORIZED {
            return ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response();
        }
        answer.into_response()
    }
}

pub(super) async fn not_found(uri: Uri) -> Refusal {
    let message = format!(
        "there is no {} here; paths are /healthz, /readyz, /metrics and /admin/v1/ usage, budgets, budgets/raise, limits, keys, \
         requests, changes, shards, reload, drain; \
         and /v1/organizations/ usage_report/messages, cost_report, spend_limits",
        uri.path()
    );
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Refusal {
    let of_one_key = uri.path().rsplit_once("/keys/").is_some_and(|(_, rest)| !rest.contains('/'));
    let other = match method {
        _ if of_one_key => "DELETE",
        Method::GET => "POST",
        _ => "GET",
    };
    let message = format!("{} does not take {method}; use {other}", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Wall-clock time.
pub(super) fn now() -> UnixMs {
    UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
