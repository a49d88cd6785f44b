//! An admission and its settlement, with every kind of budget and limit.

use std::hint::black_box;
use std::sync::Arc;

use weir::data::gate::leases::{Ask, Decision, LeaseBook, Touch};
use weir::data::gate::rates::{RateAsk, RateBook, RateDecision};
use weir::data::gate::standings::{Moment, Standings, Who};
use weir::kernel::account::{Mode, ScopeKind};
use weir::kernel::limiter::Measure;
use weir::kernel::money::Nanos;
use weir::kernel::rules::{BudgetRule, LimitRule, RuleSet, Rules, ScopePattern};
use weir::kernel::snapshot::{RateLimit, Reserve, Snapshot};
use weir::kernel::standing::Registry;
use weir::kernel::time::{MonoUs, UnixMs};
use weir::kernel::usage::Usage;
use weir::kernel::window::Period;
use weir::sys::counting::allocations;

const KINDS: [ScopeKind; 5] =
    [ScopeKind::Session, ScopeKind::Key, ScopeKind::User, ScopeKind::Project, ScopeKind::Team];
const WHO: Who<'_> = Who { key: "key", user: "alice@example.com", team: "platform", project: "checkout" };

/// A budget and four rate limits for each scope there is, six of them.
fn rules() -> Rules {
    let whom = || KINDS.into_iter().map(ScopePattern::Each).chain([ScopePattern::Org]);
    let budget = |whom| BudgetRule {
        whom,
        amount: Nanos(1_000_000_000_000_000),
        period: Period::Monthly,
        mode: Mode::Hard,
        blocked_message: "".into(),
    };
    let limits = || Measure::ALL.into_iter().map(|measure| (measure, 100_000_000_000)).collect();
    let limit = |whom| LimitRule { whom, limits: limits(), cache_read_permille: 100 };
    Rules { budgets: RuleSet::new(whom().map(budget).collect()), limits: RuleSet::new(whom().map(limit).collect()) }
}

struct Shard {
    standings: Standings,
    leases: LeaseBook,
    rates: RateBook,
}

/// What one request does: who it is, all its limits, all its accounts, and both settled. Returns how many it touched.
fn request(shard: &mut Shard, snapshot: &Snapshot, n: u64) -> usize {
    let now = Moment { mono: MonoUs(1_000_000 + n * 100), unix_seconds: 1_000_000 };
    let own = shard.standings.of(WHO, snapshot, now).expect("room");
    let session = shard.standings.of_session(own.principal, "0f3c-session", snapshot, now).expect("room");
    let limits: arrayvec::ArrayVec<&RateLimit, 24> = own.rate_limits.iter().chain(&session.rate_limits).collect();
    let rate_ask = RateAsk { requests_only: false, input_tokens: 1000 };
    let RateDecision::Admitted(rates) = shard.rates.admit(limits, rate_ask, now.mono, true) else {
        panic!("there is room");
    };
    let budgets = own.budgets.iter().chain(&session.budgets);
    let touches: arrayvec::ArrayVec<Touch<'_>, 24> = budgets
        .map(|budget| Touch { account: budget.account_at(now.unix_seconds).expect("a window"), mode: budget.mode })
        .collect();
    let ask = Ask { bound: Nanos(5_000_000_000), expected: Nanos(100_000_000), exact: true };
    let decided = shard.leases.admit(touches.iter().copied(), ask, Reserve::Expected, UnixMs(1_000_000_000));
    let Decision::Admitted(reservation) = decided else { panic!("there is room: {decided:?}") };
    shard.leases.settle(reservation, Nanos(1000));
    shard.rates.settle(rates, &Usage { input: 1000, output: 100, ..Usage::default() }, now.mono);
    touches.len()
}

#[test]
fn an_admission_of_a_caller_that_was_seen_before_allocates() {
    let snapshot = Snapshot::of_rules(1, rules(), Arc::new(Registry::default()));
    let mut shard = Shard { standings: Standings::default(), leases: LeaseBook::new(0, 2), rates: RateBook::new(2) };
    assert_eq!(request(&mut shard, &snapshot, 0), 6, "session, key, user, project, team, org");
    // An optimised build would do without the box if nobody could see it.
    let (before, first) = (allocations(), black_box(Box::new(0)));
    assert!(allocations() > before, "the counter counts");
    drop(first);
    let before = allocations();
    for n in 1..10_000 {
        request(&mut shard, &snapshot, n);
        if n % 200 == 0 {
            shard.leases.tick(UnixMs(1_000_000_000));
            shard.rates.tick(MonoUs(1_000_000 + n * 100));
        }
    }
    assert_eq!(allocations() - before, 0, "allocations in ten thousand requests");
}
