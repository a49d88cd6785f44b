//! A budget account: one cap for one scope in one window, shared by all shards without a lock.
//!
//! Money is in three places: `free` (nobody's), `held` by each shard (its lease and its running reservations), and spent
//! (what has left both). A shard moves money between `free` and its own `held` in slices; a settled cost just leaves `held`.
//! So `spent = amount - free - sum(held)`, to the nano-dollar, whenever no move is under way; `spent()` says when one is.
//!
//! While one process replaces another, there are two accounts for one cap. The newer process's has the room; the older one has
//! handed over what it did not hold (`handed`), and gets from the newer what requests need that it still admits. To the newer that
//! is `lent`, until the older one has spent it or brings it back. So whatever both spend, there is one room, and one sum.

use super::{
    money::Nanos,
    numbers::Number,
    table::{Presence, Shared},
    window::{Period, Window},
};
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU64,
    Ordering::{Release, SeqCst},
};

mod processes;

pub use super::scope::{Scope, ScopeKind, Session};

/// From one shard's holding to the next, in holdings of 16 bytes: 128 bytes, two cache lines.
const APART: usize = 8;
/// How often an account is asked again while shards move money.
const ASK_AGAIN_MAX: u32 = 1000;

/// What happens at the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Refuse.
    Hard,
    /// Only tell.
    Soft,
}

impl Mode {
    /// The name in the configuration and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::Soft => "soft",
        }
    }
}

/// Number of an account, dense, unique among all that are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub u32);

/// What one shard holds of an account. Written by that shard alone, read by the control plane; far enough from the next
/// shard's, unless the account is one session's, whose requests come few at a time.
#[derive(Default)]
#[repr(align(16))]
struct Holding {
    held: AtomicI64,
    reserved: AtomicI64,
}

/// The last refusal on an account, with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What the request could have cost at most.
    pub needed: Nanos,
    /// What was spent at that moment.
    pub spent: Nanos,
}

/// One cap for one scope in one window.
pub struct Account {
    /// Its number.
    pub id: AccountId,
    /// Whom it limits.
    pub scope: Scope,
    /// How often it starts anew.
    pub period: Period,
    /// The span of time whose spending it counts.
    pub window: Window,
    configured: AtomicI64,
    raised: AtomicI64,
    free: AtomicI64,
    /// Room that processes before this one have.
    lent: AtomicI64,
    /// Room that the process after this one has; and whether there is one.
    handed: AtomicI64,
    handed_over: AtomicBool,
    /// What a request needed that found no room, after it was handed over.
    wanted: AtomicI64,
    moves_begun: AtomicU64,
    moves_done: AtomicU64,
    serial: AtomicU64,
    recall: AtomicU64,
    holdings: Box<[Holding]>,
    apart: usize,
    _number: Option<Number>,
    presence: Presence,
    denied_at: AtomicI64,
    denied_needed: AtomicI64,
    denied_spent: AtomicI64,
}

impl Account {
    /// Opens an account of which `spent` is already gone.
    pub fn new(
        id: AccountId,
        scope: Scope,
        period: Period,
        window: Window,
        amount: Nanos,
        spent: Nanos,
        shards: usize,
    ) -> Self {
        let apart = if scope.kind() == ScopeKind::Session { 1 } else { APART };
        Self {
            id,
            scope,
            period,
            window,
            configured: AtomicI64::new(amount.0),
            raised: AtomicI64::new(0),
            free: AtomicI64::new(amount.minus(spent).0),
            lent: AtomicI64::new(0),
            handed: AtomicI64::new(0),
            handed_over: AtomicBool::new(false),
            wanted: AtomicI64::new(0),
            moves_begun: AtomicU64::new(0),
            moves_done: AtomicU64::new(0),
            serial: AtomicU64::new(0),
            recall: AtomicU64::new(0),
            holdings: (0..shards * apart).map(|_| Holding::default()).collect(),
            apart,
            _number: None,
            presence: Presence::default(),
            denied_at: AtomicI64::new(0),
            denied_needed: AtomicI64::new(0),
            denied_spent: AtomicI64::new(0),
        }
    }

