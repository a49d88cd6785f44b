//! What the whole job of a gateway costs beside the relaying of bytes: identify → admit → meter → settle → record for one request,
//! and metering for one event. Single parts of it stand here and in `gate.rs`. Run with `cargo bench --bench governance`.
//!
//! The parts are the shard's own, in the order of the walk, with three accounts (key, team, session) and two limits. The journal's
//! end takes its entries in the same loop, which the shard does not pay for in life, so the figures are on the high side.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking, and its macros make public items")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrayvec::ArrayVec;
use criterion::{Criterion, criterion_group, criterion_main};
use weir::data::gate::expect::Expectations;
use weir::data::gate::leases::{Ask, Decision, LeaseBook, Touch};
use weir::data::gate::rates::{RateAsk, RateBook, RateDecision};
use weir::data::gate::standings::{Moment, Standings, Who};
use weir::data::relay::meter::{Look, Meter};
use weir::data::spare::Spare;
use weir::dialect::route;
use weir::kernel::account::{Mode, ScopeKind};
use weir::kernel::ids::{PrincipalId, RequestId, ShardId, UpstreamIx};
use weir::kernel::keys::{Key, KeyDigest, KeyTable};
use weir::kernel::limiter::Measure;
use weir::kernel::models::{Model, ModelTable, Strategy, Target};
use weir::kernel::money::Nanos;
use weir::kernel::names::NameId;
use weir::kernel::policy::AllowList;
use weir::kernel::pricing::PriceBook;
use weir::kernel::record::{Format, Open, Operation, Outcome, Record, inline};
use weir::kernel::rules::{BudgetRule, LimitRule, RuleSet, Rules, ScopePattern};
use weir::kernel::snapshot::{RateLimit, Reserve, Snapshot};
use weir::kernel::standing::Registry;
use weir::kernel::time::{MonoUs, UnixMs};
use weir::kernel::usage::{Usage, UsageSource};
use weir::kernel::window::Period;
use weir::link::up::{UpReceiver, UpSender, door};
use weir::wire::h1::Method;

const MODEL: &str = "claude-sonnet-4-6";
const SECRET: &[u8] = b"weir-secret-of-key-4711";
const WHO: Who<'_> = Who { key: "key-4711", user: "alice@example.com", team: "platform", project: "checkout" };
const DELTA: &[u8] = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"let n = 4;\\n\"}}\n\n";
const STREAM: Look<'_> = Look { billable: true, status: 200, content_type: b"text/event-stream", encoded: false };

fn rules() -> Rules {
    let each = ScopePattern::Each;
    let budget = |kind| BudgetRule {
        whom: each(kind),
        amount: Nanos(1_000_000_000_000_000),
        period: Period::Monthly,
        mode: Mode::Hard,
        blocked_message: "".into(),
    };
    let budgets = [ScopeKind::Key, ScopeKind::Team, ScopeKind::Session].map(budget);
    let limits = [Measure::Requests, Measure::InputTokens].map(|measure| (measure, 100_000_000_000));
    let limit =
        LimitRule { whom: each(ScopeKind::User), limits: limits.into_iter().collect(), cache_read_permille: 100 };
    Rules { budgets: RuleSet::new(budgets.into()), limits: RuleSet::new(vec![limit]) }
}

fn keys() -> KeyTable {
    let key = |n: u32| Key {
        principal: PrincipalId(n),
        id: format!("key-{n}").into(),
        digest: KeyDigest::of(format!("weir-secret-of-key-{n}").as_bytes()),
        retiring: None,
        models: AllowList::everything(),
        expires: None,
        trusted_peers: Box::default(),
        budgets: Box::default(),
        rate_limits: Box::default(),
    };
    KeyTable::new((0..10_000).map(key).collect())
}

/// The answer that a unary request gets: 2 KB of JSON, usage last.
fn answer() -> Vec<u8> {
    let text = "the quick brown fox jumps over the lazy dog ".repeat(42);
    format!(
        r#"{{"id":"msg_01","type":"message","role":"assistant","model":"{MODEL}","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","usage":{{"input_tokens":512,"cache_creation_input_tokens":0,"cache_read_input_tokens":40000,"output_tokens":420}}}}"#
    )
    .into_bytes()
}

struct Shard {
    keys: KeyTable,
    snapshot: Snapshot,
    standings: Standings,
    leases: LeaseBook,
    rates: RateBook,
    expectations: Expectations,
    prices: PriceBook,
    up: UpSender,
    journal: UpReceiver,
    count: u64,
}

impl Shard {
    fn new() -> Self {
        let (up, journal) = door();
        Self {
            keys: keys(),
            snapshot: Snapshot::of_rules(1, rules(), Arc::new(Registry::default())),
            standings: Standings::default(),
            leases: LeaseBook::new(0, 1),
            rates: RateBook::new(1),
            expectations: Expectations::default(),
            prices: PriceBook::built_in(),
            up,
            journal,
            count: 0,
        }
    }

