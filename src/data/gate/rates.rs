//! The shard's side of the rate limits: slices taken from the limiters, requests admitted from the slices.
//!
//! Sans-io: limiters and `now` in, decisions out. A decision is plain arithmetic on this shard's own slice, unless the slice
//! runs dry or a new second begins; only then are the limiter's shared atomics touched. All limits of a request are held, or
//! none. A slice lasts no longer than its second, and a recalled one no longer than a tick, so the last tokens of a limit can
//! be used on any shard. **The stated bound**: what all shards together admit in any sixty seconds is never more than the
//! limit; input tokens are counted by estimate until the answer ends, output tokens when it has.

use crate::{
    data::spare::Spare,
    kernel::{
        limiter::{Limiter, LimiterId, Measure, Second},
        snapshot::RateLimit,
        time::MonoUs,
        usage::Usage,
    },
};
use std::sync::Arc;

/// Limits that one request can touch, at most: session, key, user, project, team and org, with four measures each.
pub const RATE_LIMITS_PER_REQUEST_MAX: usize = 24;
/// A slice is this share of what is free, so that slices shrink as the room does.
const SLICE_SHARE: i64 = 8;
/// How long a recall asks the other shards to bring back, microseconds.
const RECALL_US: u64 = 200_000;
/// Seconds without a request after which a shard forgets a limiter.
const IDLE_SECONDS: u64 = 120;
/// Parts of a weight.
const PERMILLE: u64 = 1000;

/// What a request asks of its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateAsk {
    /// Only requests per minute count.
    pub requests_only: bool,
    /// Prompt tokens, estimated.
    pub input_tokens: u64,
}

/// What is held for one request. It goes back through `RateBook::settle` or `RateBook::undo`, exactly once.
#[must_use = "a hold that is not settled keeps its place for ever"]
#[derive(Debug, Default)]
pub struct RateHolds {
    holds: Vec<Hold>,
}

#[derive(Clone, Copy, Debug)]
struct Hold {
    slot: u32,
    cache_read_permille: u16,
    amount: i64,
    taken: Second,
}

/// The decision on a request.
#[derive(Debug)]
pub enum RateDecision {
    /// Go on.
    Admitted(RateHolds),
    /// Other shards are bringing back what they do not use. Ask again at the next tick.
    Wait,
    /// This limit is reached: its place in the list, and whole seconds until there is room.
    Refused(usize, u64),
}

struct Slot {
    limiter: Arc<Limiter>,
    slice: i64,
    lent: i64,
    second: Second,
    running: u32,
}

/// All slices of a shard.
pub struct RateBook {
    shards: i64,
    slots: Vec<Option<Slot>>,
    free_slots: Vec<u32>,
    places: Vec<Option<u32>>,
    spare: Spare<Vec<Hold>>,
}

impl RateBook {
    /// An empty book of one of so many shards.
    pub fn new(shards: usize) -> Self {
        Self {
            shards: shards.max(1) as i64,
            slots: Vec::new(),
            free_slots: Vec::new(),
            places: Vec::new(),
            spare: Spare::default(),
        }
    }

    fn place(&mut self, limiter: &Arc<Limiter>, now: Second) -> u32 {
        let LimiterId(id) = limiter.id;
        let id = id as usize;
        if self.places.len() <= id {
            self.places.resize(id + 1, None);
        }
        if let Some(place) = self.places[id] {
            return place;
        }
        let place = self.free_slots.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[place as usize] =
            Some(Slot { limiter: limiter.clone(), slice: 0, lent: 0, second: now, running: 0 });
        self.places[id] = Some(place);
        place
    }

