//! The bearer token of the admin API.

use super::{AdminState, answer::Refusal};
use crate::{
    control::changes::Actor,
    kernel::{keys::KeyDigest, secret::Secret},
};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::{
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::SocketAddr;

/// Who may use the admin API. Only the token's digest is kept.
#[derive(Clone)]
pub struct AdminToken(Option<KeyDigest>);

impl AdminToken {
    /// Takes `admin.token`. Without one, nobody gets in.
    pub fn new(token: Option<&Secret<String>>) -> Self {
        let token = token.map(|t| t.expose()).filter(|t| !t.is_empty());
        Self(token.map(|t| KeyDigest::of(t.as_bytes())))
    }

    /// Is the token shown as bearer, or, where that counts, as `x-api-key`? `None`: nothing is shown.
    pub(super) fn shown_in(&self, headers: &HeaderMap, as_api_key: bool) -> Option<bool> {
        let api_key = || headers.get("x-api-key").filter(|_| as_api_key).map(|value| value.as_bytes());
        bearer(headers).or_else(api_key).map(|shown| self.admits(shown))
    }

    /// Is there no token, so that nobody gets in?
    pub(super) fn is_unset(&self) -> bool {
        self.0.is_none()
    }

    /// Is this the token? Digests are compared, in constant time, so that an answer's delay tells nothing.
    fn admits(&self, shown: &[u8]) -> bool {
        let shown = KeyDigest::of(shown);
        self.0.is_some_and(|wanted| verify_slices_are_equal(&wanted.0, &shown.0).is_ok())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

pub(super) async fn require_token(State(state): State<AdminState>, mut request: Request, next: Next) -> Response {
    let why = match bearer(request.headers()) {
        Some(shown) if state.token.admits(shown) => {
            let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0);
            request.extensions_mut().insert(Actor::admin(peer));
            return next.run(request).await;
        }
        _ if state.token.0.is_none() => "the admin API is closed: set admin.token in the configuration file",
        Some(_) => "this is not the admin token",
        None => "show the admin token: Authorization: Bearer <admin.token>",
    };
    Refusal::new(StatusCode::UNAUTHORIZED, "unauthenticated", why).into_response()
}
