//! Rate limits at the gate: hold a place in each limit of the caller, all or none, or say how long to wait.

use super::{
    Caller,
    rates::{RateAsk, RateDecision},
};
use crate::{
    data::{
        edge::incoming::Exchange,
        gate::admit::{BYTES_PER_TOKEN, announced_bytes},
        settle::OpenRecord,
    },
    kernel::{
        account::Scope,
        fault::{Fault, FaultKind, Room},
        limits::{RATE_WAIT, TICK},
        record::Operation,
        snapshot::RateLimit,
    },
    sys::{clock, runtime},
};

/// Holds a place in every limit of a caller. Only messages have a size; everything else is a request, no more.
pub async fn limit(
    cx: &Exchange<'_>,
    caller: &Caller<'_>,
    operation: Operation,
    open: &mut OpenRecord,
) -> Result<(), Fault> {
    match attempt(cx, caller, operation, true, open) {
        Some(decided) => decided,
        // Rare, and by far larger than what comes before.
        None => Box::pin(wait(cx, caller, operation, open)).await,
    }
}

async fn wait(
    cx: &Exchange<'_>,
    caller: &Caller<'_>,
    operation: Operation,
    open: &mut OpenRecord,
) -> Result<(), Fault> {
    let deadline = clock::mono().after(RATE_WAIT);
    loop {
        runtime::sleep(TICK).await;
        if let Some(decided) = attempt(cx, caller, operation, clock::mono() < deadline, open) {
            return decided;
        }
    }
}

/// None: not now, ask again at the next tick.
fn attempt(
    cx: &Exchange<'_>,
    caller: &Caller<'_>,
    operation: Operation,
    may_wait: bool,
    open: &mut OpenRecord,
) -> Option<Result<(), Fault>> {
    if caller.rate_limits(cx.serving).next().is_none() {
        return Some(Ok(()));
    }
    let ask = RateAsk {
        requests_only: operation != Operation::Messages,
        input_tokens: announced_bytes(cx) / BYTES_PER_TOKEN,
    };
    match cx.shard.rates.borrow_mut().admit(caller.rate_limits(cx.serving), ask, clock::mono(), may_wait) {
        RateDecision::Admitted(held) => {
            open.hold_rates(held);
            Some(Ok(()))
        }
        RateDecision::Wait => None,
        RateDecision::Refused(place, seconds) => Some(Err(refused(caller.rate_limits(cx.serving).nth(place), seconds))),
    }
}

fn refused(limit: Option<&RateLimit>, seconds: u64) -> Fault {
    let Some(RateLimit { limiter, .. }) = limit else {
        return Fault::new(Room::Gate, FaultKind::Internal, "a limit refused that nobody asked");
    };
    limiter.note_refusal(clock::unix().0);
    let whose = match limiter.scope {
        Scope::Org => "this organization",
        Scope::Team(_) => "this team",
        Scope::Project(_) => "this project",
        Scope::User(_) => "this user",
        Scope::Key(_) => "this key",
        Scope::Session(_) => "this session",
    };
    let text = format!(
        "rate limit reached: {} {} for {whose}; try again in {seconds} s",
        limiter.limit(),
        limiter.measure.in_words()
    );
    Fault::new(Room::Gate, FaultKind::RateLimited { retry_after_seconds: seconds as u32 }, text)
}
