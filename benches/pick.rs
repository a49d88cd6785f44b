//! One target out of many. Run with `cargo bench --bench pick`; `cargo test --benches` runs each once.
#![allow(missing_docs, reason = "criterion's macros make items without documentation")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::{cell::RefCell, hint::black_box};
use weir::kernel::{
    ids::UpstreamIx,
    models::{Strategy, Target, Weight},
    routing::{
        hash::mix,
        health::Health,
        pick::{Ask, pick},
    },
    time::MonoUs,
};

fn pick_among(c: &mut Criterion) {
    let now = MonoUs(1_000_000);
    for count in [5, 50] {
        let targets: Vec<Target> = (0..count)
            .map(|at| {
                let mut target = Target::new(UpstreamIx(at), &format!("account-{at}"), "claude-sonnet-4-6", None, 0);
                target.weight = Weight::new(1 + u32::from(at % 3));
                target
            })
            .collect();
        // As on a shard: the health of each is looked at, at this moment.
        let healths: Vec<RefCell<Health>> = targets.iter().map(|_| RefCell::new(Health::new(now))).collect();
        for strategy in [Strategy::Affinity, Strategy::LeastBusy, Strategy::Weighted, Strategy::Ordered] {
            c.bench_function(&format!("pick among {count} targets, {strategy:?}"), |b| {
                let mut request = 0;
                b.iter(|| {
                    request += 1;
                    let chance = mix(request, 7);
                    let ask = Ask { strategy, session: Some(chance), bound: None, tried: 0, random: chance };
                    pick(black_box(&targets), &ask, |target| {
                        healths[usize::from(target.upstream.0)].borrow().standing(now)
                    })
                });
            });
        }
    }
}

criterion_group!(picks, pick_among);
criterion_main!(picks);
