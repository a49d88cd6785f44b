//! `GET /v1/organizations/spend_limits/audit`: what was changed on the limits, newest first.
//!
//! Source: code.claude.com/docs/en/claude-apps-gateway-spend-limits: a trail with before and after, paged by `after_id`, the numeric
//! id of the last event; `limit` is 100 unless said; `has_more` is exact. The events themselves have no first-party shape. They are
//! what the audit's chain knows of budgets (`control::changes`): raises, and what reloads of the configuration added, changed and
//! removed. Those of the newest changes in memory are here; all are in `weir audit query`.

use super::{
    super::AdminState,
    error::ApiError,
    money::cents,
    params::Params,
    spend_limits::{LIMIT_MAX, id_of},
};
use crate::{
    control::changes::{Change, kinds},
    kernel::money::Nanos,
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;
use serde_json::Value;

const LIMIT: usize = 100;
/// Ids are times with room for so many events in a millisecond; they fit a JavaScript number.
const IDS_PER_MS: u64 = 1024;

/// How a limit stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Standing {
    amount: String,
    currency: &'static str,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Event {
    r#type: &'static str,
    id: u64,
    created_at: String,
    actor: String,
    action: &'static str,
    spend_limit_id: String,
    scope: String,
    period: String,
    before: Option<Standing>,
    after: Option<Standing>,
}

#[derive(Serialize)]
pub(super) struct Trail {
    data: Vec<Event>,
    has_more: bool,
}

/// What happened to one limit: `team:platform monthly`, what, and the amounts before and after in dollars, where they are known.
type Happened = (String, &'static str, Option<String>, Option<String>);

fn happened(change: &Change) -> Vec<Happened> {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let dollars = |value: &Value| value.as_str().map(str::to_owned);
    let (before, after) = (json(&change.before), json(&change.after));
    if change.kind == kinds::BUDGET_RAISE {
        let amounts = (dollars(&before["amount_usd"]), dollars(&after["amount_usd"]));
        return vec![(change.subject.clone(), "raise", amounts.0, amounts.1)];
    }
    let budgets = &after["changed"]["budget"];
    let named = |list: &'static str, action: &'static str| {
        let names = budgets[list].as_array().into_iter().flatten().filter_map(Value::as_str);
        names.map(move |name| (name.to_owned(), action, None, None)).collect::<Vec<Happened>>()
    };
    let mut all = named("added", "create");
    for (name, fields) in budgets["changed"].as_object().into_iter().flatten() {
        let amount = &fields["amount"];
        all.push((name.clone(), "update", dollars(&amount[0]), dollars(&amount[1])));
    }
    all.extend(named("removed", "delete"));
    all
}

fn standing(dollars: Option<String>) -> Option<Standing> {
    let amount = Nanos::parse_dollars(&dollars?).ok()?;
    Some(Standing { amount: cents(amount), currency: "USD" })
}

/// All changes that are known, oldest first. One that did not happen after all is none.
fn events<'a>(changes: impl Iterator<Item = &'a Change>) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    for change in changes.filter(|change| change.failed.is_none()) {
        if change.kind != kinds::BUDGET_RAISE && change.kind != kinds::RELOAD {
            continue;
        }
        for (name, action, before, after) in happened(change) {
            let newest = events.last().map_or(0, |event| event.id);
            let (scope, period) = name.rsplit_once(' ').unwrap_or((&name, ""));
            events.push(Event {
                r#type: "spend_limit_audit_event",
                id: (change.at.0 * IDS_PER_MS).max(newest + 1),
                created_at: change.at.rfc3339(),
                actor: change.who.clone(),
                action,
                spend_limit_id: id_of(scope, period),
                scope: scope.to_owned(),
                period: period.to_owned(),
                before: standing(before),
                after: standing(after),
            });
        }
    }
    events
}

pub(super) async fn audit(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Trail>, ApiError> {
    let mut params = Params::new(pairs);
    let limit = params.limit(LIMIT, LIMIT_MAX)?;
    let after = match params.one("after_id")? {
        None => None,
        Some(text) => Some(text.parse::<u64>().map_err(|_| {
            ApiError::invalid(format!("after_id: `{text}` is no event's id; give that of the last event you have"))
        })?),
    };
    params.finish()?;
    let ledger = state.ledger.read().image();
    let mut older = events(ledger.change_log().iter());
    older.retain(|event| after.is_none_or(|after| event.id < after));
    let has_more = older.len() > limit;
    let data: Vec<Event> = older.into_iter().rev().take(limit).collect();
    Ok(Json(Trail { data, has_more }))
}
