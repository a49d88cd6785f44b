//! `GET /v1/organizations/spend_limits`: the budgets as spend limits.
//!
//! Sources: platform.claude.com/docs/en/manage-claude/spend-limits-api; for the list, its paging by `after_id` and `before_id`, and
//! `scope_type`, code.claude.com/docs/en/claude-apps-gateway-spend-limits. A limit is one `[[budget]]` for one scope and period, the
//! expanded ones of `user:*` each for itself. Its id is made of both, so it stays the same over restarts. `amount` is what holds in
//! this window, raises included. A budget stands in the configuration, which does not say when it was written: `created_at` and
//! `updated_at` are the beginning of its current window, and null for one without end. `mode` and `raised` are weir's own.

use super::{
    super::{AdminState, answer::now},
    buckets,
    error::ApiError,
    money::cents,
    params::Params,
};
use crate::kernel::{
    account::{Account, Mode, Scope},
    keys::KeyDigest,
    money::Nanos,
};
use axum::{
    Json,
    extract::{Path, Query, State},
};
use serde::Serialize;
use std::sync::Arc;

const LIMIT: usize = 20;
pub(super) const LIMIT_MAX: usize = 1000;

/// Whom a limit is for. Types are an open set; `project`, `api_key` and
/// `session` are weir's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ScopeView {
    Organization,
    Workspace { workspace_id: String },
    Project { project_id: String },
    User { user_id: String },
    ApiKey { api_key_id: String },
    Session { session_id: String },
}

impl ScopeView {
    pub fn of(scope: &Scope) -> Self {
        match scope.clone() {
            Scope::Org => Self::Organization,
            Scope::Team(workspace_id) => Self::Workspace { workspace_id },
            Scope::Project(project_id) => Self::Project { project_id },
            Scope::User(user_id) => Self::User { user_id },
            Scope::Key(api_key_id) => Self::ApiKey { api_key_id },
            Scope::Session(session) => Self::Session { session_id: session.id.as_str().into() },
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Workspace { .. } => "workspace",
            Self::Project { .. } => "project",
            Self::User { .. } => "user",
            Self::ApiKey { .. } => "api_key",
            Self::Session { .. } => "session",
        }
    }
}

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct SpendLimit {
    r#type: &'static str,
    id: String,
    created_at: Option<String>,
    updated_at: Option<String>,
    scope: ScopeView,
    amount: String,
    currency: &'static str,
    period: &'static str,
    mode: &'static str,
    raised: String,
}

/// A list in the form of Anthropic's.
#[derive(Serialize)]
pub(super) struct List {
    data: Vec<SpendLimit>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// The id of the limit of a scope (`team:platform`) and a period (`monthly`).
pub(super) fn id_of(scope: &str, period: &str) -> String {
    let digest = KeyDigest::of(format!("{scope}\n{period}").as_bytes());
    digest.0[..12].iter().fold("spl_".to_owned(), |id, byte| id + &format!("{byte:02x}"))
}

/// The same for an account. A session's name is its caller's own, so the caller is in its id.
fn limit_id(account: &Account) -> String {
    let scope = match &account.scope {
        Scope::Session(session) => format!("{} {} {}", account.scope, session.key, session.user),
        scope => scope.to_string(),
    };
    id_of(&scope, account.period.as_str())
}

impl SpendLimit {
    fn of(account: &Account, mode: Mode) -> Self {
        let since = account.window.resets_at().map(|_| buckets::text(account.window.start));
        Self {
            r#type: "spend_limit",
            id: limit_id(account),
            created_at: since.clone(),
            updated_at: since,
            scope: ScopeView::of(&account.scope),
            amount: cents(account.amount()),
            currency: "USD",
            period: account.period.as_str(),
            mode: mode.as_str(),
            raised: cents(account.raised()),
        }
    }
}

/// The accounts of current windows, in the order they came.
pub(super) fn current(state: &AdminState) -> Vec<(Arc<Account>, Mode)> {
    let now = now().seconds();
    let mut accounts = (state.accounts)();
    accounts.retain(|(account, _)| account.window.contains(now));
    accounts.sort_by_key(|(account, _)| account.id);
    accounts
}

/// What is left of an account, reservations taken off.
pub(super) fn room(account: &Account) -> Nanos {
    account.amount() - account.spent_about() - account.reserved()
}

pub(super) async fn list(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<List>, ApiError> {
    let mut params = Params::new(pairs);
    let limit = params.limit(LIMIT, LIMIT_MAX)?;
    let (after, before) = (params.one("after_id")?, params.one("before_id")?);
    let kinds = ["organization", "workspace", "project", "user", "api_key", "session"].map(|kind| (kind, kind));
    let wanted = params.choices("scope_type", &kinds)?;
    params.finish()?;
    let mut limits: Vec<SpendLimit> =
        current(&state).iter().map(|(account, mode)| SpendLimit::of(account, *mode)).collect();
    limits.retain(|limit| wanted.is_empty() || wanted.contains(&limit.scope.kind()));
    let place = |name: &str, id: &str| {
        let found = limits.iter().position(|limit| limit.id == id);
        found.ok_or_else(|| ApiError::invalid(format!("{name}: there is no spend limit {id} in this list")))
    };
    let (range, has_more) = match (after, before) {
        (Some(_), Some(_)) => return Err(ApiError::invalid("after_id and before_id exclude each other; give one")),
        (None, Some(id)) => {
            let end = place("before_id", &id)?;
            (end.saturating_sub(limit)..end, end > limit)
        }
        (after, None) => {
            let begin = after.map_or(Ok(0), |id| place("after_id", &id).map(|place| place + 1))?;
            let end = begin.saturating_add(limit).min(limits.len());
            (begin..end, end < limits.len())
        }
    };
    let data: Vec<SpendLimit> = limits.get(range).unwrap_or_default().to_vec();
    let id = |limit: Option<&SpendLimit>| limit.map(|limit| limit.id.clone());
    Ok(Json(List { first_id: id(data.first()), last_id: id(data.last()), data, has_more }))
}

pub(super) async fn one(
    State(state): State<AdminState>,
    Path(id): Path<String>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<SpendLimit>, ApiError> {
    Params::new(pairs).finish()?;
    let limits = current(&state).into_iter().map(|(account, mode)| SpendLimit::of(&account, mode));
    let found = limits.into_iter().find(|limit| limit.id == id);
    found.map(Json).ok_or_else(|| {
        ApiError::not_found(format!("there is no spend limit {id}; GET /v1/organizations/spend_limits lists all"))
    })
}
