//! How the upstreams are, as each shard sees them, and how weir shows itself to each.

use super::{AdminState, CredentialView};
use crate::{
    control::credentials::{CredentialKeeper, CredentialState},
    kernel::{
        routing::health::Condition,
        snapshot::{Snapshot, Upstream},
    },
    link::{board::UpstreamGauges, gauges::ShardGauges},
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;

/// One upstream on one shard.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamOnShard {
    /// The shard's number.
    pub shard: usize,
    /// `well`, `recovering`, `sick`, `locked` or `dead`.
    pub state: &'static str,
    /// How much of its usual traffic it takes, thousandths.
    pub share: u64,
    /// How long it stays ejected, milliseconds.
    pub ejected_for_ms: u64,
    /// Requests that are running there.
    pub in_flight: u64,
    /// How long its answers take to begin, a moving average, microseconds; 0 while nobody knows.
    pub latency_us: u64,
    /// Ejections, ever.
    pub ejections: u64,
    /// Retries that it could still cause now.
    pub retries_left: u64,
    /// Failures that were not tried elsewhere, since there had been too many, ever.
    pub retries_denied: u64,
}

/// One upstream.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UpstreamView {
    /// Its name.
    pub upstream: String,
    /// Host, and port where it is not the scheme's.
    pub authority: String,
    /// The proxy it is reached through; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<String>,
    /// The addresses its host name, or its proxy's, has now.
    pub addresses: Vec<String>,
    /// Its credential.
    #[serde(flatten)]
    pub credential: CredentialView,
    /// The worst state on any shard.
    pub state: &'static str,
    /// Requests that are running there, on all shards.
    pub in_flight: u64,
    /// As each shard sees it.
    pub shards: Vec<UpstreamOnShard>,
}

#[derive(Serialize)]
pub(super) struct Upstreams {
    data: Vec<UpstreamView>,
}

impl UpstreamOnShard {
    fn of(shard: usize, row: &UpstreamGauges) -> Self {
        Self {
            shard,
            state: row.condition().as_str(),
            share: row.share.get(),
            ejected_for_ms: row.ejected_for_ms.get(),
            in_flight: row.in_flight.get(),
            latency_us: row.latency_us.get(),
            ejections: row.ejections.get(),
            retries_left: row.retries_left.get(),
            retries_denied: row.retries_denied.get(),
        }
    }
}

impl UpstreamView {
    fn of(upstream: &Upstream, credentials: &[CredentialState], shards: &[Arc<ShardGauges>]) -> Self {
        let rows: Vec<_> = shards
            .iter()
            .enumerate()
            .filter_map(|(shard, gauges)| Some((shard, gauges.upstreams.row(upstream.name_id)?)))
            .collect();
        let worst = rows.iter().map(|(_, row)| row.condition()).max().unwrap_or(Condition::Well);
        let shards: Vec<_> = rows.into_iter().map(|(shard, row)| UpstreamOnShard::of(shard, row)).collect();
        Self {
            upstream: upstream.name.to_string(),
            authority: upstream.authority.to_string(),
            proxy: upstream.tunnel.as_ref().map(|tunnel| tunnel.proxy.to_string()),
            addresses: upstream.addresses.iter().map(ToString::to_string).collect(),
            credential: CredentialView::of(upstream, credentials),
            state: worst.as_str(),
            in_flight: shards.iter().map(|shard| shard.in_flight).sum(),
            shards,
        }
    }

    fn all(snapshot: &Snapshot, credentials: &[CredentialState], shards: &[Arc<ShardGauges>]) -> Vec<Self> {
        snapshot.upstreams.iter().map(|upstream| Self::of(upstream, credentials, shards)).collect()
    }
}

pub(super) async fn upstreams(State(state): State<AdminState>) -> Json<Upstreams> {
    let credentials = CredentialKeeper::states(&state.credentials);
    Json(Upstreams { data: UpstreamView::all(&state.door.latest(), &credentials, &state.shards) })
}
