//! The shards' figures.

use super::AdminState;
use crate::{
    kernel::{ids::ShardId, money::Nanos},
    link::{
        down::Phase,
        gauges::{Gauge, ShardGauges},
    },
};
use axum::{Json, extract::State};
use serde::Serialize;

/// One shard.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ShardView {
    /// Its number.
    pub shard: u16,
    /// The configuration it serves.
    pub version: u64,
    /// Client connections now.
    pub connections: u64,
    /// Client connections, ever.
    pub connections_accepted: u64,
    /// Client connections turned away.
    pub connections_refused: u64,
    /// Requests that are running.
    pub requests_running: u64,
    /// Requests waiting for a place here or at an upstream.
    pub requests_waiting: u64,
    /// Requests that had to wait for one, ever.
    pub requests_queued: u64,
    /// Requests that got none, ever.
    pub requests_turned_away: u64,
    /// Requests turned away before the shard was full, ever.
    pub requests_shed: u64,
    /// Answers that are streaming.
    pub streams: u64,
    /// Idle upstream connections.
    pub upstream_idle: u64,
    /// Upstream connections made, ever.
    pub upstream_dials: u64,
    /// Upstream connections used again, ever.
    pub upstream_reuses: u64,
    /// Money held in leases, US dollars.
    pub leased_usd: String,
    /// Bytes of request bodies kept for a retry.
    pub replay_bytes: u64,
    /// Bytes of buffers handed out.
    pub buffer_bytes: u64,
    /// Requests that left no record.
    pub records_lost: u64,
    /// Connections ended by a panic.
    pub panics: u64,
    /// Answers whose metering was given up.
    pub meters_gave_up: u64,
    /// Answers whose provider counted tokens twice, and differently.
    pub counts_differed: u64,
    /// Ticks since the start; a shard that hangs stops counting.
    pub ticks: u64,
    /// CPU time, microseconds.
    pub cpu_us: u64,
}

#[derive(Serialize)]
pub(super) struct Shards {
    version: u64,
    phase: &'static str,
    settled: bool,
    data: Vec<ShardView>,
}

impl ShardView {
    fn of(shard: u16, version: u64, gauges: &ShardGauges) -> Self {
        Self {
            shard,
            version,
            connections: gauges.connections.get(),
            connections_accepted: gauges.connections_accepted.get(),
            connections_refused: gauges.connections_refused.get(),
            requests_running: gauges.requests_running.get(),
            requests_waiting: gauges.requests_waiting.get(),
            requests_queued: gauges.requests_queued.get(),
            requests_turned_away: gauges.requests_turned_away.get(),
            requests_shed: gauges.requests_shed.iter().map(Gauge::get).sum(),
            streams: gauges.streams.get(),
            upstream_idle: gauges.upstream_idle.get(),
            upstream_dials: gauges.upstream_dials.get(),
            upstream_reuses: gauges.upstream_reuses.get(),
            leased_usd: Nanos(gauges.leased_nanos.get() as i64).to_string(),
            replay_bytes: gauges.replay_bytes.get(),
            buffer_bytes: gauges.buffer_bytes.get(),
            records_lost: gauges.records_lost.get(),
            panics: gauges.panics.get(),
            meters_gave_up: gauges.meters_gave_up.get(),
            counts_differed: gauges.counts_differed.get(),
            ticks: gauges.ticks.get(),
            cpu_us: gauges.cpu_us.get(),
        }
    }
}

pub(super) async fn shards(State(state): State<AdminState>) -> Json<Shards> {
    let view = |(shard, gauges): (usize, &std::sync::Arc<ShardGauges>)| {
        let shard = shard as u16;
        ShardView::of(shard, state.door.applied_by(ShardId(shard)).0, gauges)
    };
    let phase = match state.door.phase() {
        Phase::Serving => "serving",
        Phase::Retiring => "retiring",
        Phase::Draining => "draining",
        Phase::Stopping => "stopping",
    };
    Json(Shards {
        version: state.door.latest().version.0,
        phase,
        settled: state.door.settled(),
        data: state.shards.iter().enumerate().map(view).collect(),
    })
}
