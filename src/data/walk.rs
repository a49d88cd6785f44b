//! The walk: one short function takes a request through the rooms; all branching between them is here.

use super::{
    edge::{
        answer::{self, Framing},
        incoming::{Exchange, Incoming},
    },
    gate::{self, Admitted, Identified, identify::identify, local},
    pool,
    relay::{self, Relayed},
    settle::{self, Metered, OpenRecord},
    shard::deadlines::Awaited,
};
use crate::{
    dialect::{answer::Answer, errors, format_of},
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::{JOURNAL_WAIT, TICK},
        overload::class::Class,
        record::{Operation, Outcome, Record, inline, inline_text},
    },
    sys::{clock, runtime, socket::Writer},
    wire::h1::{Known, Method},
};

/// What a client is told when there is no room.
const FULL: &str = "this gateway is full; try again";

/// How a walk ends when nothing went wrong.
enum End {
    /// weir answers from memory.
    Local(Answer),
    /// An upstream answered, and the client has it, or as much as there was.
    Relayed(Outcome, Metered),
    /// The request was ended before its answer began, and has used something all the same.
    Cut(Fault, Metered),
}

/// What the gate says.
enum Gated<'c> {
    /// Nobody needs to be asked any more.
    Over(End),
    /// An upstream is to be asked.
    Admitted(Admitted<'c>),
}

/// Walks a request through the rooms, answers it, and leaves its record. `fault`: its head was not even sound; boxed, since hardly
/// any is, and what a walk has, a stream has for long.
pub async fn walk(cx: &Exchange<'_>, client: &mut Writer, fault: Option<Box<Fault>>) {
    if cx.shard.up.borrow().is_full() {
        Box::pin(journal_room(cx)).await;
    }
    let Some(mut open) = OpenRecord::begin(cx.shard, draft(cx), cx.started) else {
        // Not even a refusal can be recorded: the journal has been stuck for long. Say nothing rather than serve unrecorded.
        cx.link.closing.set(true);
        return;
    };
    let ended = match fault {
        Some(fault) => Err(*fault),
        None => rooms(cx, client, &mut open).await,
    };
    open.end_turn(cx.link.take_turn());
    // What weir itself says is given away whole, so that no place is kept for it while a stream runs.
    match ended {
        Ok(End::Relayed(outcome, metered)) => {
            open.tighten(|ceiling| gate::admit::bound(cx, ceiling));
            open.close(outcome, metered);
        }
        Ok(End::Local(answer)) => Box::pin(tell(cx, client, open, answer)).await,
        Ok(End::Cut(fault, metered)) => Box::pin(refuse(cx, client, open, fault, metered)).await,
        Err(fault) => Box::pin(refuse(cx, client, open, fault, Metered::default())).await,
    }
}

async fn tell(cx: &Exchange<'_>, client: &mut Writer, mut open: OpenRecord, answer: Answer) {
    let sent = say(cx, client, &mut open, &answer).await;
    open.close(if sent { Outcome::Completed } else { Outcome::ClientAborted }, Metered::default());
}

/// Waits until the journal has caught up: its disk may pause for a moment, and what has been asked can wait as long.
async fn journal_room(cx: &Exchange<'_>) {
    let until = cx.started.after(JOURNAL_WAIT);
    while cx.shard.up.borrow().is_full() && clock::mono() < until && !cx.link.gone.get() {
        runtime::sleep(TICK).await;
    }
}

async fn rooms<'c>(cx: &Exchange<'c>, client: &mut Writer, open: &mut OpenRecord) -> Result<End, Fault> {
    // In a place of its own, which it gives back: until it is admitted, a request needs more than a stream does ever after.
    match runtime::boxed(|| gates(cx, client, open)).await? {
        Gated::Over(end) => Ok(end),
        Gated::Admitted(admitted) => ask(cx, client, &mut Some(admitted), open).await,
    }
}

/// Edge and gate.
async fn gates<'c>(cx: &Exchange<'c>, client: &mut Writer, open: &mut OpenRecord) -> Result<Gated<'c>, Fault> {
    // Whatever is refused from here on is refused in the path's own dialect.
    open.record.format = format_of(cx.path());
    if cx.shard.running() > cx.serving.limits.running_max() {
        return Err(Fault::new(Room::Edge, FaultKind::Overloaded, FULL));
    }
    let incoming = Incoming::accept(cx)?;
    open.record.operation = incoming.route.operation;
    open.record.stream = incoming.route.stream.unwrap_or(false);
    if incoming.route.operation == Operation::Probe {
        return Ok(Gated::Over(End::Local(local::probe())));
    }
    let identified = identify(cx, incoming)?;
    open.record.principal = Some(identified.caller.principal);
    cx.link.asked_with(identified.shown);
    if identified.incoming.route.operation == Operation::Models {
        gate::limit::limit(cx, &identified.caller, Operation::Models, open).await?;
        return local::models(cx, &identified).map(|answer| Gated::Over(End::Local(answer)));
    }
    if identified.incoming.route.operation == Operation::Usage {
        return Ok(Gated::Over(End::Local(local::usage(cx, &identified.caller))));
    }
    let class = Class::of(&open.record.request_class);
    gate::queue::shed(cx, class)?;
    open.occupy(gate::queue::slot(cx, &cx.shard.slots, identified.caller.principal, class, FULL).await?);
    gate::bodies::keep(cx, identified.caller.principal, open)?;
    if cx.head.expect_continue && cx.pipe.received() == 0 {
        Box::pin(relay::interim::say_continue(cx, client)).await;
    }
    if identified.incoming.route.operation.is_of_objects() {
        return Box::pin(objects(cx, client, identified, open)).await.map(Gated::Over);
    }
    let mut routed = gate::route::route(cx, identified).await?;
    if cx.serving.registry.objects.any_sticky() {
        Box::pin(gate::sticky::stick(cx, &mut routed)).await?;
    }
    open.record.model_requested = inline_text(&routed.model);
    gate::turns::watch(cx, &routed, open);
    let admitted = gate::admit::admit(cx, routed, open).await?;
    cx.link.admitted();
    Ok(Gated::Admitted(admitted))
}

