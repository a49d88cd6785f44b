//! What a shard shows of itself: plain atomics that one side writes.

use super::{board::UpstreamBoard, connections::ConnectionGauges};
use crate::kernel::{limits::ISSUERS_MAX, overload::class::Class};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One figure; its shard writes, anybody reads.
#[derive(Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Adds. A single writer needs no atomic read-modify-write.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Takes away.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_sub(n), Relaxed);
    }

    /// Replaces.
    pub fn set(&self, n: u64) {
        self.0.store(n, Relaxed);
    }

    /// The figure.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The figures of one shard, on cache lines of their own.
#[derive(Default)]
#[repr(align(128))]
pub struct ShardGauges {
    /// Client connections, now.
    pub connections: Gauge,
    /// Client connections, ever.
    pub connections_accepted: Gauge,
    /// Client connections turned away at the cap or by address.
    pub connections_refused: Gauge,
    /// Requests whose head has been read and whose record is still to come.
    pub requests_running: Gauge,
    /// While the shard drains: for how long the oldest running request has run, microseconds.
    pub oldest_request_us: Gauge,
    /// Requests waiting for a place on the shard or at an upstream, now.
    pub requests_waiting: Gauge,
    /// Requests that had to wait for one, ever.
    pub requests_queued: Gauge,
    /// Requests turned away because none came free in time, or too many waited, ever.
    pub requests_turned_away: Gauge,
    /// Requests turned away before the shard was full, by class, ever.
    pub requests_shed: [Gauge; Class::COUNT],
    /// Requests that repeat one that still ran, ever.
    pub duplicates: Gauge,
    /// What the requests cost that were repeated, ever, nano-dollars.
    pub duplicates_lost_nanos: Gauge,
    /// What ending them has saved, ever, nano-dollars.
    pub duplicates_saved_nanos: Gauge,
    /// Answers streaming, now.
    pub streams: Gauge,
    /// Idle upstream connections, now.
    pub upstream_idle: Gauge,
    /// Upstream connections made, ever.
    pub upstream_dials: Gauge,
    /// Upstream connections used again, ever.
    pub upstream_reuses: Gauge,
    /// What became of upstream connections.
    pub connections_up: ConnectionGauges,
    /// Money held in leases, reservations included, nano-dollars.
    pub leased_nanos: Gauge,
    /// Bytes of request bodies kept for a retry, now.
    pub replay_bytes: Gauge,
    /// Buffers handed out, bytes, now.
    pub buffer_bytes: Gauge,
    /// Requests for which the ring to the journal had no slot, not even for a refusal.
    pub records_lost: Gauge,
    /// Requests refused because their bodies could not be stored.
    pub bodies_refused: Gauge,
    /// Requests whose bodies should have been stored, and were dropped.
    pub bodies_dropped: Gauge,
    /// Bytes of bodies waiting to be stored, now.
    pub body_lane_bytes: Gauge,
    /// Connections ended by a panic.
    pub panics: Gauge,
    /// Metering given up on an odd answer.
    pub meters_gave_up: Gauge,
    /// Answers whose provider counted tokens twice, and differently.
    pub counts_differed: Gauge,
    /// Refusals that name a beta or a field which the request had, ever.
    pub refused_by_name: Gauge,
    /// Requests sent without what was refused by name, ever.
    pub repairs: Gauge,
    /// Ticks since the start: a shard that hangs stops counting.
    pub ticks: Gauge,
    /// How its upstreams are.
    pub upstreams: UpstreamBoard,
    /// Tokens whose key was not known, ever, by the place of their issuer: the control plane fetches the keys anew.
    pub unknown_token_keys: [Gauge; ISSUERS_MAX],
    /// Shard CPU time of the thread, microseconds, as of the last tick second.
    pub cpu_us: Gauge,
}
