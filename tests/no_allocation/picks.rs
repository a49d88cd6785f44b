//! Choosing a target, counted: it stands on every request's way where a model has several.

use std::{cell::RefCell, hint::black_box};
use weir::{
    kernel::{
        ids::UpstreamIx,
        models::{Strategy, Target, Weight},
        routing::{
            hash::mix,
            health::Health,
            pick::{Ask, pick},
        },
        time::MonoUs,
    },
    sys::counting::allocations,
};

#[test]
fn choosing_among_many_targets_allocates() {
    let now = MonoUs(1_000_000);
    let targets: Vec<Target> = (0..50)
        .map(|at| {
            let mut target = Target::new(UpstreamIx(at), &format!("account-{at}"), "claude-sonnet-4-6", None, 0);
            target.weight = Weight::new(1 + u32::from(at % 3));
            target
        })
        .collect();
    let healths: Vec<RefCell<Health>> = targets.iter().map(|_| RefCell::new(Health::new(now))).collect();
    let before = allocations();
    let counted = black_box(Box::new(0u64));
    assert_eq!(allocations() - before, 1, "nothing is counted");
    drop(counted);
    let before = allocations();
    for request in 1..1_000 {
        for strategy in [Strategy::Affinity, Strategy::LeastBusy, Strategy::Weighted, Strategy::Ordered] {
            let chance = mix(request, 7);
            let ask = Ask { strategy, session: Some(chance), bound: None, tried: request, random: chance };
            let chosen = pick(black_box(&targets), &ask, |target| {
                healths[usize::from(target.upstream.0)].borrow().standing(now)
            });
            assert!(black_box(chosen).is_some());
        }
    }
    assert_eq!(allocations() - before, 0);
}
