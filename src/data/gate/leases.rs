//! The shard's side of the budgets (design.md §5): leases drawn from the accounts, reservations made from the leases.
//!
//! Sans-io: accounts and `now` in, decisions out. Every decision is plain arithmetic on this shard's own numbers unless a
//! lease runs dry; only then are the account's shared atomics touched. All accounts of a request are reserved, or none.

use crate::{
    data::spare::Spare,
    kernel::{
        account::{Account, AccountId, Denial, Mode},
        money::Nanos,
        snapshot::Reserve,
        time::UnixMs,
    },
};
use std::sync::Arc;

/// Budgets that one request can touch, at most: session, key, user, project, team and org, each with four periods.
pub const BUDGETS_PER_REQUEST_MAX: usize = 24;
/// Ticks without a request after which an account is forgotten: a minute.
const FORGOTTEN_TICKS: u64 = 3000;
/// Ticks a lease lies unused before it flows back.
const IDLE_TICKS: u64 = 10;
/// How long a recall asks the other shards to give back, milliseconds.
const RECALL_MS: u64 = 200;
/// A lease is this share of the free room, so that slices shrink as the room does.
const SLICE_SHARE: i64 = 8;

/// What a request may cost, as seen at the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// At most.
    pub bound: Nanos,
    /// Usually.
    pub expected: Nanos,
    /// All is known that makes the bound tight.
    pub exact: bool,
}

/// One account that a request touches.
#[derive(Clone, Copy)]
pub struct Touch<'a> {
    /// The account.
    pub account: &'a Arc<Account>,
    /// What happens at its cap.
    pub mode: Mode,
}

/// What is held back for one request. It goes back through `LeaseBook::settle`, exactly once.
#[must_use = "a reservation that is not settled holds money for ever"]
#[derive(Debug, Default)]
pub struct Reservation {
    holds: Vec<Hold>,
    /// Its name at accounts where it has the last place.
    token: u64,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    slot: u32,
    serial: bool,
    amount: i64,
}

impl Reservation {
    /// The largest amount held on one account.
    pub fn amount(&self) -> Nanos {
        Nanos(self.holds.iter().map(|h| h.amount).max().unwrap_or(0))
    }
}

/// The decision on a request.
#[derive(Debug)]
pub enum Decision {
    /// Go on.
    Admitted(Reservation),
    /// Not now: other shards are giving back, or another request has the last room. Ask again at the next tick.
    Wait,
    /// This account's cap is reached: the touch's place in the list.
    Spent(usize),
}

struct Slot {
    account: Arc<Account>,
    lease: i64,
    reserved: i64,
    /// Reservations not settled yet; the last room's may be of nothing.
    running: u32,
    used_at: u64,
    utilization: f64,
}

/// All leases of a shard.
pub struct LeaseBook {
    shard: usize,
    shards: i64,
    slots: Vec<Option<Slot>>,
    free_slots: Vec<u32>,
    places: Vec<Option<u32>>,
    spare: Spare<Vec<Hold>>,
    tick: u64,
    next_token: u64,
}

impl LeaseBook {
    /// An empty book.
    pub fn new(shard: usize, shards: usize) -> Self {
        Self {
            shard,
            shards: shards.max(1) as i64,
            slots: Vec::new(),
            free_slots: Vec::new(),
            places: Vec::new(),
            spare: Spare::default(),
            tick: 0,
            next_token: 1 + ((shard as u64) << 48),
        }
    }

    fn place(&mut self, account: &Arc<Account>) -> u32 {
        let AccountId(id) = account.id;
        let id = id as usize;
        if self.places.len() <= id {
            self.places.resize(id + 1, None);
        }
        if let Some(place) = self.places[id] {
            return place;
        }
        let slot = Slot {
            account: account.clone(),
            lease: 0,
            reserved: 0,
            running: 0,
            used_at: self.tick,
            utilization: utilization_of(account).unwrap_or(0.0),
        };
        let place = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[place as usize] = Some(slot);
        self.places[id] = Some(place);
        place
    }