/// Batches and files: they stay with the account that made them, and a batch is booked over several requests.
async fn objects<'c>(
    cx: &Exchange<'c>,
    client: &mut Writer,
    identified: Identified<'c>,
    open: &mut OpenRecord,
) -> Result<End, Fault> {
    let operation = identified.incoming.route.operation;
    if operation == Operation::FileUpload {
        // It goes through as it comes, for as long as an exchange may take, and is asked of one account.
        cx.pipe.keep_no_longer();
        if !cx.pipe.is_ended() {
            cx.link.deadlines.arm(Awaited::Read, cx.shard.sweeper.in_(cx.serving.limits.stream_max_timeout));
        }
    }
    let routed = gate::objects::route(cx, identified, open).await?;
    let admitted = gate::admit::admit(cx, routed, open).await?;
    match ask(cx, client, &mut Some(admitted), open).await? {
        End::Relayed(outcome, _) => Ok(End::Relayed(outcome, relay::objects::booked(cx, open))),
        end => Ok(end),
    }
}

/// Asks the upstreams until one has answered. What is `admitted` is lent, not given: a future keeps two places for a value that it
/// is given.
async fn ask<'c>(
    cx: &Exchange<'c>,
    client: &mut Writer,
    admitted: &mut Option<Admitted<'c>>,
    open: &mut OpenRecord,
) -> Result<End, Fault> {
    let nobody = || Fault::new(Room::Pool, FaultKind::Internal, "nobody is left to ask");
    let mut tries = pool::Tries::new(cx, admitted.as_ref().ok_or_else(nobody)?);
    loop {
        let lease = match pool::lease(cx, admitted, &mut tries, open).await {
            Ok(lease) => lease,
            Err(fault) => match Box::pin(relay::last_word(cx, client, tries, fault, open)).await? {
                Relayed::Done(outcome, metered) => return Ok(End::Relayed(outcome, metered)),
                _ => return Err(nobody()),
            },
        };
        // In a place of its own: within the walk it would be moved along with it, several times.
        let back = match runtime::boxed(|| relay::exchange(cx, lease, &tries, client, open)).await? {
            Relayed::Done(outcome, metered) => return Ok(End::Relayed(outcome, metered)),
            Relayed::Cut(fault, metered) => return Ok(End::Cut(fault, metered)),
            Relayed::Again(back) => {
                tries.stale();
                back
            }
            Relayed::Repair(back) => {
                tries.repair();
                back
            }
            Relayed::Failed(back, failure, shown) => {
                tries.failed(cx, &back.routed, failure, shown);
                back
            }
        };
        *admitted = Some(back);
    }
}

fn draft(cx: &Exchange<'_>) -> Box<Record> {
    let label = |known| cx.header(known).map(inline).unwrap_or_default();
    let mut record = Box::<Record>::default();
    record.request_id = cx.id;
    record.started_at = cx.began_at();
    record.session = label(Known::ClaudeCodeSessionId);
    record.agent = label(Known::ClaudeCodeAgentId);
    record.request_class = label(Known::ClaudeCodeRequestClass);
    record.config_version = cx.serving.version;
    record.price_version = inline_text(cx.serving.prices.version());
    record
}

async fn refuse(cx: &Exchange<'_>, client: &mut Writer, mut open: OpenRecord, fault: Fault, used: Metered) {
    let outcome = settle::outcome_of(&fault);
    open.record.refused_by = Some(fault.kind.label());
    tracing::debug!(request = %cx.id, room = ?fault.room, reason = fault.kind.label(), text = %fault.text, "refused");
    if fault.close {
        cx.link.closing.set(true);
    }
    if fault.kind != FaultKind::ClientGone && !cx.link.gone.get() {
        let answer = errors::answer(open.record.format, &fault, cx.id, clock::unix().seconds());
        say(cx, client, &mut open, &answer).await;
    }
    open.close(outcome, used);
}

/// Writes an answer of our own. The connection is kept only if the rest of the body is short enough to be read and forgotten.
async fn say(cx: &Exchange<'_>, client: &mut Writer, open: &mut OpenRecord, answer: &Answer) -> bool {
    if cx.body_is_in_the_way() {
        cx.link.closing.set(true);
    }
    let framing = Framing { close: cx.link.closing.get(), head_only: cx.head.method == Method::Head };
    cx.link.deadlines.arm(Awaited::Write, cx.shard.sweeper.in_(cx.serving.limits.idle_timeout));
    let sent = answer::send(client, answer, cx.id, framing).await;
    open.record.status = answer.status;
    open.record.request_bytes = cx.pipe.received();
    open.record.response_bytes = *sent.as_ref().unwrap_or(&0);
    sent.is_ok()
}
