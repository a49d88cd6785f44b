//! Reports in the shapes of Anthropic's Admin API, so that dashboards written for it work against weir by their base URL alone.
//!
//! | Path | Answer |
//! |---|---|
//! | `GET /v1/organizations/usage_report/messages` | tokens by minute, hour or day (`usage_report`) |
//! | `GET /v1/organizations/cost_report` | money by day, in cents (`cost_report`) |
//! | `GET /v1/organizations/spend_limits`, `/{id}` | the budgets (`spend_limits`) |
//! | `GET /v1/organizations/spend_limits/effective` | which one binds each user, and what she has spent (`effective`) |
//! | `GET /v1/organizations/spend_limits/audit` | changes of budgets, newest first (`audit`) |
//!
//! What is whose: a **team** is a workspace (`workspace_id`), a **key** is an API key (`api_key_id`), a **user** is an account
//! (`account_id`, `user_id`); ids are weir's own names, without Anthropic's prefixes. There are no service accounts. What has no
//! name (a caller without a team) is null.
//!
//! The caller shows the admin token, as bearer or as `x-api-key`. Everything is read from the ledger's cells and the budgets'
//! atomics. Pages are cut at tokens that are bound to their question; another question with an old token is an error.
//!
//! Sources: platform.claude.com/docs/en/api/admin/usage_report/retrieve_messages, …/cost_report/retrieve,
//! …/manage-claude/spend-limits-api; code.claude.com/docs/en/claude-apps-gateway-spend-limits (the list, `/effective` and `/audit`
//! as a gateway serves them); contract.md §8.1.
//! Deliberately absent: setting limits here (`POST`, `DELETE`). Budgets stand in the configuration; `POST
//! /admin/v1/budgets/raise` raises one once.

mod audit;
mod buckets;
mod cost_report;
mod cursor;
mod effective;
mod error;
mod money;
mod params;
mod spend_limits;
mod usage_report;

use super::AdminState;
use axum::{Router, middleware, routing::get};

/// The paths below `/v1/organizations`.
pub(super) fn router(state: &AdminState) -> Router<AdminState> {
    Router::new()
        .route("/usage_report/messages", get(usage_report::messages))
        .route("/cost_report", get(cost_report::cost_report))
        .route("/spend_limits", get(spend_limits::list))
        .route("/spend_limits/effective", get(effective::effective))
        .route("/spend_limits/audit", get(audit::audit))
        .route("/spend_limits/{id}", get(spend_limits::one))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(middleware::from_fn_with_state(state.clone(), error::require_token))
}

#[cfg(test)]
mod tests;
