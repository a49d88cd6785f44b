//! Errors as Anthropic's APIs give them, the id that every answer carries, and who is let in.
//! Source: platform.claude.com/docs/en/api/errors, contract.md §2.5.

use super::super::{AdminState, auth::AdminToken};
use crate::kernel::ids::{RequestId, ShardId};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::json;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What is wrong with a question.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

/// The middleware puts the id in, so it is carried to there.
#[derive(Clone)]
struct Told {
    kind: &'static str,
    message: String,
}

impl ApiError {
    /// The question cannot be answered as it stands.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: "invalid_request_error", message: message.into() }
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, kind: "not_found_error", message: message.into() }
    }

    fn unauthenticated(message: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, kind: "authentication_error", message: message.into() }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Told { kind: self.kind, message: self.message });
        response
    }
}

pub(super) async fn not_found(uri: Uri) -> ApiError {
    ApiError::not_found(format!(
        "there is no {} here; below /v1/organizations there are usage_report/messages, cost_report, spend_limits, \
         spend_limits/{{id}}, spend_limits/effective and spend_limits/audit",
        uri.path()
    ))
}

pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError {
        status: StatusCode::METHOD_NOT_ALLOWED,
        kind: "invalid_request_error",
        message: format!(
            "{} does not take {method}; use GET. Limits are set as [[budget]] in the configuration, and raised once by POST \
             /admin/v1/budgets/raise",
            uri.path()
        ),
    }
}

/// Lets the admin token in, and gives every answer its `request-id`; errors carry it in their body as well.
pub(super) async fn require_token(State(state): State<AdminState>, request: Request, next: Next) -> Response {
    let mut response = match admitted(&state.token, &request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let id = request_id();
    if let Some(Told { kind, message }) = response.extensions_mut().remove::<Told>() {
        let body = json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": id});
        response = (response.status(), Json(body)).into_response();
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn admitted(token: &AdminToken, request: &Request) -> Result<(), ApiError> {
    match token.shown_in(request.headers(), true) {
        Some(true) => Ok(()),
        _ if token.is_unset() => {
            Err(ApiError::unauthenticated("the admin API is closed: set admin.token in the configuration file"))
        }
        Some(false) => Err(ApiError::unauthenticated("this is not the admin token")),
        None => Err(ApiError::unauthenticated("show the admin token: x-api-key: <admin.token>, or as bearer")),
    }
}

/// Of these requests no record is kept, so the id only has to be new.
fn request_id() -> String {
    let mut random = [0; 8];
    // Without randomness from the system the time alone must do.
    let _ = aws_lc_rs::rand::fill(&mut random);
    RequestId::new(super::super::answer::now().0, ShardId(u16::MAX), u64::from_le_bytes(random)).to_string()
}
