//! Rate limits, as they stand on all shards together.

use super::{AdminState, answer::Refusal};
use crate::{
    kernel::{
        limiter::{Limiter, Second},
        time::UnixMs,
    },
    sys::clock,
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;

/// One limit of one scope.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct LimitView {
    /// Whom it limits, as in the configuration: `user:alice@example.com`.
    pub scope: String,
    /// What it limits, as in the configuration: `requests_per_minute`.
    pub limit: &'static str,
    /// The most that is allowed.
    pub amount: i64,
    /// What the last minute used, or what runs now; slices that shards hold for the current second count as used.
    pub used: i64,
    /// What is left; below zero after answers that were longer than what was left.
    pub remaining: i64,
    /// Requests refused by it since it was configured.
    pub refused: u64,
    /// When it refused last, RFC 3339; null if it never did.
    pub last_refused_at: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Limits {
    data: Vec<LimitView>,
}

impl LimitView {
    /// Reads a limiter.
    pub fn of(limiter: &Limiter, now: Second) -> Self {
        let (amount, used) = (limiter.limit(), limiter.used(now));
        let (refused, at) = limiter.refusals();
        Self {
            scope: limiter.scope.to_string(),
            limit: limiter.measure.as_str(),
            amount,
            used,
            remaining: amount - used,
            refused,
            last_refused_at: at.map(|at| UnixMs(at).rfc3339()),
        }
    }
}

/// All rate limits of the newest configuration.
pub(super) async fn limits(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Limits>, Refusal> {
    if let Some((key, _)) = pairs.first() {
        return Err(Refusal::bad_query(format!("unknown query key `{key}`; this path takes none")));
    }
    let now = Second::of(clock::mono());
    let snapshot = state.door.latest();
    Ok(Json(Limits { data: snapshot.rate_limits.iter().map(|limit| LimitView::of(&limit.limiter, now)).collect() }))
}