    /// Decides on a request; `patient`: it can wait for a tick or two. Nothing is held unless the decision is `Admitted`.
    pub fn admit<'a>(
        &mut self,
        limits: impl IntoIterator<Item = &'a RateLimit>,
        ask: RateAsk,
        now: MonoUs,
        patient: bool,
    ) -> RateDecision {
        let second = Second::of(now);
        let mut held = RateHolds { holds: self.spare.list() };
        let (mut wait, mut refused) = (false, None);
        for (order, limit) in limits.into_iter().take(RATE_LIMITS_PER_REQUEST_MAX).enumerate() {
            if ask.requests_only && limit.limiter.measure != Measure::Requests {
                continue;
            }
            let need = need(&limit.limiter, ask);
            let place = self.place(&limit.limiter, second);
            let shards = self.shards;
            let Some(slot) = self.slots.get_mut(place as usize).and_then(Option::as_mut) else { continue };
            match slot.take(need, now, shards) {
                Some(amount) => held.holds.push(Hold {
                    slot: place,
                    cache_read_permille: limit.cache_read_permille,
                    amount,
                    taken: second,
                }),
                None if patient && slot.limiter.lent() > slot.lent => {
                    slot.limiter.recall(now.0 + RECALL_US);
                    wait = true;
                }
                None => refused = refused.max(Some((slot.limiter.retry_after(need, second), order))),
            }
        }
        if !wait && refused.is_none() {
            return RateDecision::Admitted(held);
        }
        self.undo(held);
        refused.map_or(RateDecision::Wait, |(seconds, order)| RateDecision::Refused(order, seconds))
    }

    /// Gives everything back: the request was refused elsewhere, and never ran.
    pub fn undo(&mut self, held: RateHolds) {
        for hold in &held.holds {
            let Some(slot) = self.slots.get_mut(hold.slot as usize).and_then(Option::as_mut) else { continue };
            slot.running -= 1;
            slot.limiter.give_back(hold.amount, hold.taken);
        }
        self.spare.keep(held.holds);
    }

    /// Ends a request: its place is free again, its prompt counts as reported, and its answer is booked.
    pub fn settle(&mut self, held: RateHolds, usage: &Usage, now: MonoUs) {
        let now = Second::of(now);
        for hold in &held.holds {
            let Some(slot) = self.slots.get_mut(hold.slot as usize).and_then(Option::as_mut) else { continue };
            slot.running -= 1;
            match slot.limiter.measure {
                Measure::Requests => {}
                Measure::Concurrent => slot.limiter.give_back(hold.amount, hold.taken),
                Measure::OutputTokens => slot.limiter.debit(tokens(usage.output), now),
                Measure::InputTokens => {
                    let used = input_tokens(usage, hold.cache_read_permille);
                    match used - hold.amount {
                        more if more > 0 => slot.limiter.debit(more, now),
                        less => slot.limiter.give_back(-less, hold.taken),
                    }
                }
            }
        }
        self.spare.keep(held.holds);
    }

    /// Lets slices of past seconds and recalled ones flow back, and forgets limiters that nobody asks.
    pub fn tick(&mut self, now: MonoUs) {
        let second = Second::of(now);
        for (number, place) in self.slots.iter_mut().enumerate() {
            let Some(slot) = place else { continue };
            if slot.second != second || slot.limiter.recalled(now.0) {
                slot.flow_back();
            }
            if slot.running == 0 && second.0.saturating_sub(slot.second.0) > IDLE_SECONDS {
                self.places[slot.limiter.id.0 as usize] = None;
                *place = None;
                self.free_slots.push(number as u32);
            }
        }
    }
}

impl Slot {
    /// Takes `need` from the slice, which is filled up first if it must be. Nothing is taken in part.
    fn take(&mut self, need: i64, now: MonoUs, shards: i64) -> Option<i64> {
        let second = Second::of(now);
        if self.second != second {
            self.flow_back();
            self.second = second;
        }
        if self.limiter.measure == Measure::OutputTokens {
            // Nothing is known of the answer yet: there must be room, and no debt.
            self.limiter.sweep(second);
            self.running += u32::from(self.limiter.free() > 0);
            return (self.limiter.free() > 0).then_some(0);
        }
        if self.slice < need {
            let spare = if self.limiter.recalled(now.0) { 0 } else { self.limiter.free() / (SLICE_SHARE * shards) };
            let missing = need - self.slice;
            let got = self.limiter.draw(missing, spare, second);
            if got == 0 {
                return None;
            }
            self.limiter.lend(got - missing);
            self.lent += got - missing;
            self.slice += got;
        }
        self.slice -= need;
        self.running += 1;
        Some(need)
    }

    fn flow_back(&mut self) {
        self.limiter.give_back(self.slice, self.second);
        self.limiter.lend(-self.lent);
        (self.slice, self.lent) = (0, 0);
    }
}

/// What a request takes of a limit at its admission. A prompt that is estimated at more than the limit takes all of it.
fn need(limiter: &Limiter, ask: RateAsk) -> i64 {
    match limiter.measure {
        Measure::Requests | Measure::Concurrent => 1,
        Measure::InputTokens => tokens(ask.input_tokens).clamp(1, limiter.limit().max(1)),
        Measure::OutputTokens => 0,
    }
}

fn input_tokens(usage: &Usage, cache_read_permille: u16) -> i64 {
    let read = u128::from(usage.cache_read) * u128::from(cache_read_permille) / u128::from(PERMILLE);
    let written = usage.cache_write_5m.saturating_add(usage.cache_write_1h);
    tokens(usage.input.saturating_add(written).saturating_add(u64::try_from(read).unwrap_or(u64::MAX)))
}

fn tokens(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX).min(crate::kernel::limiter::AMOUNT_MAX)
}

#[cfg(test)]
mod tests;
