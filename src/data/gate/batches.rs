//! A batch is admitted as all of its requests together: the key must be allowed each model, and the budgets hold the most that
//! all can cost, at batch prices. That stays booked, durably, until somebody reads the results to their end; then what they say
//! is booked instead, on who made the batch and in the window it was made in. So batches are no cheaper way past a budget.

use super::{
    Identified,
    admit::whole_body,
    leases::{Ask, BUDGETS_PER_REQUEST_MAX, Decision, Reservation, Touch},
    route::body_fault,
    standings::{Moment, Who},
};
use crate::{
    data::{
        edge::{
            incoming::Exchange,
            pipe::{Cursor, Next},
        },
        settle::{Held, Metered, OpenRecord},
    },
    dialect::anthropic::batch::{Asked, BatchScanner},
    kernel::{
        account::Mode,
        fault::{Fault, FaultKind, Room, SpentBudget},
        limits::{BUDGET_WAIT, TICK},
        models::Target,
        money::Nanos,
        objects::Owned,
        pricing::Rates,
        record::inline,
        snapshot::{Budget, Reserve},
        usage::{Usage, UsageSource},
    },
    sys::{clock, runtime},
};
use arrayvec::ArrayVec;
use std::cell::Cell;

/// After so many bytes others get their turn. Bytes.
const PAUSE_EVERY: u64 = 1024 * 1024;

/// Reads what is asked for, holds what it can cost, and says which accounts serve all of its models.
pub async fn admit(cx: &Exchange<'_>, identified: &Identified<'_>, open: &mut OpenRecord) -> Result<u64, Fault> {
    let all = read(cx).await?;
    let mut able = u64::MAX;
    for asked in &all {
        able &= serving(cx, identified, &asked.model)?;
    }
    let Some(first) = cx.serving.models.accounts().get(able.trailing_zeros() as usize) else {
        let text = "requests: no account of this gateway serves all models of this batch under the names given; send one \
                    batch for each model";
        return Err(Fault::new(Room::Gate, FaultKind::NotFound, text));
    };
    let rates = |account: &Target, model: &str| {
        let upstream = cx.serving.upstream(account.upstream).map_or("", |u| &u.name);
        cx.serving.prices.rates(upstream, model, model)
    };
    // Whichever account it ends at.
    let accounts = cx.serving.models.accounts().iter().enumerate().filter(|(place, _)| able >> (place & 63) & 1 == 1);
    let at = |account: &Target| all.iter().map(|asked| bound(asked, &rates(account, &asked.model))).sum::<Nanos>();
    let bound = accounts.map(|(_, account)| at(account)).max().unwrap_or_default();
    let dearest = all.iter().max_by_key(|asked| self::bound(asked, &rates(first, &asked.model)));
    let model = dearest.map_or("", |asked| asked.model.as_str());
    open.record.model_requested = inline(model.as_bytes());
    let reservation = hold(cx, identified, bound).await?;
    let kind = cx.shard.expectations.borrow().kind(identified.caller.principal, "batches");
    let rates = rates(first, model);
    open.hold(Held { reservation, rates, ceiling: rates.ceiling(), kind, bound });
    Ok(able)
}

/// The most that the requests of one model can cost.
fn bound(asked: &Asked, rates: &Rates) -> Nanos {
    let most = rates.output_tokens_max();
    let capped = asked.max_tokens.min((asked.requests - asked.unlimited).saturating_mul(most));
    rates.batch_bound(asked.bytes, capped.saturating_add(asked.unlimited.saturating_mul(most)))
}

