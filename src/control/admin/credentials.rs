//! How weir shows itself to each upstream, and whether it can.

use crate::{
    control::credentials::CredentialState,
    kernel::{snapshot::Upstream, time::UnixMs},
};
use serde::Serialize;

/// The credential of one upstream; never a secret.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CredentialView {
    /// Which provider it is.
    pub provider: &'static str,
    /// Where the credential comes from; `fixed` where it stands in the configuration and nothing is signed.
    pub credential: &'static str,
    /// It can be shown now.
    pub credential_valid: bool,
    /// When it ends, RFC 3339; null for never, or where there is none.
    pub expires_at: Option<String>,
    /// How many have been minted since the start.
    pub credentials_minted: u64,
    /// Why the last attempt to mint one failed; null after one that did not.
    pub last_error: Option<String>,
    /// The upstream's clock is ahead of ours by so many seconds, as far as its refusals have taught.
    pub clock_skew_seconds: i64,
}

impl CredentialView {
    /// The credential of an upstream.
    pub(super) fn of(upstream: &Upstream, states: &[CredentialState]) -> Self {
        let state = states.iter().find(|state| *state.upstream == *upstream.name);
        let expires_at = state.and_then(|state| state.expires_at);
        Self {
            provider: upstream.provider.as_str(),
            credential: state.map_or("fixed", |state| state.source),
            credential_valid: state.is_none_or(|state| state.valid),
            expires_at: expires_at.map(|end| UnixMs(end.max(0) as u64 * 1000).rfc3339()),
            credentials_minted: state.map_or(0, |state| state.minted),
            last_error: state.and_then(|state| state.last_error.clone()),
            clock_skew_seconds: state.map_or(0, |state| state.clock_skew_seconds),
        }
    }
}
