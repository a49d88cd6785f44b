//! Callers seen for the first time, on several shards at once.

use super::*;
use crate::kernel::{
    account::{Mode, ScopeKind},
    limiter::Measure,
    limits::TICK,
    money::Nanos,
    names::Names,
    rules::{BudgetRule, LimitRule, RuleSet, Rules, ScopePattern},
    standing::Registry,
    window::Period,
};
use std::sync::{Arc, Barrier};

const DAY: i64 = 86_400;

fn budget(whom: ScopePattern, period: Period, amount: i64) -> BudgetRule {
    BudgetRule { whom, amount: Nanos(amount), period, mode: Mode::Hard, blocked_message: "ask".into() }
}

fn rules() -> Rules {
    let each = ScopePattern::Each;
    let platform = ScopePattern::One(ScopeKind::Team, "platform".into());
    let budgets = vec![
        budget(each(ScopeKind::User), Period::Daily, 100),
        budget(each(ScopeKind::Session), Period::Total, 10),
        budget(platform, Period::Monthly, 1000),
        budget(ScopePattern::Org, Period::Monthly, 9000),
    ];
    let limits = vec![(Measure::Requests, 60), (Measure::Concurrent, 8)];
    let limits = vec![LimitRule { whom: each(ScopeKind::User), limits, cache_read_permille: 100 }];
    Rules { budgets: RuleSet::new(budgets), limits: RuleSet::new(limits) }
}

fn registry() -> Arc<Registry> {
    Arc::new(Registry::new(Arc::new(Names::default()), Arc::default(), 4))
}

fn at(seconds: i64) -> Moment {
    Moment { mono: MonoUs(seconds.max(0) as u64 * 1_000_000), unix_seconds: DAY + seconds }
}

const BOB: Who<'_> = Who { key: "", user: "bob", team: "platform", project: "" };

fn scopes(standing: &Standing) -> Vec<String> {
    standing.budgets.iter().map(|budget| budget.accounts[0].scope.to_string()).collect()
}

#[test]
fn a_caller_that_no_key_stands_for_is_held_to_nothing_or_to_the_rules_of_others() {
    let (snapshot, mut shard) = (Snapshot::of_rules(1, rules(), registry()), Standings::default());
    let bob = shard.of(BOB, &snapshot, at(0)).unwrap();
    assert_eq!(scopes(&bob), ["user:bob", "team:platform", "org"]);
    assert_eq!(bob.rate_limits.iter().map(|limit| limit.limiter.limit()).collect::<Vec<_>>(), [60, 8]);
    assert_eq!(snapshot.registry.names.principal_of(bob.principal).team, "platform");
    let pooled: Vec<bool> = bob.budgets.iter().map(|budget| budget.pooled).collect();
    assert_eq!(pooled, [false, true, true]);
    let nobody = shard.of(Who::default(), &snapshot, at(0)).unwrap();
    assert_eq!((scopes(&nobody), nobody.rate_limits.len()), (vec!["org".to_owned()], 0));
    let again = shard.of(BOB, &snapshot, at(1)).unwrap();
    assert!(Rc::ptr_eq(&bob, &again), "a caller seen before is looked up, no more");
}

#[test]
fn two_callers_that_name_the_same_session_share_its_account() {
    let (snapshot, mut shard) = (Snapshot::of_rules(1, rules(), registry()), Standings::default());
    let bob = shard.of(BOB, &snapshot, at(0)).unwrap().principal;
    let eve = shard.of(Who { user: "eve", ..BOB }, &snapshot, at(0)).unwrap().principal;
    let [one, two, other] = [(bob, "s-1"), (eve, "s-1"), (bob, "s-2")]
        .map(|(of, session)| shard.of_session(of, session, &snapshot, at(0)).unwrap());
    assert_eq!(scopes(&one), ["session:s-1 key: user:bob"]);
    for them in [&two, &other] {
        assert!(!Arc::ptr_eq(&one.budgets[0].accounts[0], &them.budgets[0].accounts[0]));
    }
    assert_eq!((one.principal, two.principal), (bob, eve));
}

#[test]
fn shards_open_an_account_each_for_a_caller_they_see_at_the_same_time() {
    let (snapshot, start) = (Snapshot::of_rules(1, rules(), registry()), Barrier::new(4));
    let opened: Vec<Vec<_>> = std::thread::scope(|scope| {
        let shards: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut shard = Standings::default();
                    start.wait();
                    let mut accounts = Vec::new();
                    for n in 0..300 {
                        let user = format!("user-{n}");
                        let standing = shard.of(Who { user: &user, ..Who::default() }, &snapshot, at(0)).unwrap();
                        let session = shard.of_session(standing.principal, "s", &snapshot, at(0)).unwrap();
                        let both = standing.budgets.iter().chain(&session.budgets);
                        accounts.extend(both.map(|budget| budget.accounts[0].clone()));
                    }
                    accounts
                })
            })
            .collect();
        shards.into_iter().map(|shard| shard.join().unwrap()).collect()
    });
    for (place, first) in opened[0].iter().enumerate() {
        assert!(opened.iter().all(|shard| Arc::ptr_eq(&shard[place], first)), "{}", first.scope);
    }
    // One for each user, one for each session, one for all.
    assert_eq!(snapshot.registry.accounts.len(), 601);
    assert_eq!(snapshot.registry.limiters.len(), 600);
}

#[test]
fn a_reload_or_a_new_window_does_not_reach_callers_that_are_at_hand() {
    let registry = registry();
    let (before, mut shard) = (Snapshot::of_rules(1, rules(), registry.clone()), Standings::default());
    let first = shard.of(BOB, &before, at(0)).unwrap();
    let tomorrow = shard.of(BOB, &before, at(DAY)).unwrap();
    let [today, later] = [&first, &tomorrow].map(|standing| standing.budgets[0].accounts[0].clone());
    assert!(today.window.end == later.window.start && later.window.contains(2 * DAY));
    assert!(Arc::ptr_eq(&first.budgets[2].accounts[0], &tomorrow.budgets[2].accounts[0]), "the month goes on");
    let after = Snapshot::of_rules(2, Rules::default(), registry);
    assert!(shard.of(BOB, &after, at(DAY)).unwrap().budgets.is_empty(), "no rule is left");
    // A request that began with the old snapshot is held to what that says.
    assert_eq!(shard.of(BOB, &before, at(DAY)).unwrap().budgets.len(), 3);
}

#[test]
fn a_shard_keeps_everybody_it_has_ever_seen() {
    let (snapshot, mut shard) = (Snapshot::of_rules(1, rules(), registry()), Standings::default());
    let bob = shard.of(BOB, &snapshot, at(0)).unwrap().principal;
    let idle = STANDING_IDLE.as_secs() as i64;
    for second in 0..idle {
        shard.of_session(bob, "busy", &snapshot, at(second)).unwrap();
    }
    shard.tick(MonoUs(at(idle).mono.0 + TICK.as_micros() as u64));
    assert_eq!(shard.len(), 1, "the session that was used, and not the caller that was asked for long ago");
    let lenient = Snapshot::of_rules(1, Rules::default(), registry());
    for n in 0..STANDINGS_MAX + 10 {
        shard.of_session(bob, &n.to_string(), &lenient, at(idle)).unwrap();
    }
    assert!(shard.len() <= STANDINGS_MAX && !shard.is_empty());
}