    /// One request. Returns what it cost, so that nothing of it can be left out.
    fn request(&mut self, secret: &[u8], answer: &[u8]) -> Nanos {
        self.count += 1;
        let now = Moment { mono: MonoUs(1_000_000 + self.count * 50), unix_seconds: 1_000_000 };
        // Identify.
        let found = self.keys.find(secret).unwrap();
        let principal = self.keys.get(found.key).unwrap().principal;
        let own = self.standings.of(WHO, &self.snapshot, now).unwrap();
        let session = self.standings.of_session(principal, "0f3c-session", &self.snapshot, now).unwrap();
        // Admit.
        let mut ticket = self.up.ticket().unwrap();
        let limits: ArrayVec<&RateLimit, 8> = own.rate_limits.iter().chain(&session.rate_limits).collect();
        let ask = RateAsk { requests_only: false, input_tokens: 512 };
        let RateDecision::Admitted(held) = self.rates.admit(limits.iter().copied(), ask, now.mono, true) else {
            panic!("there is room")
        };
        let rates = self.prices.rates("provider", MODEL, MODEL);
        let bound = rates.bound(2048, 32_000);
        let kind = self.expectations.kind(principal, MODEL);
        let budgets = own.budgets.iter().chain(&session.budgets);
        let touches: ArrayVec<Touch<'_>, 8> = budgets
            .map(|budget| Touch { account: budget.account_at(now.unix_seconds).unwrap(), mode: budget.mode })
            .collect();
        assert_eq!((touches.len(), limits.len()), (3, 2));
        let ask = Ask { bound, expected: self.expectations.expected(kind, bound), exact: true };
        let decision = self.leases.admit(touches.iter().copied(), ask, Reserve::Expected, UnixMs(1_000_000_000));
        let Decision::Admitted(reservation) = decision else { panic!("there is room: {decision:?}") };
        let request_id = RequestId::new(1_000_000_000, ShardId(0), self.count);
        self.up.open(&mut ticket, opening(request_id, principal, reservation.amount()));
        // Meter.
        let mut meter = Meter::new(true);
        meter.fit(Look { content_type: b"application/json", ..STREAM }, &mut Spare::default());
        meter.feed(answer);
        meter.finish();
        let usage = meter.tally().usage();
        let billed = meter.tally().bill(&usage, &rates, |_| rates);
        // Settle and record.
        self.leases.settle(reservation, billed.cost);
        self.expectations.learn(kind, bound, billed.cost);
        self.rates.settle(held, &billed.usage, now.mono);
        self.up.close(ticket, closing(request_id, principal, billed.usage, billed.cost));
        // The journal's end is another thread in life.
        if self.count.is_multiple_of(256) {
            self.journal.drain(usize::MAX, |entry| drop(black_box(entry)));
            self.leases.tick(UnixMs(1_000_000_000));
            self.rates.tick(now.mono);
        }
        billed.cost
    }
}

fn opening(request_id: RequestId, principal: PrincipalId, reserved: Nanos) -> Open {
    Open {
        request_id,
        started_at: UnixMs(1_000_000_000),
        principal,
        session: inline(b"7b8f2c1e-0d3a-4f5b-9c6d-000000000001"),
        format: Format::Anthropic,
        operation: Operation::Messages,
        model_requested: inline(MODEL.as_bytes()),
        upstream: NameId::default(),
        request_bytes: 2048,
        reserved,
        estimate: Usage { input: 512, ..Usage::default() },
        estimate_cost: Nanos(1_536_000),
    }
}

fn closing(request_id: RequestId, principal: PrincipalId, usage: Usage, cost: Nanos) -> Box<Record> {
    Box::new(Record {
        request_id,
        principal: Some(principal),
        operation: Operation::Messages,
        model_requested: inline(MODEL.as_bytes()),
        model_served: inline(MODEL.as_bytes()),
        status: 200,
        outcome: Outcome::Completed,
        usage,
        usage_source: UsageSource::Reported,
        cost,
        ..Record::default()
    })
}

fn governance(c: &mut Criterion) {
    let mut group = c.benchmark_group("governance");
    let (mut shard, answer) = (Shard::new(), answer());
    let cost = shard.request(SECRET, &answer);
    // 512 at 3, 40,000 at 0.30 and 420 at 15 dollars a million.
    assert_eq!(cost, Nanos(1_536_000 + 12_000_000 + 6_300_000));
    group.bench_function("request", |b| b.iter(|| shard.request(black_box(SECRET), black_box(&answer))));
    let mut meter = Meter::new(true);
    meter.fit(STREAM, &mut Spare::default());
    // Each event comes in a read of its own, as they do from a model that thinks.
    group.bench_function("event", |b| {
        b.iter_custom(|events| {
            let began = Instant::now();
            for _ in 0..events {
                meter.feed(black_box(DELTA));
            }
            began.elapsed()
        });
    });
    assert!(meter.output_bytes() > 0 && !meter.gave_up());
    group.finish();
}

fn parts(c: &mut Criterion) {
    let mut group = c.benchmark_group("parts");
    let path = b"/v1/messages";
    assert_eq!(route(Method::Post, path).unwrap().operation, Operation::Messages);
    group.bench_function("route", |b| b.iter(|| route(Method::Post, black_box(path)).is_ok()));
    let model = |n: usize| Model {
        id: format!("claude-model-{n}").into(),
        aliases: vec![format!("alias-{n}").into()],
        targets: vec![Target::new(UpstreamIx(0), "provider", &format!("claude-model-{n}"), None, 0)],
        strategy: Strategy::Ordered,
    };
    let models = ModelTable::new((0..100).map(model).collect(), Vec::new());
    assert!(models.targets("alias-42").is_some());
    group.bench_function("one of 100 models", |b| b.iter(|| models.targets(black_box("claude-model-42")).is_some()));
    let (mut up, mut journal) = door();
    let mut count = 0;
    group.bench_function("record emit", |b| {
        b.iter(|| {
            count += 1;
            let id = RequestId::new(1_000_000_000, ShardId(0), count);
            let mut ticket = up.ticket().unwrap();
            up.open(&mut ticket, opening(id, PrincipalId(1), Nanos(1)));
            up.close(ticket, closing(id, PrincipalId(1), Usage::default(), Nanos(1)));
            if count % 256 == 0 {
                journal.drain(usize::MAX, |entry| drop(black_box(entry)));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, governance, parts);
criterion_main!(benches);
