use crate::kernel::{
    ids::UpstreamIx,
    models::{Strategy, Target, Weight},
    routing::{
        hash::mix,
        pick::{Ask, Standing, pick},
        race,
        sessions::{REMEMBERED, SESSIONS_MAX, Sessions},
    },
    time::MonoUs,
};
use proptest::prelude::*;

fn targets(weights: &[u32]) -> Vec<Target> {
    let target = |(at, weight): (usize, &u32)| {
        let mut target = Target::new(UpstreamIx(at as u16), &format!("account-{at}"), "claude-test", None, 0);
        target.weight = Weight::new(*weight);
        target
    };
    weights.iter().enumerate().map(target).collect()
}

fn of(strategy: Strategy, session: Option<u64>, random: u64) -> Ask {
    Ask { strategy, session, bound: None, tried: 0, random }
}

fn open(_: &Target) -> Standing {
    Standing::OPEN
}

/// How many of `count` keys each target gets.
fn shares(targets: &[Target], strategy: Strategy, count: u64, standing: impl Fn(&Target) -> Standing) -> Vec<u64> {
    let mut won = vec![0; targets.len()];
    for key in 0..count {
        let ask = of(strategy, Some(mix(key, 1)), mix(key, 2));
        won[pick(targets, &ask, &standing).expect("somebody takes it")] += 1;
    }
    won
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_target_gets_more_or_less_than_its_weight(weights in prop::collection::vec(1u32..20, 2..12)) {
        let all = targets(&weights);
        let sum: u32 = weights.iter().sum();
        const KEYS: u64 = 20_000;
        for strategy in [Strategy::Weighted, Strategy::Affinity] {
            for (weight, won) in weights.iter().zip(shares(&all, strategy, KEYS, open)) {
                let share = f64::from(*weight) / f64::from(sum);
                let expected = KEYS as f64 * share;
                let deviation = (KEYS as f64 * share * (1.0 - share)).sqrt();
                prop_assert!((won as f64 - expected).abs() < 6.0 * deviation, "{won} of {expected} with {weights:?}");
            }
        }
    }

    /// A plain race: everybody's time is worked out.
    #[test]
    fn another_than_the_earliest_wins(
        weights in prop::collection::vec((1u32..1100, prop_oneof![3 => Just(1000u16), 1 => 0u16..1000]), 1..64),
        alike in any::<bool>(), tried in any::<u64>(), key in any::<u64>()
    ) {
        let weight = |weight: u32| if alike { 3 } else { weight };
        let all = targets(&weights.iter().map(|(own, _)| weight(*own)).collect::<Vec<_>>());
        let standing = |target: &Target| Standing { share: weights[usize::from(target.upstream.0)].1, ..Standing::OPEN };
        for tried in [0, tried] {
            for nth in 0..50 {
                let key = mix(key, nth);
                let time = |place: usize| {
                    let (target, share) = (&all[place], standing(&all[place]).share);
                    let runs = share > 0 && tried >> place & 1 == 0;
                    runs.then(|| race::time(key, target.salt, target.weight) * (1000.0 / f32::from(share)))
                };
                let times = (0..all.len()).filter_map(|place| Some((time(place)?, place)));
                let earliest = times.min_by(|one, other| one.partial_cmp(other).expect("no time is not a number"));
                let ask = Ask { tried, ..of(Strategy::Affinity, Some(key), key) };
                prop_assert_eq!(pick(&all, &ask, standing), earliest.map(|(_, place)| place));
            }
        }
    }

    #[test]
    fn a_session_moves_although_its_own_target_stays(
        weights in prop::collection::vec(1u32..9, 2..20), leaving in any::<prop::sample::Index>(), salt in any::<u64>()
    ) {
        let all = targets(&weights);
        let leaving = leaving.index(all.len());
        let mut fewer = all.clone();
        let gone = fewer.remove(leaving);
        for key in 0..500 {
            let ask = of(Strategy::Affinity, Some(mix(key, salt)), 0);
            let before = pick(&all, &ask, open).expect("open");
            let after = fewer[pick(&fewer, &ask, open).expect("open")].salt;
            // What is gone and what is ejected are the same to a session.
            let without = |target: &Target| if target.salt == gone.salt { Standing::CLOSED } else { Standing::OPEN };
            prop_assert_eq!(all[pick(&all, &ask, without).expect("open")].salt, after);
            if before != leaving {
                prop_assert_eq!(all[before].salt, after);
            }
        }
    }

    #[test]
    fn a_closed_or_tried_target_is_asked(
        standings in prop::collection::vec((any::<bool>(), 0u16..3), 1..64), tried in any::<u64>(), random in any::<u64>()
    ) {
        let mut all = targets(&vec![1; standings.len()]);
        for (target, (_, rank)) in all.iter_mut().zip(&standings) {
            target.rank = *rank;
        }
        all.sort_by_key(|target| target.rank);
        let is_open = |target: &Target| standings[usize::from(target.upstream.0)].0;
        let standing = |target: &Target| if is_open(target) { Standing::OPEN } else { Standing::CLOSED };
        let takes = |(place, target): (usize, &Target)| is_open(target) && tried >> place & 1 == 0;
        let best = all.iter().enumerate().filter(|candidate| takes(*candidate)).map(|(_, t)| t.rank).min();
        for strategy in [Strategy::Ordered, Strategy::Weighted, Strategy::LeastBusy, Strategy::Affinity] {
            let ask = Ask { strategy, session: Some(random), bound: None, tried, random };
            match pick(&all, &ask, standing) {
                None => prop_assert_eq!(best, None, "{:?}", strategy),
                Some(place) => {
                    prop_assert!(takes((place, &all[place])), "{:?}", strategy);
                    prop_assert_eq!(Some(all[place].rank), best, "{:?}", strategy);
                }
            }
        }
    }
}

