//! The admin listener (interface.md §4): liveness, metrics, usage, budgets, limits, keys, records, changes, shards,
//! upstreams, repairs, reload, drain.
//!
//! `organizations` gives the same figures in the shapes of Anthropic's Admin API, errors included.
//!
//! Every other answer but `/metrics` is JSON; every error is `{"error":{"type","message"}}` and says what to do. All of
//! `/admin/v1` wants the bearer token, unknown paths in it included. Nothing here waits for a shard: figures are read from
//! atomics, records from the ledger.
//! Deliberately absent: a second path to a key's secret; it is in the one answer that made it.

mod answer;
mod auth;
mod budgets;
mod commands;
mod credentials;
mod health;
mod keys;
mod limits;
mod organizations;
mod raise;
mod records;
mod repairs;
mod shards;
mod upstreams;

#[cfg(test)]
pub(crate) mod tests;

pub use auth::AdminToken;
pub use budgets::BudgetView;
pub use commands::{Preview, ReloadError, ReloadReceiver, ReloadReply, ReloadSender, reloads};
pub use credentials::CredentialView;
pub use limits::LimitView;
pub use raise::{Raise, RaiseAsk, RaiseError};
pub use shards::ShardView;
pub use upstreams::{UpstreamOnShard, UpstreamView};

use super::{
    cache_health::SharedCacheHealth,
    credentials::CredentialKeeper,
    export::ExportHealth,
    journal::{ChangeDesk, JournalHealth},
    keys::KeyDesk,
    ledger::SharedLedger,
};
use crate::{
    link::{down::DownDoor, gauges::ShardGauges},
    observe::{Accounts, metrics::Metrics},
};
use axum::{
    Router, middleware,
    routing::{delete, get, post},
};
use std::sync::Arc;
use tokio::sync::Notify;

/// All that the admin API looks at.
#[derive(Clone)]
pub struct AdminState {
    /// Who may ask.
    pub token: AdminToken,
    /// Who spent what.
    pub ledger: SharedLedger,
    /// What prompt caches lost.
    pub caches: SharedCacheHealth,
    /// What was counted.
    pub metrics: Arc<Metrics>,
    /// The shards' configuration and phase.
    pub door: Arc<DownDoor>,
    /// The shards' figures, by shard number.
    pub shards: Vec<Arc<ShardGauges>>,
    /// Whether the journal is written.
    pub journal: Arc<JournalHealth>,
    /// How the export fares.
    pub export: Arc<ExportHealth>,
    /// Where changes are handed in for the audit.
    pub changes: ChangeDesk,
    /// The budgets.
    pub accounts: Accounts,
    /// Raises a budget once.
    pub raise: Raise,
    /// Where keys are made and revoked.
    pub keys: Arc<dyn KeyDesk>,
    /// What mints the upstreams' credentials.
    pub credentials: Arc<CredentialKeeper>,
    /// Where a reload is asked for.
    pub reload: ReloadSender,
    /// Says what a reload would change.
    pub preview: Preview,
    /// Told once the phase is `Draining`, so that whoever waits for signals wakes up.
    pub drain: Arc<Notify>,
}

/// The admin listener's paths.
pub fn router(state: AdminState) -> Router {
    let api = Router::new()
        .route("/usage", get(records::usage))
        .route("/cache-health", get(records::cache_health))
        .route("/requests", get(records::requests))
        .route("/changes", get(records::changes))
        .route("/budgets", get(budgets::budgets))
        .route("/budgets/raise", post(raise::raise))
        .route("/limits", get(limits::limits))
        .route("/shards", get(shards::shards))
        .route("/upstreams", get(upstreams::upstreams))
        .route("/repairs", get(repairs::repairs))
        .route("/reload", post(commands::reload))
        .route("/drain", post(commands::drain))
        .route("/keys", get(keys::list).post(keys::create))
        .route("/keys/{id}", delete(keys::revoke))
        .route("/keys/{id}/rotate", post(keys::rotate))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), auth::require_token));
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .nest("/admin/v1", api)
        .nest("/v1/organizations", organizations::router(&state))
        .fallback(answer::not_found)
        .method_not_allowed_fallback(answer::method_not_allowed)
        .with_state(state)
}