    /// The same account, under a number that is given back with it.
    pub fn numbered(self, number: Number) -> Self {
        Self { id: AccountId(number.value()), _number: Some(number), ..self }
    }

    /// The cap, raises included.
    pub fn amount(&self) -> Nanos {
        Nanos(self.configured.load(SeqCst)).plus(self.raised())
    }

    /// Raises or lowers the configured cap, on top of which one-off raises lie; the room changes by the difference, and may
    /// become negative.
    pub fn set_amount(&self, amount: Nanos) {
        if self.configured.load(SeqCst) == amount.0 {
            return;
        }
        self.moving(|| {
            let before = self.configured.swap(amount.0, SeqCst);
            self.free.fetch_add(amount.0.saturating_sub(before), SeqCst);
        });
    }

    /// Raises the cap once, on top of what is configured.
    pub fn raise(&self, by: Nanos) {
        self.moving(|| {
            self.raised.fetch_add(by.0, SeqCst);
            self.free.fetch_add(by.0, SeqCst);
        });
    }

    /// Books what was spent by a request that never held anything of this account: it began before the account did.
    pub fn charge(&self, cost: Nanos) {
        self.moving(|| {
            self.free.fetch_sub(cost.0, SeqCst);
        });
    }

    /// By how much the cap was raised over what is configured.
    pub fn raised(&self) -> Nanos {
        Nanos(self.raised.load(SeqCst))
    }

    /// Money nobody holds; may be negative after an overrun.
    pub fn free(&self) -> Nanos {
        Nanos(self.free.load(SeqCst))
    }

    /// Moves up to `want` from `free` to a shard, and returns what it got. Never takes what is not there.
    pub fn draw(&self, shard: usize, want: Nanos) -> Nanos {
        let Some(holding) = self.holding(shard) else { return Nanos::ZERO };
        if want.0 <= 0 || self.free.load(SeqCst) <= 0 {
            return Nanos::ZERO;
        }
        let mut got = 0;
        self.moving(|| {
            let taken = self.free.fetch_update(SeqCst, SeqCst, |free| (free > 0).then(|| free - want.0.min(free)));
            if let Ok(before) = taken {
                got = want.0.min(before);
                holding.held.fetch_add(got, SeqCst);
            }
        });
        Nanos(got)
    }

    /// Gives money a shard does not need back to `free`. A negative amount books an overrun.
    pub fn give_back(&self, shard: usize, amount: Nanos) {
        let Some(holding) = self.holding(shard) else { return };
        if amount.0 != 0 {
            self.moving(|| {
                self.free.fetch_add(amount.0, SeqCst);
                holding.held.fetch_sub(amount.0, SeqCst);
            });
        }
    }

    /// Money really spent leaves a shard's holding.
    pub fn settle(&self, shard: usize, cost: Nanos) {
        if let Some(holding) = self.holding(shard) {
            holding.held.fetch_sub(cost.0, SeqCst);
        }
    }

    /// Publishes what a shard has reserved for running requests, for the operator's eyes. Whoever decides by it may
    /// be a moment late in any case, so that no request waits until all others can see it.
    pub fn publish_reserved(&self, shard: usize, reserved: Nanos) {
        if let Some(holding) = self.holding(shard) {
            holding.reserved.store(reserved.0, Release);
        }
    }

    /// What has been spent; `None` while money is being moved between shards, then ask again.
    pub fn spent(&self) -> Option<Nanos> {
        let done = self.moves_done.load(SeqCst);
        if self.moves_begun.load(SeqCst) != done {
            return None;
        }
        let room = self.free().plus(self.held()).plus(self.elsewhere());
        let spent = self.amount().0.saturating_sub(room.0);
        (self.moves_begun.load(SeqCst) == done).then_some(Nanos(spent))
    }

    /// What has been spent. A move takes nanoseconds; if there is always one under way, the answer is off by at most the moves
    /// of this moment.
    pub fn spent_about(&self) -> Nanos {
        for _ in 0..ASK_AGAIN_MAX {
            if let Some(spent) = self.spent() {
                return spent;
            }
            std::hint::spin_loop();
        }
        self.amount().minus(self.free()).minus(self.held()).minus(self.elsewhere())
    }