#[test]
fn ordered_does_not_keep_the_order() {
    let all = targets(&[1, 1, 1]);
    for random in 0..100 {
        let ask = of(Strategy::Ordered, None, random);
        assert_eq!(pick(&all, &ask, open), Some(0));
        assert_eq!(pick(&all, &Ask { tried: 1, ..ask }, open), Some(1));
        assert_eq!(pick(&all, &Ask { tried: 7, ..ask }, open), None);
    }
}

#[test]
fn a_target_that_comes_back_gets_everything_at_once() {
    let all = targets(&[1, 1]);
    let half = |target: &Target| Standing { share: if target.upstream.0 == 0 { 100 } else { 1000 }, ..Standing::OPEN };
    for strategy in [Strategy::Weighted, Strategy::Affinity, Strategy::Ordered] {
        let won = shares(&all, strategy, 10_000, half);
        assert!((500..1500).contains(&won[0]), "{strategy:?}: {won:?}");
    }
    // But nobody is refused for it.
    let alone = |target: &Target| if target.upstream.0 == 0 { half(target) } else { Standing::CLOSED };
    assert_eq!(shares(&all, Strategy::Ordered, 1000, alone), [1000, 0]);
}

#[test]
fn least_busy_sends_everything_to_the_slow_one_or_to_the_best_one() {
    let all = targets(&[1, 1, 1, 1]);
    let one_is_slow = |target: &Target| {
        let latency_us = if target.upstream.0 == 2 { 900_000 } else { 100_000 };
        Standing { latency_us, ..Standing::OPEN }
    };
    let won = shares(&all, Strategy::LeastBusy, 8000, one_is_slow);
    assert_eq!(won[2], 0, "of two different targets the slow one is never the better");
    assert!(won.iter().enumerate().all(|(place, won)| place == 2 || *won > 2000), "{won:?}");
    let one_is_busy =
        |target: &Target| Standing { in_flight: u32::from(target.upstream.0 == 1) * 50, ..Standing::OPEN };
    assert_eq!(shares(&all, Strategy::LeastBusy, 8000, one_is_busy)[1], 0);
}

#[test]
fn a_bound_session_moves_back_or_sticks_to_a_lower_rank() {
    let mut all = targets(&[1, 1, 1]);
    all[2].rank = 1;
    let ask = of(Strategy::Affinity, Some(77), 0);
    let own = pick(&all, &ask, open).expect("open");
    let other = 1 - own;
    assert_eq!(pick(&all, &Ask { bound: Some(other), ..ask }, open), Some(other));
    let closed = |target: &Target| if target.upstream.0 == other as u16 { Standing::CLOSED } else { Standing::OPEN };
    assert_eq!(pick(&all, &Ask { bound: Some(other), ..ask }, closed), Some(own));
    assert_eq!(pick(&all, &Ask { bound: Some(2), ..ask }, open), Some(own), "a spare is no home");
}

#[test]
fn one_session_asks_two_accounts_for_two_models() {
    let by_model = |model: &str| {
        let target = |at: u16| Target::new(UpstreamIx(at), &format!("account-{at}"), model, None, 0);
        (0..5).map(target).collect::<Vec<_>>()
    };
    let (one, other) = (by_model("claude-opus-5"), by_model("claude-haiku-4-5"));
    for session in 0..200 {
        let ask = of(Strategy::Affinity, Some(mix(session, 9)), session);
        assert_eq!(pick(&one, &ask, open), pick(&other, &ask, open));
    }
    assert_ne!(one[0].identity, other[0].identity, "but one model's wait is not the other's");
}

#[test]
fn a_session_is_remembered_for_ever_or_for_another() {
    let mut sessions = Sessions::default();
    let now = MonoUs(5_000_000);
    assert_eq!(sessions.find(1, now), None);
    sessions.bind(1, 42, now);
    sessions.bind(1, 43, now);
    assert_eq!((sessions.find(1, now), sessions.find(2, now)), (Some(43), None));
    assert_eq!(sessions.find(1, now.after(REMEMBERED)), None);
    for session in 0..10 * SESSIONS_MAX as u64 {
        sessions.bind(mix(session, 3), session + 1, MonoUs(now.0 + session));
        assert_eq!(sessions.find(mix(session, 3), now), Some(session + 1));
    }
    let last = (0..10 * SESSIONS_MAX as u64).rev().take(100);
    assert!(last.filter(|session| sessions.find(mix(*session, 3), now) == Some(session + 1)).count() > 95);
}
