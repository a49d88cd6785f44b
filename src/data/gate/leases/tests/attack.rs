//! All shards at once on one nearly spent account of a caller that none of them has seen before.

use super::*;
use crate::{
    data::gate::standings::{Moment, Standings, Who},
    kernel::{
        account::{Mode, ScopeKind},
        rules::{BudgetRule, RuleSet, Rules, ScopePattern},
        snapshot::Snapshot,
        standing::{Registry, Standing},
        time::MonoUs,
        window::Period,
    },
};
use std::{
    rc::Rc,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

const SHARDS: usize = 4;
const NOW: UnixMs = UnixMs(86_400_000);
const AT: Moment = Moment { mono: MonoUs(1), unix_seconds: 86_400 };
/// The most a request can cost, what is expected of it, and how many a shard has running.
const BOUND: i64 = 1000;
const EXPECTED: i64 = 300;
const RUNNING: usize = 30;

struct Attack {
    snapshot: Snapshot,
    reserve: Reserve,
    cap: i64,
    start: Barrier,
    ended: AtomicUsize,
}

fn attack(reserve: Reserve, cap: i64) -> Attack {
    let rule = |kind| BudgetRule {
        whom: ScopePattern::Each(kind),
        amount: Nanos(cap),
        period: Period::Daily,
        mode: Mode::Hard,
        blocked_message: "".into(),
    };
    let budgets = RuleSet::new(vec![rule(ScopeKind::User), rule(ScopeKind::Session)]);
    let rules = Rules { budgets, ..Rules::default() };
    let registry = Arc::new(Registry::new(Arc::default(), Arc::default(), SHARDS));
    let snapshot = Snapshot::of_rules(1, rules, registry);
    Attack { snapshot, reserve, cap, start: Barrier::new(SHARDS), ended: AtomicUsize::new(0) }
}

struct Shard<'a> {
    of: &'a Attack,
    book: LeaseBook,
    chance: fastrand::Rng,
    running: Vec<Reservation>,
    spent: i64,
    served: usize,
    dearest: i64,
}

impl Shard<'_> {
    fn settle_one(&mut self) {
        if self.running.is_empty() {
            std::thread::yield_now();
        } else {
            let reservation = self.running.swap_remove(self.chance.usize(..self.running.len()));
            let most = if self.of.reserve == Reserve::Strict { BOUND } else { EXPECTED };
            let cost = self.chance.i64(1..=most);
            self.book.settle(reservation, Nanos(cost));
            (self.spent, self.served, self.dearest) = (self.spent + cost, self.served + 1, self.dearest.max(cost));
        }
    }

    fn run(&mut self, caller: &[Rc<Standing>]) {
        let accounts = || caller.iter().flat_map(|standing| &standing.budgets).map(|budget| &budget.accounts[0]);
        let ask = Ask { bound: Nanos(BOUND), expected: Nanos(EXPECTED), exact: true };
        loop {
            let touches: Vec<_> = accounts().map(|account| Touch { account, mode: Mode::Hard }).collect();
            match self.book.admit(touches.iter().copied(), ask, self.of.reserve, NOW) {
                Decision::Admitted(reservation) => self.running.push(reservation),
                Decision::Wait => {
                    self.book.tick(NOW);
                    self.settle_one();
                }
                Decision::Spent(place) => {
                    // Nobody is refused while there is room that the bound allows.
                    let left = self.of.cap - touches[place].account.spent_about().0;
                    let least = if self.of.reserve == Reserve::Strict { BOUND } else { 1 };
                    assert!(left < least, "refused with {left} left");
                    break;
                }
            }
            if self.running.len() > RUNNING {
                self.settle_one();
            }
        }
        while !self.running.is_empty() {
            self.settle_one();
        }
        // A shard that has nothing to do goes on ticking: what it holds must come back to the others.
        self.of.ended.fetch_add(1, SeqCst);
        while self.of.ended.load(SeqCst) < SHARDS {
            self.book.tick(NOW);
            std::thread::yield_now();
        }
        for _ in 0..=IDLE_TICKS {
            self.book.tick(NOW);
        }
    }
}

/// Runs all shards against the user's and the session's account; returns what was spent, how often, and the dearest request.
fn run(attack: &Attack, session: bool) -> (i64, usize, i64) {
    let ended: Vec<(i64, usize, i64)> = std::thread::scope(|scope| {
        let shards: Vec<_> = (0..SHARDS)
            .map(|number| {
                scope.spawn(move || {
                    let (book, chance) = (LeaseBook::new(number, SHARDS), fastrand::Rng::with_seed(number as u64));
                    let mut shard =
                        Shard { of: attack, book, chance, running: Vec::new(), spent: 0, served: 0, dearest: 0 };
                    let mut standings = Standings::default();
                    attack.start.wait();
                    let who = Who { user: "alice", ..Who::default() };
                    let mut caller = vec![standings.of(who, &attack.snapshot, AT).unwrap()];
                    if session {
                        let principal = caller[0].principal;
                        caller.push(standings.of_session(principal, "s", &attack.snapshot, AT).unwrap());
                    }
                    shard.run(&caller);
                    (shard.spent, shard.served, shard.dearest)
                })
            })
            .collect();
        shards.into_iter().map(|shard| shard.join().unwrap()).collect()
    });
    ended.into_iter().fold((0, 0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2.max(one.2)))
}

#[test]
fn a_user_that_all_shards_see_at_once_has_its_room_twice_or_is_refused_with_room_left() {
    for (reserve, session) in [Reserve::Strict, Reserve::Expected].into_iter().zip([false, true]) {
        let attack = attack(reserve, 2_000_000);
        let (spent, served, dearest) = run(&attack, session);
        let registry = &attack.snapshot.registry;
        assert_eq!(registry.accounts.len(), 1 + usize::from(session), "one account for each scope");
        registry.accounts.for_each(|_, account| {
            assert_eq!((account.spent(), account.free()), (Some(Nanos(spent)), Nanos(attack.cap - spent)));
            assert_eq!((account.held(), account.reserved()), (Nanos::ZERO, Nanos::ZERO));
        });
        assert!(served > 3000, "{served}");
        let (least, most) = match reserve {
            Reserve::Strict => (attack.cap - BOUND, attack.cap),
            Reserve::Expected => (attack.cap, attack.cap + dearest),
        };
        assert!((least..=most).contains(&spent), "{reserve:?}: {spent} of {} in {served} requests", attack.cap);
    }
}