async fn read(cx: &Exchange<'_>) -> Result<Vec<Asked>, Fault> {
    whole_body(cx).await?;
    let (mut scanner, mut cursor, over) = (BatchScanner::default(), Cursor::default(), Cell::new(false));
    let mut pause_at = PAUSE_EVERY;
    loop {
        match cx.pipe.next(cursor, &over).await {
            Next::Part(part) => {
                scanner.feed(part.bytes());
                cursor.pass(&part);
            }
            Next::End => break,
            Next::Failed(failure) => return Err(body_fault(cx, failure)),
            Next::Stopped => return Err(Fault::new(Room::Gate, FaultKind::Internal, "the body was not to be read")),
        }
        if cursor.offset >= pause_at {
            pause_at = cursor.offset + PAUSE_EVERY;
            runtime::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
    if !cx.pipe.is_whole_so_far() {
        return Err(Fault::new(Room::Gate, FaultKind::Overloaded, "too many large requests at once; try again"));
    }
    scanner.finish().map_err(|error| Fault::new(Room::Gate, FaultKind::BadBody, error.as_str()))
}

/// The accounts that serve a model under the name the client gave it: the body is not edited. As bits.
fn serving(cx: &Exchange<'_>, identified: &Identified<'_>, model: &str) -> Result<u64, Fault> {
    let table = &cx.serving.models;
    let listed = table.get(model).map_or(model, |m| &m.id);
    if !identified.caller.models.allows(model) && !identified.caller.models.allows(listed) {
        return Err(Fault::new(Room::Gate, FaultKind::Denied, format!("this key may not use model {model}")));
    }
    let Some(targets) = table.targets(model) else {
        let text = format!("model: {model} is not served by this gateway");
        return Err(Fault::new(Room::Gate, FaultKind::NotFound, text));
    };
    let same = |target: &Target| target.model.as_deref().is_none_or(|own| own == model);
    let bits = table
        .accounts()
        .iter()
        .enumerate()
        .filter(|(_, account)| targets.iter().any(|target| target.upstream == account.upstream && same(target)));
    Ok(bits.fold(0, |bits, (place, _)| bits | 1 << (place & 63)))
}

/// Holds the bound on every budget, whatever `budgets.reserve` says: what many requests cost together is not guessed.
async fn hold(cx: &Exchange<'_>, identified: &Identified<'_>, bound: Nanos) -> Result<Reservation, Fault> {
    let now = clock::unix().seconds();
    let budgets = identified.caller.budgets(cx.serving);
    let touches = budgets.filter_map(|b| Some((Touch { account: b.account_at(now)?, mode: b.mode }, b)));
    let touches: ArrayVec<(Touch<'_>, &Budget), BUDGETS_PER_REQUEST_MAX> =
        touches.take(BUDGETS_PER_REQUEST_MAX).collect();
    if touches.is_empty() {
        return Ok(Reservation::default());
    }
    let ask = Ask { bound, expected: bound, exact: true };
    let deadline = clock::mono().after(BUDGET_WAIT);
    loop {
        let accounts = touches.iter().map(|(touch, _)| *touch);
        let decision = cx.shard.leases.borrow_mut().admit(accounts, ask, Reserve::Strict, clock::unix());
        match decision {
            Decision::Admitted(reservation) => return Ok(reservation),
            Decision::Spent(place) => return Err(too_dear(&touches, place, bound)),
            Decision::Wait if clock::mono() >= deadline => {
                let text = "this budget is nearly spent and other requests have its last room; try again shortly";
                return Err(Fault::new(Room::Gate, FaultKind::BudgetBusy, text));
            }
            Decision::Wait => runtime::sleep(TICK).await,
        }
        if let Some(fault) = cx.link.revocation(Room::Gate) {
            return Err(fault);
        }
        if cx.link.gone.get() {
            return Err(Fault::new(Room::Gate, FaultKind::ClientGone, "the client went away"));
        }
    }
}

fn too_dear(touches: &[(Touch<'_>, &Budget)], place: usize, bound: Nanos) -> Fault {
    let Some((touch, budget)) = touches.get(place) else {
        return Fault::new(Room::Gate, FaultKind::Internal, "a budget refused that nobody asked");
    };
    let left = touch.account.amount().minus(touch.account.spent_about());
    let room = match left.0 > 0 {
        true => format!(
            "this batch can cost up to ${bound} and ${left} is left: send fewer requests at once, or a smaller max_tokens. "
        ),
        false => String::new(),
    };
    let spent = SpentBudget {
        period: touch.account.period,
        resets_at: touch.account.window.resets_at(),
        pooled: budget.pooled,
        message: format!("{room}{}", budget.blocked_message),
        amount: touch.account.amount(),
    };
    let text = format!("budget {} has no room for this batch", touch.account.scope);
    Fault::new(Room::Gate, FaultKind::BudgetSpent(Box::new(spent)), text)
}

/// What a batch that was made is booked with until its results are read.
pub fn until_results(open: &OpenRecord) -> Metered {
    let usage = Usage { batch: true, ..Usage::default() };
    Metered { usage, source: UsageSource::Estimated, cost: Some(open.reserved()) }
}

/// Touches the accounts that the batch was booked on, so that what its results say can be booked there instead. Nothing is
/// asked of them: they may be spent, and all the more the correction is due.
pub fn touch_again(cx: &Exchange<'_>, owned: &Owned, open: &mut OpenRecord) {
    let maker = cx.serving.registry.names.principal_of(owned.principal);
    let who = Who { key: &maker.key, user: &maker.user, team: &maker.team, project: &maker.project };
    let moment = Moment { mono: clock::mono(), unix_seconds: clock::unix().seconds() };
    // Where so many callers are known that there is no room for this one, the ledger alone knows better.
    let standing = cx.shard.standings.borrow_mut().of(who, cx.serving, moment).ok();
    let accounts = standing
        .iter()
        .flat_map(|standing| &standing.budgets)
        .filter_map(|b| Some(Touch { account: b.account_at(owned.made_at.seconds())?, mode: Mode::Soft }));
    let ask = Ask { bound: Nanos::ZERO, expected: Nanos::ZERO, exact: true };
    let decision = cx.shard.leases.borrow_mut().admit(accounts, ask, Reserve::Strict, clock::unix());
    let reservation = if let Decision::Admitted(reservation) = decision { reservation } else { Reservation::default() };
    let kind = cx.shard.expectations.borrow().kind(owned.principal, "batches");
    let rates = cx.serving.prices.rates("", "", "");
    open.hold(Held { reservation, rates, ceiling: rates.ceiling(), kind, bound: Nanos::ZERO });
}
