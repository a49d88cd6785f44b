//! The third room: `Admitted` → `Lease`. Which upstream, which connection, and when again.
//!
//! Invariants: a connection comes back only if its last exchange was whole in both directions, nothing was left over and
//! neither side asked to close; an idle one is looked at before it is used again. A request is tried `ATTEMPTS_MAX` times at
//! most, each target once, and never again once a byte of an answer has gone to the client. With one target nothing is chosen
//! and nothing hashed. Deliberately absent: name resolution (the control plane's), and any shared state between shards.

pub mod dial;
pub mod idle;
pub mod tries;
pub mod tunnel;
pub mod watch;

use super::{
    edge::incoming::Exchange,
    gate::{
        Admitted, Routed,
        queue::{self, Slot},
    },
    relay::credential,
    settle::OpenRecord,
};
use crate::{
    kernel::{
        fault::{Fault, FaultKind, Room},
        ids::UpstreamIx,
        overload::class::Class,
        record::{Attempt, AttemptResult},
        routing::Failure,
        snapshot::Upstream,
    },
    sys::{clock, runtime},
};
pub use idle::UpstreamConnection;
pub use tries::{Second, Shown, Tries};
use tries::{unreachable_fault, unreachable_fault_of};
use watch::Visit;

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
    /// The attempt, as the upstream's health sees it.
    pub visit: Visit,
    /// Its place at the upstream, where that has a number of them.
    pub slot: Option<Slot>,
}

/// Finds a connection for a request: of the targets that may be tried, the first that can be reached. What was `admitted` goes into
/// the lease.
pub async fn lease<'c>(
    cx: &Exchange<'c>,
    admitted: &mut Option<Admitted<'c>>,
    tries: &mut Tries,
    open: &mut OpenRecord,
) -> Result<Box<Lease<'c>>, Fault> {
    loop {
        let Some(Admitted { routed, .. }) = &*admitted else { return Err(unreachable_fault()) };
        if cx.link.gone.get() {
            return Err(Fault::new(Room::Pool, FaultKind::ClientGone, "the client went away"));
        }
        let Some(place) = tries.next(cx, routed) else { return Err(tries.nobody(cx, routed)) };
        let Some(target) = routed.targets.get(place) else { return Err(unreachable_fault()) };
        let (Some(upstream), Some(watch)) = (cx.serving.upstream(target.upstream), cx.serving.watch(target.upstream))
        else {
            return Err(unreachable_fault());
        };
        if let Err(fault) = credential::ready(cx, upstream) {
            tries.skipped(Failure::Credential, Shown::Fault(fault));
            continue;
        }
        let slot = match place_at(cx, routed, target.upstream, open).await {
            Ok(slot) => slot,
            Err(fault) if fault.kind != FaultKind::Overloaded => return Err(fault),
            Err(fault) => {
                tries.skipped(Failure::NoRoom, Shown::Fault(fault));
                continue;
            }
        };
        if let Some(pause) = tries.pause(cx.shard.chance()) {
            open.waited(pause.as_micros() as u64);
            runtime::sleep(pause).await;
        }
        let now = cx.shard.sweeper.now();
        let may_dial = watch.may_dial(now);
        let visit = watch.begin(now, tries.is_first() && !tries.wants_fresh());
        // In a box: it goes through several hands, and its borrowers keep it for as long as the exchange lasts.
        let leased = |connection, reused, visit, admitted: &mut Option<Admitted<'c>>, slot| {
            let admitted = admitted.take().ok_or_else(unreachable_fault)?;
            Ok(Box::new(Lease { target: place, upstream, connection, reused, visit, admitted, slot }))
        };
        // What makes something is not risked on a connection that may be stale: it would be made twice.
        let makes = routed.identified.incoming.route.operation.makes();
        if !tries.wants_fresh()
            && !makes
            && let Some(connection) = cx.shard.idle.borrow_mut().take(upstream, now, &cx.shard.gauges.connections_up)
        {
            cx.shard.gauges.upstream_reuses.add(1);
            return leased(connection, true, visit, admitted, slot);
        }
        if !may_dial {
            // Known to be dead, and somebody else finds out whether it still is.
            open.record.upstream = Some(upstream.name_id);
            tries.failed(cx, routed, Failure::Unreachable, Shown::Fault(unreachable_fault()));
            continue;
        }
        match connect(cx, target.upstream, upstream, open).await {
            Ok(connection) => return leased(connection, false, visit, admitted, slot),
            Err(_) if cx.link.gone.get() => {}
            Err(fault) => {
                visit.failed(cx.shard, &upstream.name, Failure::Unreachable, 0);
                tries.failed(cx, routed, Failure::Unreachable, Shown::Fault(fault));
            }
        }
    }
}

/// Takes a place at an upstream, at once or when it is this request's turn. None where there is no number of them.
async fn place_at(
    cx: &Exchange<'_>,
    routed: &Routed<'_>,
    upstream: UpstreamIx,
    open: &mut OpenRecord,
) -> Result<Option<Slot>, Fault> {
    let Some(slots) = cx.serving.slots(upstream) else { return Ok(None) };
    let (principal, class) = (routed.identified.caller.principal, Class::of(&open.record.request_class));
    let began = clock::mono();
    let text = "as many requests as it takes are running at the upstream; try again";
    let slot = queue::slot(cx, slots, principal, class, text).await;
    open.waited(clock::mono().since(began));
    slot.map(Some)
}

async fn connect(
    cx: &Exchange<'_>,
    ix: UpstreamIx,
    upstream: &Upstream,
    open: &mut OpenRecord,
) -> Result<UpstreamConnection, Fault> {
    let began = clock::mono();
    // Dials are rare and their futures large: on the heap they leave every other exchange small.
    let dialled = Box::pin(dial::dial(cx, ix, upstream)).await;
    let took = clock::mono().since(began);
    open.waited(took);
    dialled.map_err(|error| {
        let result = match error.kind() {
            _ if cx.link.gone.get() => AttemptResult::Cancelled,
            std::io::ErrorKind::TimedOut => AttemptResult::TimedOut,
            _ => AttemptResult::Unreachable,
        };
        if result != AttemptResult::Cancelled {
            tracing::warn!(request = %cx.id, upstream = %upstream.name, %error, "cannot connect to the upstream");
        }
        let attempt = Attempt { upstream: upstream.name_id, status: 0, result, duration_us: took, maybe_billed: false };
        note(open, attempt);
        unreachable_fault_of(upstream)
    })
}

/// Notes an attempt in the record.
pub fn note(open: &mut OpenRecord, attempt: Attempt) {
    open.record.upstream = Some(attempt.upstream);
    // More than the record holds are never made.
    let _full = open.record.attempts.try_push(attempt);
}
