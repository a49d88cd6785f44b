//! The fourth room: `Lease` → `Relayed`. Both directions at once.
//!
//! Invariants: the answer's bytes leave in the buffer they came in, in the upstream's own framing; a meter looks on and cannot
//! stop them (law 4); neither direction is ever dropped, each is ended by shutting its socket down (law 10); nothing is asked
//! again once a byte of the answer has gone to the client. Deliberately absent: any decision about who may ask.

mod asked;
mod carry;
mod convert;
pub mod credential;
pub mod download;
mod edits;
mod frames;
pub mod framing;
pub mod head;
pub mod interim;
pub mod meter;
mod metered;
pub mod target;
pub mod upload;

use super::{
    edge::{
        incoming::{Exchange, Work},
        signal::both,
    },
    gate::{Admitted, route::body_fault},
    pool::{self, Lease},
    settle::{Metered, OpenRecord},
    shard::deadlines::Awaited,
};
use crate::{
    kernel::{
        fault::{Fault, FaultKind, Room},
        record::{Attempt, AttemptResult, Outcome, inline},
    },
    sys::{clock, socket::Writer},
};
use asked::asked;
use credential::Shows;
use download::{Download, Ended};
use metered::{Prices, metered};
use std::{cell::Cell, pin::pin};
use upload::{Upload, Uploaded};

/// How an exchange ended.
pub enum Relayed<'c> {
    /// The client has the answer, or as much of it as there was.
    Done(Outcome, Metered),
    /// weir itself ended it before the client had a byte of an answer; the upstream may bill it.
    Cut(Fault, Metered),
    /// A kept connection had gone stale, or a credential just before its renewal: nothing is lost, ask again.
    Again(Admitted<'c>),
}

/// What the two directions of an exchange tell each other.
#[derive(Default)]
pub struct Flags {
    /// The answer is complete, or will never be.
    pub over: Cell<bool>,
    /// Every byte of the request has been sent.
    pub uploaded: Cell<bool>,
    /// The head of the answer is there: the time for its first byte no longer runs.
    pub begun: Cell<bool>,
}

/// Sends the request up and the answer down.
pub async fn exchange<'c>(
    cx: &Exchange<'c>,
    lease: Lease<'c>,
    client: &mut Writer,
    open: &mut OpenRecord,
) -> Result<Relayed<'c>, Fault> {
    if let Some(fault) = cx.link.revocation(Room::Relay) {
        return Err(fault);
    }
    let Lease { admitted, target, upstream, mut connection, reused } = lease;
    let routed = &admitted.routed;
    let chosen = &routed.targets[target.min(routed.targets.len() - 1)];
    let book = &cx.serving.prices;
    let asked = asked(cx, routed, upstream, chosen).await?;
    let own = book.rates(&upstream.name, &asked.model, &routed.model);
    let prices = Prices { book, upstream: &upstream.name, own };
    open.reprice(own);
    let shows = Shows::prepare(cx, upstream, &asked.edits).await?;
    let deadlines = connection.deadlines.clone();
    deadlines.arm(Awaited::Whole, cx.shard.sweeper.in_(cx.serving.limits.stream_max_timeout));
    cx.link.works_for(Some(Work::Cancel(deadlines.kill().clone())));
    if cx.link.gone.get() {
        deadlines.kill().end();
    }
    let flags = Flags::default();
    let head = head::upstream_head(cx, routed, upstream, &asked, &shows);
    let up = Upload { cx, edits: asked.edits.clone(), flags: &flags, deadlines: &deadlines };
    let mut down = Download::new(cx, &routed.identified, &deadlines, &flags, &shows);
    down.on_abort = upstream.on_abort;
    down.bridged = asked.bridged.as_ref().map(|bridging| (upstream.provider.format(), &*bridging.dropped));
    let began = clock::mono();
    let (uploaded, ended) = {
        let upload = pin!(up.run(&mut connection.writer, head));
        let download = pin!(down.run(&mut connection.reader, client));
        both(upload, download).await
    };
    cx.link.works_for(None);
    deadlines.disarm(Awaited::Read);
    deadlines.disarm(Awaited::Whole);
    let took = clock::mono().since(began);
    open.waited(took);
    if reused && !down.heard && matches!(ended, Ended::NoAnswer) && deadlines.passed().is_none() && may_ask_again(cx) {
        return Ok(Relayed::Again(admitted));
    }
    let outdated = matches!(ended, Ended::Credential) && shows.is_outdated(cx) && may_ask_again(cx);
    pool::note(
        open,
        Attempt {
            upstream: upstream.name_id,
            status: down.status,
            result: attempt_result(cx, &ended, deadlines.passed()),
            duration_us: took,
        },
    );
    if outdated {
        // What was refused is not what would be shown now.
        return Ok(Relayed::Again(admitted));
    }
    fill(cx, open, &down);
    if matches!(ended, Ended::Whole { reusable: true })
        && uploaded == Uploaded::Whole
        && deadlines.passed().is_none()
        && !cx.link.gone.get()
        && connection.reader.is_drained()
    {
        cx.shard.idle.borrow_mut().put(connection, cx.shard.sweeper.now());
    }
    conclude(cx, &down, ended, uploaded, deadlines.passed(), &prices, open)
}

