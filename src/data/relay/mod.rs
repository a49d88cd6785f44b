//! The fourth room: `Lease` → `Relayed`. Both directions at once.
//!
//! Invariants: the answer's bytes leave in the buffer they came in, in the upstream's own framing; a meter looks on and cannot
//! stop them (law 4); neither direction is ever dropped, each is ended by shutting its socket down (law 10); nothing is asked
//! again once a byte of an answer has gone to the client. Deliberately absent: any decision about who may ask.

mod asked;
mod attempt;
mod carry;
mod convert;
pub mod credential;
pub mod download;
mod edits;
mod frames;
pub mod framing;
pub mod head;
pub mod interim;
pub mod kept;
pub mod meter;
mod metered;
pub mod objects;
mod pass;
pub mod quiet;
mod repair;
pub mod target;
pub mod upload;

use super::{
    edge::incoming::{Exchange, Work},
    gate::{Admitted, route::body_fault},
    pool::{self, Lease, Second, Shown, Tries, UpstreamConnection},
    settle::{Metered, OpenRecord},
    shard::deadlines::{Awaited, Deadlines},
};
use crate::{
    kernel::{
        fault::{Fault, FaultKind, Room},
        record::{Attempt, Outcome, inline_text},
        routing::Failure,
        snapshot::Upstream,
    },
    sys::{clock, runtime, socket::Writer},
};
use asked::asked;
pub use attempt::last_word;
use attempt::{Ended, attempt_result, credential_fault, failure_of, fault_of};
use credential::Shows;
use download::{Attending, Download};
use metered::{Prices, metered};
use std::{cell::Cell, pin::pin, rc::Rc};
use upload::{Upload, Uploaded};

