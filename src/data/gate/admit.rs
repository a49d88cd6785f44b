//! Admission: hold a place in every rate limit and reserve on every account the request touches, all or none, and put the
//! opening note on its way to the journal. What comes out is the permit that the pool and the relay ask for.

use super::{
    Routed,
    expect::Kind,
    leases::{Ask, Decision, Reservation, Touch},
    limit::limit,
    prices::{Prices, prices_of},
    route::body_fault,
};
use crate::{
    data::{
        edge::{incoming::Exchange, pipe::wanted},
        settle::{Held, OpenRecord},
    },
    kernel::{
        fault::{Fault, FaultKind, Room, SpentBudget},
        limits::{BUDGET_WAIT, TICK},
        money::Nanos,
        pricing::Ceiling,
        record::{Open, Operation, inline_text},
        snapshot::Budget,
        usage::Usage,
    },
    sys::{clock, runtime},
    wire::h1::RequestBody,
};

/// Bytes of a prompt that make a token, roughly; for estimates, never for bounds.
pub const BYTES_PER_TOKEN: u64 = 4;

/// A request that may go upstream. Only `admit` makes one.
pub struct Admitted<'c> {
    /// What it asks for, and of whom.
    pub routed: Routed<'c>,
    _permit: Permit,
}

struct Permit(());

/// Admits a request, or says why not.
pub async fn admit<'c>(cx: &Exchange<'c>, routed: Routed<'c>, open: &mut OpenRecord) -> Result<Admitted<'c>, Fault> {
    limit(cx, &routed.identified.caller, routed.identified.incoming.route.operation, open).await?;
    let booked = book(cx, &routed, open).await;
    if booked.is_err() {
        open.undo_rates();
    }
    booked.map(|()| Admitted { routed, _permit: Permit(()) })
}

/// Reserves on the budgets, and announces the request.
async fn book(cx: &Exchange<'_>, routed: &Routed<'_>, open: &mut OpenRecord) -> Result<(), Fault> {
    let prices = prices_of(cx, routed);
    let free = routed.identified.incoming.route.operation != Operation::Messages;
    if !free {
        match hold_now(cx, routed, &prices) {
            Some(held) => open.hold(held),
            // Rare, and by far larger than what comes before.
            None => open.hold(Box::pin(hold(cx, routed, &prices)).await?),
        }
    }
    let estimate = if free { Usage::default() } else { prompt_estimate(cx) };
    let note = Open {
        request_id: cx.id,
        started_at: open.record.started_at,
        principal: routed.identified.caller.principal,
        session: open.record.session,
        format: open.record.format,
        operation: open.record.operation,
        model_requested: inline_text(&routed.model),
        upstream: routed.first().and_then(|t| cx.serving.upstream(t.upstream)).map(|u| u.name_id).unwrap_or_default(),
        request_bytes: announced_bytes(cx),
        reserved: open.reserved(),
        estimate,
        // Of a batch nothing is known but the bound, which is held.
        estimate_cost: if free { open.reserved() } else { prices.dearest.cost(&estimate) },
    };
    if !open.announce(note) {
        return Err(Fault::new(Room::Gate, FaultKind::Overloaded, "the journal is behind; try again"));
    }
    Ok(())
}

/// What a prompt is booked with as long as nobody said better.
pub fn prompt_estimate(cx: &Exchange<'_>) -> Usage {
    Usage { input: announced_bytes(cx) / BYTES_PER_TOKEN, ..Usage::default() }
}

/// The body's size as announced, or as received so far.
pub fn announced_bytes(cx: &Exchange<'_>) -> u64 {
    match cx.head.body {
        RequestBody::Length(bytes) => bytes,
        _ => cx.pipe.received(),
    }
}

/// The most a request can cost, whichever of its targets serves it: every byte of it a token of input, and `max_tokens`, or what the model gives at most while
/// that is not known.
pub fn bound(cx: &Exchange<'_>, ceiling: &Ceiling) -> Nanos {
    let input = match cx.head.body {
        RequestBody::Chunked if !cx.pipe.is_ended() => cx.serving.limits.body_bytes_max,
        _ => announced_bytes(cx),
    };
    let most = ceiling.output_tokens_max();
    let output = max_tokens(cx).map_or(most, |asked| asked.min(most));
    ceiling.bound(input, output)
}

fn ask(cx: &Exchange<'_>, ceiling: &Ceiling, kind: Kind) -> Ask {
    let bound = bound(cx, ceiling);
    let expected = cx.shard.expectations.borrow().expected(kind, bound);
    Ask { bound, expected, exact: cx.pipe.is_ended() }
}

fn max_tokens(cx: &Exchange<'_>) -> Option<u64> {
    let scanner = cx.pipe.scanner();
    let value = scanner.value(wanted::MAX_TOKENS)?;
    std::str::from_utf8(value.raw).ok()?.parse().ok()
}