    /// Decides on a request. Nothing is held unless the decision is `Admitted`.
    pub fn admit<'a>(
        &mut self,
        touches: impl IntoIterator<Item = Touch<'a>>,
        ask: Ask,
        reserve: Reserve,
        now: UnixMs,
    ) -> Decision {
        let mut reservation = Reservation { token: self.next_token, holds: self.spare.list() };
        self.next_token += 1;
        let (mut wait, mut spent) = (false, None);
        for (order, touch) in touches.into_iter().take(BUDGETS_PER_REQUEST_MAX).enumerate() {
            let place = self.place(touch.account);
            match self.hold(place, touch.mode, ask, reserve, now, reservation.token) {
                Ok(hold) => reservation.holds.push(hold),
                Err(Refusal::Wait) => wait = true,
                // Of several, the one that resets last is what the caller must hear of (contract.md §2.4).
                Err(Refusal::Spent) => spent = spent.max(Some((touch.account.window.end, order))),
            }
        }
        if !wait && spent.is_none() {
            self.publish(&reservation);
            return Decision::Admitted(reservation);
        }
        self.undo(reservation);
        spent.map_or(Decision::Wait, |(_, order)| Decision::Spent(order))
    }

    /// Shows what is reserved, for the other shards' and the operator's eyes.
    fn publish(&self, reservation: &Reservation) {
        for hold in &reservation.holds {
            if let Some(slot) = self.slots.get(hold.slot as usize).and_then(Option::as_ref) {
                slot.account.publish_reserved(self.shard, Nanos(slot.reserved));
            }
        }
    }

    fn hold(
        &mut self,
        place: u32,
        mode: Mode,
        ask: Ask,
        reserve: Reserve,
        now: UnixMs,
        token: u64,
    ) -> Result<Hold, Refusal> {
        let (shard, shards, tick) = (self.shard, self.shards, self.tick);
        let Some(slot) = self.slots.get_mut(place as usize).and_then(Option::as_mut) else { return Err(Refusal::Wait) };
        slot.used_at = tick;
        let bound = ask.bound.0.max(0);
        let amount = match reserve {
            Reserve::Strict => bound,
            Reserve::Expected => ask.expected.0.clamp(0, bound),
        };
        let full = Hold { slot: place, amount, serial: false };
        slot.cover_overrun(shard);
        if slot.lease < bound {
            let slice = slot.account.free().0 / (SLICE_SHARE * shards);
            slot.lease += slot.account.draw(shard, Nanos((bound - slot.lease).max(slice))).0;
        }
        if slot.lease >= bound.max(1) || mode == Mode::Soft {
            slot.take(full);
            return Ok(full);
        }
        if slot.account.is_handed_over() {
            // The process that has replaced this one has the room, and is asked for it; what is spent is its business, too.
            slot.account.want(Nanos(bound));
            slot.account.recall(now.0 + RECALL_MS);
            return Err(Refusal::Wait);
        }
        // The room at hand is smaller than what the request can cost. What is true of the account as a whole?
        slot.account.recall(now.0 + RECALL_MS);
        let Some(spent) = slot.account.spent() else { return Err(Refusal::Wait) };
        let left = slot.account.amount().minus(spent);
        if left.0 <= 0 || (reserve == Reserve::Strict && left.0 < bound) {
            if !ask.exact {
                return Err(Refusal::Spent);
            }
            slot.account.note_denial(Denial { at_ms: now.0 as i64, needed: ask.bound, spent });
            return Err(Refusal::Spent);
        }
        // Room that other shards hold unreserved flows back within a tick or two; room that is reserved may or may not. What
        // running requests have reserved is as good as spent: the last one in may overrun what is left beside it, once.
        let unreserved = left.minus(slot.account.reserved());
        // A bound that will get tighter is no reason to take the one place and all room at hand.
        if !ask.exact
            || unreserved.0 >= bound
            || unreserved.0 <= 0
            || reserve == Reserve::Strict
            || !slot.account.enter_serial(token)
        {
            return Err(Refusal::Wait);
        }
        let last = Hold { slot: place, amount: amount.min(slot.lease.max(0)), serial: true };
        slot.take(last);
        Ok(last)
    }

    fn undo(&mut self, reservation: Reservation) {
        for hold in &reservation.holds {
            self.release(*hold, 0, reservation.token);
        }
        self.spare.keep(reservation.holds);
    }

    /// Settles a reservation with what the request really cost.
    pub fn settle(&mut self, reservation: Reservation, cost: Nanos) {
        for hold in &reservation.holds {
            self.release(*hold, cost.0, reservation.token);
        }
        self.spare.keep(reservation.holds);
    }

    fn release(&mut self, hold: Hold, cost: i64, token: u64) {
        let shard = self.shard;
        let Some(slot) = self.slots.get_mut(hold.slot as usize).and_then(Option::as_mut) else { return };
        slot.running -= 1;
        slot.reserved -= hold.amount;
        slot.lease += hold.amount - cost;
        slot.account.settle(shard, Nanos(cost));
        slot.account.publish_reserved(shard, Nanos(slot.reserved));
        if slot.lease < 0 {
            // An overrun is everybody's: book it where all shards see it, at once.
            slot.account.give_back(shard, Nanos(slot.lease));
            slot.lease = 0;
        }
        if hold.serial {
            slot.account.leave_serial(token);
        }
    }

    /// Lets idle and recalled leases flow back, refreshes what answers say about utilization, forgets closed accounts.
    /// Returns what this shard holds in all.
    pub fn tick(&mut self, now: UnixMs) -> Nanos {
        self.tick += 1;
        let (shard, tick) = (self.shard, self.tick);
        let mut held = 0;
        for (number, place) in self.slots.iter_mut().enumerate() {
            let Some(slot) = place else { continue };
            let idle = tick - slot.used_at;
            if slot.lease != 0 && (slot.account.recalled(now.0) || idle > IDLE_TICKS) {
                slot.account.give_back(shard, Nanos(slot.lease));
                slot.lease = 0;
            }
            // What nobody has asked for lately is looked at again when somebody does.
            if idle <= IDLE_TICKS {
                slot.utilization = utilization_of(&slot.account).unwrap_or(slot.utilization);
            }
            held += slot.lease + slot.reserved;
            let over = idle > FORGOTTEN_TICKS || !slot.account.window.contains(now.seconds());
            if slot.running == 0 && slot.lease == 0 && over {
                self.places[slot.account.id.0 as usize] = None;
                *place = None;
                self.free_slots.push(number as u32);
            }
        }
        Nanos(held)
    }

    /// The share of an account that is spent, as of the last tick.
    pub fn utilization(&mut self, account: &Arc<Account>) -> f64 {
        let (place, tick) = (self.place(account), self.tick);
        let Some(slot) = self.slots.get_mut(place as usize).and_then(Option::as_mut) else { return 0.0 };
        if tick - slot.used_at > IDLE_TICKS {
            slot.utilization = utilization_of(&slot.account).unwrap_or(slot.utilization);
        }
        slot.utilization
    }
}

impl Slot {
    /// Somebody's overrun has taken more than was free: what this shard holds unreserved belongs to it first.
    fn cover_overrun(&mut self, shard: usize) {
        let missing = self.account.free().0.saturating_neg();
        if missing > 0 && self.lease > 0 {
            let back = self.lease.min(missing);
            self.account.give_back(shard, Nanos(back));
            self.lease -= back;
        }
    }

    fn take(&mut self, hold: Hold) {
        self.lease -= hold.amount;
        self.reserved += hold.amount;
        self.running += 1;
    }
}

/// The share of an account that is spent; `None` while money is being moved.
fn utilization_of(account: &Account) -> Option<f64> {
    account.spent().map(|spent| spent.0 as f64 / account.amount().0.max(1) as f64)
}

enum Refusal {
    Wait,
    Spent,
}

#[cfg(test)]
mod tests;
