//! `POST /admin/v1/budgets/raise`: adds money to the current window of one budget.

use super::{AdminState, answer::Refusal, budgets::BudgetView};
use crate::{
    control::{changes::Actor, journal::NotRecorded},
    kernel::{
        account::{Account, Mode},
        money::Nanos,
    },
};
use axum::{Extension, Json, body::Bytes, extract::State, http::StatusCode};
use serde::Deserialize;
use std::{fmt, sync::Arc};

/// Which budget, and by how much.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaiseAsk {
    /// As `GET /admin/v1/budgets` shows it: `team:platform`, `user:alice@example.com`.
    pub scope: String,
    /// `daily`, `weekly`, `monthly` or `total`.
    pub period: String,
    /// What is added.
    pub amount: Nanos,
}

/// Why nothing was raised.
#[derive(Debug)]
pub enum RaiseError {
    /// There is no such budget now.
    NoSuchBudget,
    /// It could not be written to the store.
    Store(std::io::Error),
    /// The audit has no entry of it, so it was not made.
    NotRecorded(NotRecorded),
}

impl fmt::Display for RaiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBudget => f.write_str("there is no such budget now"),
            Self::Store(error) => write!(f, "it cannot be written to store.path: {error}"),
            Self::NotRecorded(error) => error.fmt(f),
        }
    }
}

/// Does raises; it writes to disk, so it is called where that may wait. Gives the raised account.
pub type Raise = Arc<dyn Fn(&RaiseAsk, &Actor) -> Result<(Arc<Account>, Mode), RaiseError> + Send + Sync>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    scope: String,
    period: String,
    amount: String,
}

fn asked(body: &[u8]) -> Result<RaiseAsk, Refusal> {
    let shape = "send {\"scope\":\"team:platform\",\"period\":\"monthly\",\"amount\":\"25.00\"}";
    let body: Body = serde_json::from_slice(body).map_err(|error| Refusal::bad_query(format!("{error}; {shape}")))?;
    let amount = Nanos::parse_dollars(&body.amount)
        .map_err(|error| Refusal::bad_query(format!("amount: \"{}\" {error}", body.amount)))?;
    if amount == Nanos::ZERO {
        return Err(Refusal::bad_query("amount: is zero; write what is added, such as \"25.00\"".to_owned()));
    }
    Ok(RaiseAsk { scope: body.scope, period: body.period, amount })
}

pub(super) async fn raise(
    State(state): State<AdminState>,
    Extension(by): Extension<Actor>,
    body: Bytes,
) -> Result<Json<BudgetView>, Refusal> {
    let ask = asked(&body)?;
    let (raise, shown) = (state.raise.clone(), ask.clone());
    let unavailable = |message: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
    match tokio::task::spawn_blocking(move || raise(&ask, &by)).await {
        Ok(Ok((account, mode))) => {
            tracing::info!(scope = shown.scope, period = shown.period, amount = %shown.amount, "budget raised");
            Ok(Json(BudgetView::of(&account, mode)))
        }
        Ok(Err(RaiseError::NoSuchBudget)) => {
            let message = format!(
                "there is no {} budget of {} now; GET /admin/v1/budgets lists scopes and periods",
                shown.period, shown.scope
            );
            Err(Refusal::new(StatusCode::NOT_FOUND, "not_found", message))
        }
        Ok(Err(RaiseError::Store(error))) => {
            Err(unavailable(format!("the raise cannot be written to store.path, and nothing was raised: {error}")))
        }
        Ok(Err(RaiseError::NotRecorded(error))) => Err(unavailable(format!("{error}; nothing was raised"))),
        Err(_panicked) => Err(unavailable("the raise did not end; see the log".to_owned())),
    }
}