/// The body is still there from its first byte, the client too.
fn may_ask_again(cx: &Exchange<'_>) -> bool {
    cx.pipe.is_whole_so_far() && cx.pipe.failure().is_none() && !cx.link.gone.get() && !cx.link.revoked.get()
}

fn attempt_result(cx: &Exchange<'_>, ended: &Ended, passed: Option<Awaited>) -> AttemptResult {
    match ended {
        // Not too late, but told to end: the time for reading on after the client was up.
        Ended::ClientLeft if cx.link.gone.get() => AttemptResult::Cancelled,
        _ if passed.is_some() => AttemptResult::TimedOut,
        Ended::Whole { .. } | Ended::Drained | Ended::Credential => AttemptResult::Answered,
        _ if cx.link.gone.get() || cx.link.revoked.get() => AttemptResult::Cancelled,
        Ended::ClientLeft => AttemptResult::Cancelled,
        Ended::NoAnswer | Ended::Broken => AttemptResult::Broken,
    }
}

fn fill(cx: &Exchange<'_>, open: &mut OpenRecord, down: &Download<'_>) {
    let record = &mut open.record;
    record.request_bytes = cx.pipe.received();
    record.response_bytes = down.client_bytes;
    record.upstream_request_id = down.upstream_request_id;
    record.stream |= down.meter.is_stream();
    record.usage_raw = down.meter.tally().raw();
    record.status = if down.head_sent { down.status } else { 0 };
    record.ttfb_us = down.first_byte_at.map_or(0, |at| at.since(cx.started));
    record.model_served = match down.meter.model() {
        Some(model) => inline(model.as_bytes()),
        None => record.model_requested,
    };
}

fn conclude<'c>(
    cx: &Exchange<'_>,
    down: &Download<'_>,
    ended: Ended,
    uploaded: Uploaded,
    passed: Option<Awaited>,
    prices: &Prices<'_>,
    open: &mut OpenRecord,
) -> Result<Relayed<'c>, Fault> {
    let metered = |whole| metered(cx, down, uploaded, whole, prices);
    if let Uploaded::BodyFailed(failure) = uploaded
        && !down.head_sent
    {
        return Err(body_fault(cx, failure));
    }
    match ended {
        Ended::Whole { .. } => Ok(Relayed::Done(Outcome::Completed, metered(true))),
        _ if cx.link.revoked.get() => Ok(cut_off(cx, down, metered(false), open)),
        _ if cx.link.gone.get() || matches!(ended, Ended::ClientLeft | Ended::Drained) => {
            cx.link.closing.set(true);
            Ok(Relayed::Done(Outcome::ClientAborted, metered(matches!(ended, Ended::Drained))))
        }
        Ended::Credential => {
            let text = "the upstream refused the gateway's own credential; the gateway's operator must mend it";
            Err(Fault::new(Room::Relay, FaultKind::UpstreamCredential, text))
        }
        Ended::NoAnswer if !down.head_sent => Err(match passed {
            Some(_) => Fault::new(Room::Relay, FaultKind::UpstreamTimeout, "the upstream did not answer in time"),
            None => Fault::new(
                Room::Relay,
                FaultKind::UpstreamBroken,
                "the upstream closed the connection before it answered",
            ),
        }),
        _ => {
            // The answer broke off and the client has been told, by an event or by the reset to come.
            Ok(Relayed::Done(Outcome::UpstreamFailed, metered(false)))
        }
    }
}

/// The request's key was revoked while it ran: it is refused, though what it used is booked.
fn cut_off<'c>(cx: &Exchange<'_>, down: &Download<'_>, used: Metered, open: &mut OpenRecord) -> Relayed<'c> {
    match cx.link.revocation(Room::Relay) {
        Some(fault) if !down.head_sent => Relayed::Cut(fault, used),
        _ => {
            open.record.refused_by = Some(FaultKind::KeyRevoked.label());
            Relayed::Done(Outcome::Refused, used)
        }
    }
}
