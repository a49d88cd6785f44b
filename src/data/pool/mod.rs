//! The third room: `Admitted` → `Lease`. Which upstream, which connection.
//!
//! Invariants: a connection comes back only if its last exchange was whole in both directions, nothing was left over and
//! neither side asked to close; an idle one is looked at before it is used again. Deliberately absent: name resolution (the
//! control plane's), and any shared state between shards.

pub mod dial;
pub mod idle;

use super::{edge::incoming::Exchange, gate::Admitted, relay::credential, settle::OpenRecord};
use crate::{
    kernel::{
        fault::{Fault, FaultKind, Room},
        ids::UpstreamIx,
        limits::ATTEMPTS_MAX,
        record::{Attempt, AttemptResult},
        snapshot::Upstream,
    },
    sys::clock,
};
pub use idle::UpstreamConnection;

/// A connection to an upstream, for a request that may use it.
pub struct Lease<'c> {
    /// The request.
    pub admitted: Admitted<'c>,
    /// Which of its targets.
    pub target: usize,
    /// The upstream.
    pub upstream: &'c Upstream,
    /// The connection.
    pub connection: UpstreamConnection,
    /// It has served others before: if it fails before a byte of the answer, that proves nothing about the upstream.
    pub reused: bool,
}

/// What has been tried for a request.
#[derive(Debug, Default)]
pub struct Tries {
    target: usize,
    attempts: usize,
    fresh_only: bool,
}

impl Tries {
    /// The next lease is to be a new connection: the kept ones of this upstream have gone stale.
    pub fn fresh_only(&mut self) {
        self.fresh_only = true;
    }
}

/// Finds a connection for a request: the first target that can be reached, in the order of the configuration.
pub async fn lease<'c>(
    cx: &Exchange<'c>,
    admitted: Admitted<'c>,
    tries: &mut Tries,
    open: &mut OpenRecord,
) -> Result<Lease<'c>, Fault> {
    let mut last = Fault::new(Room::Pool, FaultKind::Internal, "no upstream is left to try");
    if tries.attempts > 0 {
        // The relay asks again only when a kept connection had gone stale.
        tries.fresh_only();
    }
    while let Some(target) = admitted.routed.targets.get(tries.target) {
        if tries.attempts >= ATTEMPTS_MAX || cx.link.gone.get() {
            break;
        }
        let Some(upstream) = cx.serving.upstream(target.upstream) else { break };
        if let Err(fault) = credential::ready(cx, upstream) {
            last = fault;
            tries.target += 1;
            continue;
        }
        tries.attempts += 1;
        if !tries.fresh_only
            && let Some(connection) = cx.shard.idle.borrow_mut().take(upstream, cx.shard.sweeper.now())
        {
            cx.shard.gauges.upstream_reuses.add(1);
            return Ok(Lease { target: tries.target, upstream, connection, reused: true, admitted });
        }
        match connect(cx, target.upstream, upstream, open).await {
            Ok(connection) => return Ok(Lease { target: tries.target, upstream, connection, reused: false, admitted }),
            Err(fault) => last = fault,
        }
        tries.target += 1;
        tries.fresh_only = false;
    }
    if cx.link.gone.get() {
        return Err(Fault::new(Room::Pool, FaultKind::ClientGone, "the client went away"));
    }
    Err(last)
}

async fn connect(
    cx: &Exchange<'_>,
    ix: UpstreamIx,
    upstream: &Upstream,
    open: &mut OpenRecord,
) -> Result<UpstreamConnection, Fault> {
    let began = clock::mono();
    let dialled = dial::dial(cx.shard, cx.serving, ix, upstream).await;
    let took = clock::mono().since(began);
    open.waited(took);
    dialled.map_err(|error| {
        tracing::warn!(request = %cx.id, upstream = %upstream.name, %error, "cannot connect to the upstream");
        let result = if error.kind() == std::io::ErrorKind::TimedOut {
            AttemptResult::TimedOut
        } else {
            AttemptResult::Unreachable
        };
        note(open, Attempt { upstream: upstream.name_id, status: 0, result, duration_us: took });
        Fault::new(Room::Pool, FaultKind::UpstreamUnreachable, "the upstream cannot be reached; try again")
    })
}

/// Notes an attempt in the record.
pub fn note(open: &mut OpenRecord, attempt: Attempt) {
    open.record.upstream = Some(attempt.upstream);
    // More than the record holds are never made.
    let _full = open.record.attempts.try_push(attempt);
}
