//! Budgets, as they stand on all shards together.

use super::{
    AdminState,
    answer::{Refusal, now},
};
use crate::kernel::{
    account::{Account, Mode},
    money::Nanos,
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
    /// What shards hold ahead of requests to come, US dollars; it flows back when they do not come.
    pub leased: String,
    /// What is left after what is spent and reserved, US dollars; below zero after an overrun.
    pub remaining: String,
    /// When it starts anew, RFC 3339; null if it never does.
    pub resets_at: Option<String>,
    /// What denied last; null if nothing was.
    pub last_denied: Option<DenialView>,
}

/// Accounts in one answer, at most.
const PAGE_MAX: usize = 10_000;

#[derive(Serialize)]
pub(super) struct Budgets {
    data: Vec<BudgetView>,
    /// What to write as `after` to get the next page; left out where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<usize>,
}

/// Which accounts are wanted.
struct Page {
    scope: Option<String>,
    after: usize,
    limit: usize,
}

impl Page {
    fn parse(pairs: &[(String, String)]) -> Result<Self, Refusal> {
        let mut page = Self { scope: None, after: 0, limit: PAGE_MAX };
        for (key, value) in pairs {
            let number = || {
                let wrong = || Refusal::bad_query(format!("{key}: \"{value}\" is no whole number"));
                value.parse::<usize>().map_err(|_| wrong())
            };
            match key.as_str() {
                "scope" => page.scope = Some(value.clone()),
                "after" => page.after = number()?,
                "limit" => page.limit = number()?,
                _ => {
                    let mend = "this path takes scope, limit and after";
                    return Err(Refusal::bad_query(format!("unknown query key `{key}`; {mend}")));
                }
            }
        }
        if !(1..=PAGE_MAX).contains(&page.limit) {
            return Err(Refusal::bad_query(format!("limit: is {}; write 1 to {PAGE_MAX}", page.limit)));
        }
        Ok(page)
    }

    /// `user:alice` is one scope, `user:*` all that begin so.
    fn wants(&self, account: &Account) -> bool {
        let Some(wanted) = &self.scope else { return true };
        let scope = account.scope.to_string();
        wanted.strip_suffix('*').map_or(scope == *wanted, |start| scope.starts_with(start))
    }
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
            leased: Nanos(account.held().minus(reserved).0.max(0)).to_string(),
            remaining: (amount - spent - reserved).to_string(),
            resets_at: account.window.resets_at().map(|second| UnixMs(second.max(0) as u64 * 1000).rfc3339()),
            last_denied,
        }
    }
}

/// Accounts whose window is now: those made ahead for the next window are nobody's business yet. First those of the callers
/// that the configuration knows, then of those that it does not, and of sessions.
pub(super) async fn budgets(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Budgets>, Refusal> {
    let page = Page::parse(&pairs)?;
    let now = now().seconds();
    let accounts = (state.accounts)();
    let current = accounts.iter().filter(|(account, _)| account.window.contains(now) && page.wants(account));
    let mut rest = current.skip(page.after);
    let data: Vec<_> = rest.by_ref().take(page.limit).map(|(account, mode)| BudgetView::of(account, *mode)).collect();
    let next = rest.next().map(|_| page.after + page.limit);
    Ok(Json(Budgets { data, next }))
}