/// The accounts of a request, and whose they are. It is booked at the moment it began, so that is the window that must have room.
fn touches<'c>(cx: &'c Exchange<'_>, routed: &'c Routed<'_>) -> impl Iterator<Item = (Touch<'c>, &'c Budget)> {
    let now = cx.began_at().seconds();
    let budgets = routed.identified.caller.budgets(cx.serving);
    budgets.filter_map(move |b| Some((Touch { account: b.account_at(now)?, mode: b.mode }, b)))
}

/// Reserves where there is room at once.
fn hold_now(cx: &Exchange<'_>, routed: &Routed<'_>, prices: &Prices) -> Option<Held> {
    let kind = kind(cx, routed);
    let Prices { dearest: rates, ceiling } = *prices;
    let asked = ask(cx, &ceiling, kind);
    let accounts = touches(cx, routed).map(|(touch, _)| touch);
    let decision = cx.shard.leases.borrow_mut().admit(accounts, asked, cx.serving.reserve, clock::unix());
    let Decision::Admitted(reservation) = decision else { return None };
    Some(Held { reservation, rates, ceiling, kind, bound: asked.bound })
}

async fn hold(cx: &Exchange<'_>, routed: &Routed<'_>, prices: &Prices) -> Result<Held, Fault> {
    let kind = kind(cx, routed);
    let Prices { dearest: rates, ceiling } = *prices;
    let (reservation, asked) = reserve(cx, &ceiling, kind, routed).await?;
    Ok(Held { reservation, rates, ceiling, kind, bound: asked.bound })
}

fn kind(cx: &Exchange<'_>, routed: &Routed<'_>) -> Kind {
    cx.shard.expectations.borrow().kind(routed.identified.caller.principal, &routed.model)
}

/// Reserves at once where there is room. Where there is little, the whole body is awaited, since `max_tokens` comes last and
/// makes the bound tight; then the request waits its turn, for a bounded time.
async fn reserve(
    cx: &Exchange<'_>,
    ceiling: &Ceiling,
    kind: Kind,
    routed: &Routed<'_>,
) -> Result<(Reservation, Ask), Fault> {
    let mut deadline = None;
    let mut exact = false;
    loop {
        let asked = ask(cx, ceiling, kind);
        let accounts = touches(cx, routed).map(|(touch, _)| touch);
        let decision = cx.shard.leases.borrow_mut().admit(accounts, asked, cx.serving.reserve, clock::unix());
        match decision {
            Decision::Admitted(reservation) => return Ok((reservation, asked)),
            _ if !exact && !cx.pipe.is_ended() => {}
            Decision::Spent(place) => return Err(spent(touches(cx, routed).nth(place))),
            Decision::Wait => {
                let now = clock::mono();
                if now >= *deadline.get_or_insert(now.after(BUDGET_WAIT)) {
                    let text = "this budget is nearly spent and other requests have its last room; try again shortly";
                    return Err(Fault::new(Room::Gate, FaultKind::BudgetBusy, text));
                }
                runtime::sleep(TICK).await;
            }
        }
        if !exact {
            whole_body(cx).await?;
            exact = true;
            // Its turn begins when there is something to decide on; a slow body must not use it up.
            deadline = None;
        }
        if let Some(failure) = cx.pipe.failure() {
            return Err(body_fault(cx, failure));
        }
        if let Some(fault) = cx.link.revocation(Room::Gate) {
            return Err(fault);
        }
        if cx.link.gone.get() {
            return Err(Fault::new(Room::Gate, FaultKind::ClientGone, "the client went away"));
        }
    }
}

/// Waits for the whole body.
pub async fn whole_body(cx: &Exchange<'_>) -> Result<(), Fault> {
    if !cx.pipe.look_further() {
        return Err(Fault::new(Room::Gate, FaultKind::Overloaded, "too many large requests at once; try again"));
    }
    let failure = cx.pipe.until(|| cx.pipe.failure().map(Some).or(cx.pipe.is_ended().then_some(None))).await;
    cx.pipe.look_no_further();
    failure.map_or(Ok(()), |failure| Err(body_fault(cx, failure)))
}

fn spent(refused: Option<(Touch<'_>, &Budget)>) -> Fault {
    let Some((touch, budget)) = refused else {
        return Fault::new(Room::Gate, FaultKind::Internal, "a budget refused that nobody asked");
    };
    let spent = SpentBudget {
        period: touch.account.period,
        resets_at: touch.account.window.resets_at(),
        pooled: budget.pooled,
        message: budget.blocked_message.to_string(),
        amount: touch.account.amount(),
    };
    Fault::new(Room::Gate, FaultKind::BudgetSpent(Box::new(spent)), format!("budget {} is spent", touch.account.scope))
}
