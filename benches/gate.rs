//! Admission and settlement: what the budgets cost a request. Run with `cargo bench --bench gate`; `cargo test --benches` runs
//! each once.
#![allow(missing_docs, reason = "criterion's macros make items without documentation")]

use criterion::{Criterion, criterion_group, criterion_main};
use std::{hint::black_box, sync::Arc};
use weir::{
    data::gate::{
        leases::{Ask, Decision, LeaseBook, Touch},
        rates::{RateAsk, RateBook, RateDecision},
    },
    kernel::{
        account::{Account, AccountId, Mode, Scope},
        ids::RequestId,
        keys::{Key, KeyDigest, KeyTable},
        limiter::{Limiter, LimiterId, Measure},
        money::Nanos,
        names::NameId,
        policy::AllowList,
        record::{Format, Open, Operation, Record, inline},
        snapshot::{RateLimit, Reserve},
        time::{MonoUs, UnixMs},
        usage::Usage,
        window::{Period, Window},
    },
    link::up::door,
};

const NOW: UnixMs = UnixMs(1_000_000);
const DOLLARS: i64 = 1_000_000_000;

fn accounts(count: u32) -> Vec<Arc<Account>> {
    (0..count)
        .map(|id| {
            let scope = Scope::Team(format!("team-{id}"));
            let amount = Nanos(1_000_000 * DOLLARS);
            Arc::new(Account::new(AccountId(id), scope, Period::Monthly, Window::ALWAYS, amount, Nanos::ZERO, 2))
        })
        .collect()
}

fn admit_and_settle(c: &mut Criterion) {
    for count in [1, 6] {
        let accounts = accounts(count);
        let mut book = LeaseBook::new(0, 2);
        let ask = Ask { bound: Nanos(5 * DOLLARS), expected: Nanos(DOLLARS / 10), exact: true };
        c.bench_function(&format!("admit and settle, {count} accounts"), |b| {
            let touches: Vec<_> = accounts.iter().map(|account| Touch { account, mode: Mode::Hard }).collect();
            b.iter(|| match book.admit(black_box(&touches).iter().copied(), ask, Reserve::Expected, NOW) {
                Decision::Admitted(reservation) => book.settle(reservation, Nanos(black_box(1000))),
                other => panic!("there is room: {other:?}"),
            });
        });
    }
}

fn limit_and_settle(c: &mut Criterion) {
    for count in [1, 6] {
        let limits: Vec<RateLimit> = (0..count)
            .map(|id| {
                let measure = Measure::ALL[id as usize % 4];
                let scope = Scope::Team(format!("team-{id}"));
                let limiter = Arc::new(Limiter::new(LimiterId(id), scope, measure, 100_000_000_000));
                RateLimit { limiter, cache_read_permille: 100 }
            })
            .collect();
        let mut book = RateBook::new(2);
        let ask = RateAsk { requests_only: false, input_tokens: 1000 };
        let usage = Usage { input: 1000, output: 100, ..Usage::default() };
        // One clock for all of criterion's passes: one that went back would find the minute full.
        let mut now = 1_000_000;
        c.bench_function(&format!("rate-limit and settle, {count} limits"), |b| {
            b.iter(|| {
                // Time passes, so that what was taken comes back.
                now += 50;
                match book.admit(black_box(&limits), ask, MonoUs(now), true) {
                    RateDecision::Admitted(held) => book.settle(held, &usage, MonoUs(now)),
                    other => panic!("there is room: {other:?}"),
                }
            });
        });
    }
}

fn find_a_key(c: &mut Criterion) {
    let key = |n: u32| Key {
        principal: weir::kernel::ids::PrincipalId(n),
        id: format!("key-{n}").into(),
        digest: KeyDigest::of(format!("weir-secret-of-key-{n}").as_bytes()),
        retiring: None,
        models: AllowList::everything(),
        expires: None,
        trusted_peers: Box::default(),
        budgets: Box::default(),
        rate_limits: Box::default(),
    };
    let table = KeyTable::new((0..10_000).map(key).collect());
    c.bench_function("find one of 10,000 keys", |b| {
        b.iter(|| table.find(black_box(b"weir-secret-of-key-4711")));
    });
}

/// The two entries that a request leaves, there and back: what handing them to the journal costs a shard and the journal's thread.
fn emit_a_record(c: &mut Criterion) {
    let (mut sender, mut receiver) = door();
    let note = Open {
        request_id: RequestId(1),
        started_at: NOW,
        principal: weir::kernel::ids::PrincipalId(1),
        session: inline(b"0f3c9d5a-1111-4222-8333-444455556666"),
        format: Format::Anthropic,
        operation: Operation::Messages,
        model_requested: inline(b"claude-sonnet-4-6"),
        upstream: NameId(1),
        request_bytes: 2048,
        reserved: Nanos(1000),
        estimate: Usage::default(),
        estimate_cost: Nanos(1000),
    };
    c.bench_function("note and record through the up door", |b| {
        b.iter(|| {
            let Some(mut ticket) = sender.ticket() else { panic!("there is room") };
            assert!(sender.open(&mut ticket, black_box(note)));
            let mut record = Box::<Record>::default();
            (record.request_id, record.session, record.model_requested) =
                (note.request_id, note.session, note.model_requested);
            sender.close(ticket, record);
            assert_eq!(receiver.drain(2, |entry| drop(black_box(entry))), 2);
        });
    });
}

criterion_group!(gate, admit_and_settle, limit_and_settle, find_a_key, emit_a_record);
criterion_main!(gate);
