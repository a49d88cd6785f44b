//! Usage, records and changes, from the ledger.

use super::{AdminState, answer::Refusal};
use crate::control::{
    cache_health::CacheHealthView,
    changes::{ChangeFilter, ChangeView},
    ledger::{Detail, RecordFilter, RecordView, UsageQuery, UsageRow},
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;

type Pairs = Query<Vec<(String, String)>>;

/// Data, and up to when it is complete (RFC 3339).
#[derive(Serialize)]
pub(super) struct Answer<T> {
    data: Vec<T>,
    as_of: String,
}

/// Usage, up to when it is complete (RFC 3339), and how finely the past is still known.
#[derive(Serialize)]
pub(super) struct Usage {
    data: Vec<UsageRow>,
    as_of: String,
    detail: Detail,
}

pub(super) async fn usage(State(state): State<AdminState>, Query(pairs): Pairs) -> Result<Json<Usage>, Refusal> {
    let query = UsageQuery::parse(&pairs).map_err(Refusal::bad_query)?;
    let ledger = state.ledger.read().image();
    Ok(Json(Usage { data: ledger.usage(&query), as_of: ledger.as_of().rfc3339(), detail: ledger.detail() }))
}

pub(super) async fn requests(
    State(state): State<AdminState>,
    Query(pairs): Pairs,
) -> Result<Json<Answer<RecordView>>, Refusal> {
    let filter = RecordFilter::parse(&pairs).map_err(Refusal::bad_query)?;
    let ledger = state.ledger.read().image();
    Ok(Json(Answer { data: ledger.requests(&filter), as_of: ledger.as_of().rfc3339() }))
}

pub(super) async fn cache_health(State(state): State<AdminState>) -> Json<CacheHealthView> {
    Json(CacheHealthView::of(&state.caches.lock()))
}

pub(super) async fn changes(
    State(state): State<AdminState>,
    Query(pairs): Pairs,
) -> Result<Json<Answer<ChangeView>>, Refusal> {
    let filter = ChangeFilter::parse(&pairs).map_err(Refusal::bad_query)?;
    let ledger = state.ledger.read().image();
    Ok(Json(Answer { data: ledger.changes(&filter), as_of: ledger.as_of().rfc3339() }))
}
