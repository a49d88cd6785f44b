//! Budgets, as they stand on all shards together.

use super::{
    AdminState,
    answer::{Refusal, now},
};
use crate::kernel::{
    account::{Account, Mode},
    time::UnixMs,
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;

/// What denied last.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct DenialView {
    /// When, RFC 3339.
    pub at: String,
    /// What the request could have cost at most, US dollars.
    pub needed: String,
    /// What was spent at that moment, US dollars.
    pub spent: String,
}

/// One account of the current window.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct BudgetView {
    /// Whom it limits, as in the configuration: `team:platform`.
    pub scope: String,
    /// How often it starts anew.
    pub period: &'static str,
    /// What happens at the cap.
    pub mode: &'static str,
    /// The cap, US dollars, raises included.
    pub amount: String,
    /// By how much this window's cap was raised once, US dollars.
    pub raised: String,
    /// What has been spent, US dollars.
    pub spent: String,
    /// What is held back for running requests, US dollars.
    pub reserved: String,
    /// What is left after both, US dollars; below zero after an overrun.
    pub remaining: String,
    /// When it starts anew, RFC 3339; null if it never does.
    pub resets_at: Option<String>,
    /// What denied last; null if nothing was.
    pub last_denied: Option<DenialView>,
}

#[derive(Serialize)]
pub(super) struct Budgets {
    data: Vec<BudgetView>,
}

impl BudgetView {
    /// Reads an account.
    pub fn of(account: &Account, mode: Mode) -> Self {
        let (amount, spent, reserved) = (account.amount(), account.spent_about(), account.reserved());
        let last_denied = account.last_denial().map(|denial| DenialView {
            at: UnixMs(denial.at_ms.max(0) as u64).rfc3339(),
            needed: denial.needed.to_string(),
            spent: denial.spent.to_string(),
        });
        Self {
            scope: account.scope.to_string(),
            period: account.period.as_str(),
            mode: mode.as_str(),
            amount: amount.to_string(),
            raised: account.raised().to_string(),
            spent: spent.to_string(),
            reserved: reserved.to_string(),
            remaining: (amount - spent - reserved).to_string(),
            resets_at: account.window.resets_at().map(|second| UnixMs(second.max(0) as u64 * 1000).rfc3339()),
            last_denied,
        }
    }
}

/// All accounts whose window is now: those made ahead for the next window are nobody's business yet.
pub(super) async fn budgets(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Budgets>, Refusal> {
    if let Some((key, _)) = pairs.first() {
        return Err(Refusal::bad_query(format!("unknown query key `{key}`; this path takes none")));
    }
    let now = now().seconds();
    let accounts = (state.accounts)();
    let current = accounts.iter().filter(|(account, _)| account.window.contains(now));
    Ok(Json(Budgets { data: current.map(|(account, mode)| BudgetView::of(account, *mode)).collect() }))
}
