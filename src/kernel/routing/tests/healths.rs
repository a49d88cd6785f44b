use crate::kernel::{
    routing::{
        Failure,
        health::{COOLDOWN_MAX, DEAD_COOLDOWN, FAILURES_IN_A_ROW, Health, Illness, SICK_COOLDOWN, SLOW_START},
        retries::{BURST, PER_SECOND, RetryBudget, SHARE},
    },
    time::MonoUs,
};
use proptest::prelude::*;
use std::time::Duration;

const START: MonoUs = MonoUs(1_000_000);

fn fails(health: &mut Health, failure: Failure, now: MonoUs) {
    let mut attempt = health.begin(now);
    health.failed(&mut attempt, failure, 500, now, 0);
    health.finish(attempt);
}

fn answers(health: &mut Health, now: MonoUs) {
    let mut attempt = health.begin(now);
    health.answered(&mut attempt, now.after(Duration::from_millis(50)));
    health.finish(attempt);
}

#[test]
fn a_dead_upstream_is_dialled_again_before_its_cooldown_is_over() {
    let mut health = Health::new(START);
    let mut now = START;
    for round in 0..12u32 {
        assert!(health.may_dial(now), "round {round}");
        fails(&mut health, Failure::Unreachable, now);
        let (illness, until) = health.ejected().expect("it is dead");
        assert_eq!(illness, Illness::Dead);
        let cooldown = Duration::from_micros(until.since(now));
        let wanted = (DEAD_COOLDOWN * 2u32.pow(round)).min(COOLDOWN_MAX);
        assert_eq!(cooldown, wanted, "round {round}");
        let just_before = MonoUs(until.0 - 1);
        assert!(!health.may_dial(just_before) && health.standing(just_before).share == 0);
        now = until;
    }
}

#[test]
fn two_trials_run_at_once_or_a_trial_that_told_nothing_locks_the_door() {
    let mut health = Health::new(START);
    fails(&mut health, Failure::Unreachable, START);
    let later = START.after(DEAD_COOLDOWN);
    let trial = health.begin(later);
    assert!(!health.may_dial(later) && health.standing(later).share == 0);
    health.finish(trial);
    assert!(health.may_dial(later), "the client went away before anybody knew");
    answers(&mut health, later);
    assert!(health.ejected().is_none());
}

#[test]
fn what_comes_back_is_met_by_full_traffic() {
    let mut health = Health::new(START);
    (0..FAILURES_IN_A_ROW).for_each(|_| fails(&mut health, Failure::Error, START));
    assert_eq!(health.ejected().map(|e| e.0), Some(Illness::Sick));
    let back = START.after(SICK_COOLDOWN);
    answers(&mut health, back);
    let first = health.standing(back.after(Duration::from_millis(50))).share;
    let half = health.standing(back.after(SLOW_START / 2)).share;
    assert!(first <= 101 && (400..700).contains(&half), "{first} {half}");
    assert_eq!(health.standing(back.after(SLOW_START * 2)).share, 1000);
    // A relapse costs more than the first time.
    let relapse = back.after(Duration::from_secs(1));
    (0..FAILURES_IN_A_ROW).for_each(|_| fails(&mut health, Failure::Error, relapse));
    let (_, until) = health.ejected().expect("sick again");
    assert_eq!(until, relapse.after(SICK_COOLDOWN * 2));
}

#[test]
fn one_bad_answer_in_three_ejects_or_one_in_two_does_not() {
    let (mut third, mut most) = (Health::new(START), Health::new(START));
    for n in 0..200 {
        if n % 3 == 0 {
            fails(&mut third, Failure::Error, START)
        } else {
            answers(&mut third, START)
        }
        if n % 4 != 0 { fails(&mut most, Failure::Error, START) } else { answers(&mut most, START) }
    }
    assert!(third.ejected().is_none());
    assert!(most.ejected().is_some(), "never five in a row, but three of four");
}

#[test]
fn the_client_s_own_fault_or_a_full_account_ejects() {
    let mut health = Health::new(START);
    for failure in [Failure::NoRoom, Failure::NoModel, Failure::NotDone] {
        (0..50).for_each(|_| fails(&mut health, failure, START));
    }
    for status in [403, 401] {
        let mut attempt = health.begin(START);
        health.failed(&mut attempt, Failure::Credential, status, START, 0);
        health.finish(attempt);
        assert_eq!(health.ejected().map(|e| e.0), (status == 401).then_some(Illness::Locked));
    }
}

#[test]
fn failures_of_requests_from_before_the_ejection_prolong_it() {
    let mut health = Health::new(START);
    let mut together: Vec<_> = (0..100).map(|_| health.begin(START)).collect();
    assert_eq!(health.standing(START).in_flight, 100);
    for attempt in &mut together {
        health.failed(attempt, Failure::TimedOut, 0, START, 0);
    }
    together.into_iter().for_each(|attempt| health.finish(attempt));
    assert_eq!(health.ejected(), Some((Illness::Sick, START.after(SICK_COOLDOWN))));
    assert_eq!((health.ejections, health.standing(START).in_flight), (1, 0));
}

proptest! {
    #[test]
    fn retries_pass_their_stated_bound(steps in prop::collection::vec((0u64..200_000, 0u8..8, any::<bool>()), 1..400)) {
        let mut budget = RetryBudget::new(START);
        let (mut now, mut requests, mut retries) = (START, 0u64, 0u64);
        for (passes, asked, retry) in steps {
            now = MonoUs(now.0 + passes);
            for _ in 0..asked {
                budget.earn();
                requests += 1;
            }
            let could = budget.has_one(now);
            if retry {
                let took = budget.take(now);
                prop_assert_eq!(took, could);
                retries += u64::from(took);
            }
            let bound = BURST + requests.div_ceil(SHARE) + now.since(START) * PER_SECOND / 1_000_000 + 1;
            prop_assert!(retries <= bound, "{retries} > {bound}");
        }
    }
}

#[test]
fn a_quiet_shard_can_never_try_again() {
    let mut budget = RetryBudget::new(START);
    while budget.take(START) {}
    assert!(!budget.has_one(START));
    assert!(budget.has_one(START.after(Duration::from_millis(100))));
    assert_eq!(budget.left(START.after(Duration::from_secs(3600))), BURST);
}