/// How an exchange ended.
pub enum Relayed<'c> {
    /// The client has the answer, or as much of it as there was.
    Done(Outcome, Metered),
    /// weir itself ended it before the client had a byte of an answer; the upstream may bill it.
    Cut(Fault, Metered),
    /// A kept connection had gone stale, or a credential just before its renewal: nothing is lost, ask again.
    Again(Admitted<'c>),
    /// The upstream refused by name what the request can do without: ask it again.
    Repair(Admitted<'c>),
    /// The attempt failed, the client does not know, and another target may do better.
    Failed(Admitted<'c>, Failure, Shown),
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
    mut lease: Box<Lease<'c>>,
    tries: &Tries,
    client: &mut Writer,
    open: &mut OpenRecord,
) -> Result<Relayed<'c>, Fault> {
    cx.link.revocation(Room::Relay).map_or(Ok(()), Err)?;
    let Lease { ref admitted, target, upstream, ref mut connection, reused, ref visit, slot: _ } = *lease;
    let routed = &admitted.routed;
    let chosen = &routed.targets[target.min(routed.targets.len() - 1)];
    let asked = asked(cx, routed, upstream, chosen).await?;
    open.reprice(cx.serving.rates(&upstream.name, &asked.model, &routed.model));
    let shows = Shows::prepare(cx, upstream, &asked.edits).await?;
    let deadlines = attach(cx, connection);
    let flags = Flags::default();
    let head = head::upstream_head(cx, routed, upstream, &asked, &shows);
    let up = Upload { cx, edits: asked.edits.clone(), flags: &flags, deadlines: &deadlines };
    let second = Second { cx, tries, routed, target: chosen, upstream: &upstream.name, visit };
    let on = Attending { identified: &routed.identified, shows: &shows, second: &second };
    let mut down = Download::new(cx, on, &deadlines, &flags, upstream);
    down.tap = open.tap_answer();
    objects::attend(cx, routed, upstream, open.reserved(), &mut down);
    repair::attend(cx, routed, upstream, &asked, &mut down);
    let began = clock::mono();
    let (uploaded, ended) = {
        // The way up is over long before a stream is, and gives its place back then.
        let upload = runtime::boxed(|| up.run(&mut connection.writer, head));
        let download = pin!(down.run(&mut connection.reader, client));
        cx.link.directions.both(upload, download).await
    };
    detach(cx, &deadlines);
    let took = clock::mono().since(began);
    open.waited(took);
    let passed = deadlines.passed();
    if reused && !down.heard && matches!(ended, Ended::NoAnswer) && passed.is_none() && may_ask_again(cx) {
        return Ok(Relayed::Again(lease.admitted));
    }
    let failure = failure_of(cx, &ended, passed);
    if let Some(failure) = failure
        && !matches!(ended, Ended::Hidden { .. } | Ended::Credential)
    {
        second.broke(failure);
    }
    let maybe_billed = failure.is_some_and(Failure::may_be_billed) && uploaded == Uploaded::Whole && down.status == 0;
    let result = attempt_result(cx, &ended, passed);
    let (name, status) = (upstream.name_id, down.status);
    pool::note(open, Attempt { upstream: name, status, result, duration_us: took, maybe_billed });
    if matches!(ended, Ended::Credential) && shows.is_outdated(cx) && may_ask_again(cx) {
        // What was refused is not what would be shown now.
        return Ok(Relayed::Again(lease.admitted));
    }
    if uploaded == Uploaded::Whole && passed.is_none() && ended.leaves_it_usable() {
        keep(cx, lease.connection, upstream);
    }
    if matches!(ended, Ended::Refused { .. }) {
        return Ok(Relayed::Repair(lease.admitted));
    }
    if let Some(failure) = failure
        && (matches!(ended, Ended::Hidden { .. }) || (!down.head_sent && !down.spoke() && second.hides(failure)))
    {
        let shown = shown_of(&mut down, ended, failure);
        return Ok(Relayed::Failed(lease.admitted, failure, shown));
    }
    fill(cx, open, &mut down);
    // They are kept where the money is: what costs nothing is not priced.
    let own = open.rates().unwrap_or_else(|| cx.serving.rates(&upstream.name, &asked.model, &routed.model));
    let prices = Prices { book: &cx.serving.prices, upstream: &upstream.name, own };
    conclude(cx, &down, ended, uploaded, passed, &prices, open)
}

/// What the client gets of a failed attempt if no other one is made.
fn shown_of(down: &mut Download<'_>, ended: Ended, failure: Failure) -> Shown {
    let fault = match ended {
        Ended::Credential => credential_fault(),
        _ => fault_of(failure, down.status),
    };
    down.kept.take().map_or(Shown::Fault(fault), Shown::Answer)
}

/// From here on the upstream's connection ends when the client leaves, or when the exchange takes too long.
fn attach(cx: &Exchange<'_>, connection: &UpstreamConnection) -> Rc<Deadlines> {
    let deadlines = connection.deadlines.clone();
    deadlines.arm(Awaited::Whole, cx.shard.sweeper.in_(cx.serving.limits.stream_max_timeout));
    cx.link.works_for(Some(Work::Cancel(deadlines.kill().clone())));
    if cx.link.gone.get() {
        deadlines.kill().end();
    }
    deadlines
}

fn detach(cx: &Exchange<'_>, deadlines: &Deadlines) {
    cx.link.works_for(None);
    deadlines.disarm(Awaited::Read);
    deadlines.disarm(Awaited::Whole);
}

/// Puts a connection by for the next request.
fn keep(cx: &Exchange<'_>, connection: UpstreamConnection, upstream: &Upstream) {
    if !cx.link.gone.get() {
        let gauges = &cx.shard.gauges.connections_up;
        cx.shard.idle.borrow_mut().put(connection, upstream, cx.shard.sweeper.now(), gauges);
    }
}

/// The body is still there from its first byte, the client too.
fn may_ask_again(cx: &Exchange<'_>) -> bool {
    cx.pipe.is_whole_so_far() && cx.pipe.failure().is_none() && !cx.link.gone.get() && !cx.link.revoked.get()
}

fn fill(cx: &Exchange<'_>, open: &mut OpenRecord, down: &mut Download<'_>) {
    open.answered(down.tap.take(), down.head_sent);
    if let Some(objects) = &mut down.objects {
        objects.hand_over(open, down.status);
    }
    objects::note_stuck(down, open);
    let record = &mut open.record;
    record.request_bytes = cx.pipe.received();
    record.response_bytes = down.client_bytes;
    record.upstream_request_id = down.upstream_request_id;
    record.stream |= down.meter.is_stream();
    record.usage_raw = down.meter.take_raw();
    record.status = if down.head_sent { down.told } else { 0 };
    record.ttfb_us = down.first_byte_at.map_or(0, |at| at.since(cx.started));
    record.model_served = match down.meter.model() {
        Some(model) => inline_text(model),
        None if open.results.is_some() => record.model_served,
        None => record.model_requested,
    };
    down.meter.give_back(&mut cx.shard.spares.scanners.borrow_mut());
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
        Ended::Credential => Err(credential_fault()),
        Ended::Hidden { failure, .. } => Err(fault_of(failure, down.status)),
        Ended::NoAnswer if !down.head_sent => Err(match passed {
            Some(_) => fault_of(Failure::TimedOut, 0),
            None => fault_of(Failure::Broken, 0),
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
