//! `GET /v1/organizations/spend_limits/effective`: which limit binds each user, and what she has spent.
//!
//! Sources: platform.claude.com/docs/en/manage-claude/spend-limits-api (the row); code.claude.com/docs/en/claude-apps-gateway-spend-limits
//! (`sort`, `q`, who is listed). In weir every budget that covers a request holds, so of those that cover a user in a period the
//! one with the least room is shown, hard ones first; `source` says whose it is. A limit of a user is hers alone; one of a team, a
//! project, a key or the organization is a pool, and `pool_to_date_spend` (weir's own) is what all have spent of it.
//! `period_to_date_spend` is always the user's own. Listed are users with a limit of their own, and those who have spent something.

use super::{
    super::{AdminState, answer::now},
    cursor::Cursor,
    error::ApiError,
    money::{cents, spend_cents},
    params::Params,
    spend_limits::{LIMIT_MAX, ScopeView, current, id_of, room},
};
use crate::kernel::{
    account::{Account, Mode, Scope},
    keys::Principal,
    money::Nanos,
    window::Period,
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const LIMIT: usize = 20;
const PERIODS: [(&str, Period); 4] =
    [("daily", Period::Daily), ("weekly", Period::Weekly), ("monthly", Period::Monthly), ("total", Period::Total)];

#[derive(Serialize)]
struct Actor {
    r#type: &'static str,
    user_id: String,
    name: Option<String>,
    email_address: Option<String>,
    deleted: bool,
}

/// One user in one period.
#[derive(Serialize)]
pub(super) struct Row {
    scope: ScopeView,
    actor: Actor,
    amount: Option<String>,
    currency: &'static str,
    period: &'static str,
    source: Option<ScopeView>,
    spend_limit_id: Option<String>,
    period_to_date_spend: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pool_to_date_spend: Option<String>,
    /// The user's teams: an addition of the apps gateway's, where they are groups.
    groups: Vec<String>,
    #[serde(skip)]
    spent: Nanos,
}

#[derive(Serialize)]
pub(super) struct Page {
    data: Vec<Row>,
    next_page: Option<String>,
}

/// What is asked, page and size aside.
#[derive(Debug)]
struct Question {
    users: Vec<String>,
    periods: Vec<Period>,
    by_spend: bool,
    containing: Option<String>,
}

impl Question {
    fn read(params: &mut Params) -> Result<Self, ApiError> {
        let question = Self {
            users: params.list("user_ids"),
            periods: params.choices("period", &PERIODS)?,
            by_spend: !params.choices("sort", &[("spend_desc", ())])?.is_empty(),
            containing: params.one("q")?.map(|text| text.to_lowercase()),
        };
        if question.by_spend && question.periods.len() != 1 {
            return Err(ApiError::invalid("sort: spend_desc needs exactly one period[]"));
        }
        Ok(question)
    }

    fn wants(&self, user: &str) -> bool {
        (self.users.is_empty() || self.users.iter().any(|wanted| wanted == user))
            && self.containing.as_ref().is_none_or(|text| user.to_lowercase().contains(text))
    }
}

/// Each user with everything she calls as.
fn users(state: &AdminState, accounts: &[(Arc<Account>, Mode)]) -> BTreeMap<String, Vec<Principal>> {
    let mut users: BTreeMap<String, Vec<Principal>> = BTreeMap::new();
    for (account, _) in accounts {
        if let Scope::User(user) = &account.scope {
            users.entry(user.clone()).or_default();
        }
    }
    for principal in state.ledger.read().spenders() {
        if !principal.user.is_empty() {
            users.entry(principal.user.clone()).or_default().push(principal.as_ref().clone());
        }
    }
    users
}

fn row(
    state: &AdminState,
    user: &str,
    known_as: &[Principal],
    period: Period,
    accounts: &[(Arc<Account>, Mode)],
) -> Row {
    let own = Scope::User(user.to_owned());
    // A session's limit is of that session, not of the user in all she does.
    let covers = |account: &Account| {
        account.period == period
            && !matches!(account.scope, Scope::Session(_))
            && (account.scope == own || known_as.iter().any(|principal| account.scope.covers(principal)))
    };
    let binding = accounts
        .iter()
        .filter(|(account, _)| covers(account))
        .min_by_key(|(account, mode)| (*mode != Mode::Hard, room(account), account.id));
    let spent = state.ledger.read().spent(&own, period.window(now().seconds()));
    let teams: BTreeSet<&String> = known_as.iter().map(|of| &of.team).filter(|team| !team.is_empty()).collect();
    let pooled = binding.filter(|(account, _)| account.scope != own);
    Row {
        scope: ScopeView::of(&own),
        actor: Actor {
            r#type: "user_actor",
            user_id: user.to_owned(),
            name: None,
            email_address: user.contains('@').then(|| user.to_owned()),
            deleted: false,
        },
        amount: binding.map(|(account, _)| cents(account.amount())),
        currency: "USD",
        period: period.as_str(),
        source: binding.map(|(account, _)| ScopeView::of(&account.scope)),
        spend_limit_id: binding.map(|(account, _)| id_of(&account.scope.to_string(), period.as_str())),
        period_to_date_spend: spend_cents(spent),
        pool_to_date_spend: pooled.map(|(account, _)| spend_cents(account.spent_about())),
        groups: teams.into_iter().cloned().collect(),
        spent,
    }
}

/// All rows that are asked for. Without a wish, each user has a row for every period in which something limits anybody, and for the
/// month if nothing does.
fn rows(state: &AdminState, question: &Question) -> Vec<Row> {
    let accounts = current(state);
    let limited = |period: &Period| accounts.iter().any(|(account, _)| account.period == *period);
    let mut periods: Vec<Period> = match question.periods.is_empty() {
        true => PERIODS.iter().map(|(_, period)| *period).filter(limited).collect(),
        false => question.periods.clone(),
    };
    if periods.is_empty() {
        periods.push(Period::Monthly);
    }
    let mut rows = Vec::new();
    for (user, known_as) in users(state, &accounts).into_iter().filter(|(user, _)| question.wants(user)) {
        rows.extend(periods.iter().map(|period| row(state, &user, &known_as, *period, &accounts)));
    }
    if question.by_spend {
        // Stable, so that equal ones stay in the order of their names.
        rows.sort_by_key(|row| Reverse(row.spent));
    }
    rows
}

pub(super) async fn effective(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Page>, ApiError> {
    let mut params = Params::new(pairs);
    let (limit, page) = (params.limit(LIMIT, LIMIT_MAX)?, params.one("page")?);
    let question = Question::read(&mut params)?;
    params.finish()?;
    let cursor = Cursor::of(&question);
    let mut rows = rows(&state, &question);
    // By name, a page begins behind the last row of the one before, whoever has come in between; by spend, at a number.
    let place = |row: &Row| format!("{}\n{}", row.actor.user_id, row.period);
    let begin = match page.map(|token| cursor.place(&token)).transpose()? {
        None => 0,
        Some(number) if question.by_spend => number.parse().unwrap_or(usize::MAX),
        Some(last) => match rows.iter().position(|row| place(row) == last) {
            Some(at) => at + 1,
            None => rows.iter().position(|row| row.actor.user_id.as_str() > user_of(&last)).unwrap_or(rows.len()),
        },
    };
    let end = begin.saturating_add(limit).min(rows.len());
    let more = end < rows.len();
    let data: Vec<Row> = rows.drain(begin.min(end)..end).collect();
    let next = match data.last() {
        Some(_) if more && question.by_spend => Some(end.to_string()),
        Some(last) if more => Some(place(last)),
        _ => None,
    };
    Ok(Json(Page { data, next_page: next.map(|place| cursor.token(&place)) }))
}

fn user_of(place: &str) -> &str {
    place.split_once('\n').map_or(place, |(user, _)| user)
}