    /// Room that other processes have.
    fn elsewhere(&self) -> Nanos {
        Nanos(self.lent.load(SeqCst).saturating_add(self.handed.load(SeqCst)))
    }

    /// What all shards have reserved for running requests. What a process before this one has is for its running requests, too.
    pub fn reserved(&self) -> Nanos {
        let own: i64 = self.holdings.iter().step_by(self.apart).map(|h| h.reserved.load(SeqCst)).sum();
        Nanos(own.saturating_add(self.lent.load(SeqCst).max(0)))
    }

    /// What all shards hold, reservations included.
    pub fn held(&self) -> Nanos {
        Nanos(self.holdings.iter().step_by(self.apart).map(|h| h.held.load(SeqCst)).sum())
    }

    /// Asks every shard to give back what it has not reserved, at its next tick.
    pub fn recall(&self, until_ms: u64) {
        self.recall.fetch_max(until_ms, SeqCst);
    }

    /// Is a recall under way?
    pub fn recalled(&self, now_ms: u64) -> bool {
        self.recall.load(SeqCst) > now_ms
    }

    /// Takes the one place that exists when the room is smaller than a request's bound. `token` is not 0.
    pub fn enter_serial(&self, token: u64) -> bool {
        token != 0 && self.serial.compare_exchange(0, token, SeqCst, SeqCst).is_ok()
    }

    /// Leaves that place.
    pub fn leave_serial(&self, token: u64) {
        let _not_ours = self.serial.compare_exchange(token, 0, SeqCst, SeqCst);
    }

    /// Notes a refusal.
    pub fn note_denial(&self, denial: Denial) {
        self.denied_needed.store(denial.needed.0, SeqCst);
        self.denied_spent.store(denial.spent.0, SeqCst);
        self.denied_at.store(denial.at_ms, SeqCst);
    }

    /// The last refusal, if there was one.
    pub fn last_denial(&self) -> Option<Denial> {
        let at_ms = self.denied_at.load(SeqCst);
        (at_ms != 0).then(|| Denial {
            at_ms,
            needed: Nanos(self.denied_needed.load(SeqCst)),
            spent: Nanos(self.denied_spent.load(SeqCst)),
        })
    }

    fn holding(&self, shard: usize) -> Option<&Holding> {
        self.holdings.get(shard * self.apart)
    }

    fn moving(&self, change: impl FnOnce()) {
        self.moves_begun.fetch_add(1, SeqCst);
        change();
        self.moves_done.fetch_add(1, SeqCst);
    }
}

impl Shared for Account {
    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn presence(&self) -> &Presence {
        &self.presence
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(amount: i64, shards: usize) -> Account {
        Account::new(AccountId(0), Scope::Org, Period::Monthly, Window::ALWAYS, Nanos(amount), Nanos::ZERO, shards)
    }

    #[test]
    fn no_more_is_drawn_than_there_is() {
        let a = account(100, 2);
        assert_eq!(a.draw(0, Nanos(70)), Nanos(70));
        assert_eq!(a.draw(1, Nanos(70)), Nanos(30));
        assert_eq!(a.draw(1, Nanos(1)), Nanos::ZERO);
        assert_eq!(a.spent(), Some(Nanos::ZERO));
        a.settle(0, Nanos(50));
        assert_eq!(a.spent(), Some(Nanos(50)));
        a.give_back(0, Nanos(20));
        a.set_amount(Nanos(10));
        assert_eq!((a.free(), a.spent()), (Nanos(-70), Some(Nanos(50))));
    }

    #[test]
    fn shards_racing_for_leases_never_take_a_nano_dollar_too_much() {
        let a = account(1_000_000, 4);
        let total: i64 = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|shard| {
                    let a = &a;
                    s.spawn(move || {
                        let mut spent = 0;
                        loop {
                            let got = a.draw(shard, Nanos(37)).0;
                            if got == 0 {
                                return spent;
                            }
                            a.settle(shard, Nanos(got / 2));
                            a.give_back(shard, Nanos(got - got / 2));
                            spent += got / 2;
                            if got < 2 {
                                a.draw(shard, Nanos(got));
                                return spent;
                            }
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(a.spent(), Some(Nanos(total)));
        assert!(total <= 1_000_000);
    }
}
