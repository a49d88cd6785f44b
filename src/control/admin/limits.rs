//! Rate limits, as they stand on all shards together.

use super::{AdminState, answer::Refusal};
use crate::{
    kernel::{
        limiter::{Limiter, LimiterId, Second},
        time::UnixMs,
    },
    sys::clock,
};
use axum::{
    Json,
    extract::{Query, State},
};
use serde::Serialize;
use std::collections::HashSet;

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

/// Limits in one answer, at most; there may be more, of single sessions.
const LISTED_MAX: usize = 10_000;

/// All rate limits of the newest configuration, then those of callers that it does not know, and of sessions.
pub(super) async fn limits(
    State(state): State<AdminState>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Limits>, Refusal> {
    if let Some((key, _)) = pairs.first() {
        return Err(Refusal::bad_query(format!("unknown query key `{key}`; this path takes none")));
    }
    let now = Second::of(clock::mono());
    let snapshot = state.door.latest();
    let mut data: Vec<_> = snapshot.rate_limits.iter().map(|limit| LimitView::of(&limit.limiter, now)).collect();
    let listed: HashSet<LimiterId> = snapshot.rate_limits.iter().map(|limit| limit.limiter.id).collect();
    let mut others = Vec::new();
    snapshot.registry.limiters.for_each(|_, limiter| {
        if !listed.contains(&limiter.id) && others.len() < LISTED_MAX {
            others.push(limiter.clone());
        }
    });
    others.sort_by_key(|limiter| limiter.id);
    data.extend(others.iter().map(|limiter| LimitView::of(limiter, now)));
    Ok(Json(Limits { data }))
}
