//! The hard cap, attacked by every shard at once (law 6).

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use serde_json::Value;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Budget, Fleet, bill, nanos};
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Got, Leave};

const CALLERS: usize = 200;
/// What each answer uses; with at most [`MAX_TOKENS`] output it costs a third of a cent.
const SIM: &str = "input_tokens=100 output_tokens=200 events=2 first_ms=5";
const COST: i64 = 100 * 3000 + 200 * 15_000;
const MAX_TOKENS: u64 = 250;

fn attack(fleet: &Fleet, callers: usize, ask: Ask<'_>) -> Vec<Got> {
    swarm::all_at_once(fleet.weir.clients(), &vec![(ask, Leave::AtTheEnd); callers])
}

fn usual() -> Ask<'static> {
    Ask { sim: SIM, max_tokens: MAX_TOKENS, ..Ask::default() }
}

/// What everybody got is one of three things; returns how many were served, sent away for good, and asked to come back.
fn sorted(got: &[Got]) -> (usize, usize, usize) {
    let (mut served, mut blocked, mut busy) = (0, 0, 0);
    for got in got {
        match (got.status, got.error_type().as_str()) {
            (200, _) => served += 1,
            (429, "billing_error") => {
                assert_eq!(got.header("x-should-retry"), Some("false"));
                blocked += 1;
            }
            (429, "rate_limit_error") => {
                let wait: u64 = got.header("retry-after").and_then(|text| text.parse().ok()).expect("retry-after");
                assert!((1..=60).contains(&wait) && got.header("x-should-retry").is_none(), "{}", got.head);
                busy += 1;
            }
            _ => panic!("neither served nor a limit: {} {}", got.head, String::from_utf8_lossy(&got.body)),
        }
    }
    (served, blocked, busy)
}

/// Whoever was refused for good was refused when the money was really gone: at that moment the ended requests had spent it.
fn refused_only_when_spent(records: &[Value], cap: i64) {
    let ended = |record: &Value| record["ended_at"].as_str().expect("a time").to_owned();
    for refused in records.iter().filter(|record| record["refused_by"] == "budget_spent") {
        let at = ended(refused);
        let spent: i64 =
            records.iter().filter(|record| ended(record) <= at).map(|record| nanos(&record["cost_usd"])).sum();
        assert!(spent >= cap, "refused at {at} with {spent} of {cap} spent: {refused}");
    }
}

/// Asked to come back only after waiting, not at the first glance.
fn busy_only_after_a_wait(records: &[Value]) {
    for record in records.iter().filter(|record| record["refused_by"] == "budget_busy") {
        assert!(record["duration_us"].as_u64() >= Some(1_000_000), "{record}");
    }
}

#[test]
fn two_shards_together_pass_a_hard_cap_by_more_than_one_request() {
    let cap = 50_000_000;
    let fleet = fleet::start("[[budget]]\nscope = \"team:platform\"\namount = \"0.05\"\nperiod = \"monthly\"\n");
    let got = attack(&fleet, CALLERS, usual());
    let (served, blocked, busy) = sorted(&got);
    let records = fleet.all_records(CALLERS);
    let budget = fleet.budget("team:platform");
    assert_eq!(budget.spent, served as i64 * COST, "what was served is what was spent");
    assert!(budget.spent <= cap + COST, "{budget:?} after {served} of {COST}");
    refused_only_when_spent(&records, cap);
    busy_only_after_a_wait(&records);
    assert!(blocked + busy > 0 && served as i64 * COST > cap - COST, "{served} served, {blocked} blocked, {busy} busy");
    assert_eq!(budget.reserved, 0);
    assert!(fleet.shard_figures("connections_accepted").iter().all(|count| *count > 20), "both shards took part");
    // The last room is used by whoever comes now, and then it is over.
    eventually(DEADLINE, "the budget is used up", || (fleet.ask(usual()).status == 429).then_some(()));
    let budget = fleet.budget("team:platform");
    assert!((cap..=cap + COST).contains(&budget.spent), "{budget:?}");
}

#[test]
fn a_cap_gives_way_once_requests_of_a_kind_have_become_usual() {
    // Both shards know what such requests cost before the attack, so that they reserve little for each.
    let (cap, warm) = (200_000_000, 40);
    let fleet = fleet::start("[[budget]]\nscope = \"user:*\"\namount = \"0.20\"\nperiod = \"daily\"\n");
    let warmed = attack(&fleet, warm, Ask { stream: true, ..usual() });
    assert_eq!(sorted(&warmed).0, warm);
    let (served, ..) = sorted(&attack(&fleet, CALLERS, Ask { stream: true, ..usual() }));
    let records = fleet.all_records(warm + CALLERS);
    let budget = fleet.budget("user:alice@example.com");
    assert_eq!(budget.spent, (warm + served) as i64 * COST);
    assert!(budget.spent > cap - COST && budget.spent <= cap + COST, "{budget:?}");
    refused_only_when_spent(&records, cap);
    busy_only_after_a_wait(&records);
}

#[test]
fn what_is_usual_is_learnt_from_bounds_that_were_not_known_yet() {
    // `max_tokens` comes last: as long as there is room, such a request is admitted before it has been read. When there is
    // little room it is awaited, and the most that the request can cost turns out to be far less.
    let ask = Ask {
        sim: "input_tokens=6000 output_tokens=200 events=2 first_ms=30",
        prompt_bytes: 20_000,
        max_tokens: MAX_TOKENS,
        ..Ask::default()
    };
    let (cost, warm) = (6000 * 3000 + 200 * 15_000, 40);
    let budget = |amount: &str| format!("[[budget]]\nscope = \"org\"\namount = \"{amount}\"\nperiod = \"total\"\n");
    let fleet = fleet::start(&budget("1000.00"));
    assert_eq!(sorted(&attack(&fleet, warm, ask)).0, warm);
    fleet.all_records(warm);
    // Room for a few of them is left.
    let cap = warm as i64 * cost + 300_000_000;
    fleet.weir.write_config(&fleet::config(
        fleet.provider.addr(),
        &budget(&format!("{}.{:09}", cap / 1_000_000_000, cap % 1_000_000_000)),
    ));
    fleet.reload();
    sorted(&attack(&fleet, CALLERS, ask));
    let records = fleet.all_records(warm + CALLERS);
    let budget = fleet.budget("org");
    assert_eq!(budget.amount, cap);
    assert!(budget.spent <= cap + cost, "{budget:?}, {cost} each");
    refused_only_when_spent(&records, cap);
}

#[test]
fn dear_requests_behind_many_cheap_ones_pass_a_cap_without_a_bound() {
    let budget = |amount: &str| format!("[[budget]]\nscope = \"org\"\namount = \"{amount}\"\nperiod = \"total\"\n");
    let fleet = fleet::start(&budget("1000.00"));
    let cheap = Ask { sim: "input_tokens=1 output_tokens=1 events=1", ..usual() };
    assert_eq!(sorted(&attack(&fleet, CALLERS, cheap)).0, CALLERS);
    fleet.all_records(CALLERS);
    // Now each costs nearly all it can, and all are on their way before the first has ended.
    let room = 50_000_000;
    let cap = fleet.budget("org").spent + room;
    fleet.weir.write_config(&fleet::config(fleet.provider.addr(), &budget(&format!("0.{cap:09}"))));
    fleet.reload();
    let sim = "input_tokens=100 output_tokens=200 events=2 first_ms=100";
    sorted(&attack(&fleet, CALLERS, Ask { sim, ..usual() }));
    fleet.all_records(2 * CALLERS);
    let budget = fleet.budget("org");
    assert!(budget.amount == cap && budget.spent >= cap - COST, "{budget:?}");
    assert!(budget.spent <= cap + 7 * room + COST, "{budget:?}, {COST} each");
}

#[test]
fn strict_reservations_pass_the_cap_at_all() {
    let cap = 50_000_000;
    let more = "[budgets]\nreserve = \"strict\"\n[[budget]]\nscope = \"org\"\namount = \"0.05\"\nperiod = \"weekly\"\n";
    let fleet = fleet::start(more);
    // Each uses every output token it may, and more input than its bytes would make.
    let ask = Ask { sim: "input_tokens=150 output_tokens=250 events=1", max_tokens: 250, ..Ask::default() };
    let asks: Vec<_> = (0..CALLERS)
        .map(|n| {
            (Ask { key: if n % 2 == 0 { ALICE_KEY } else { BOB_KEY }, stream: n % 3 == 0, ..ask }, Leave::AtTheEnd)
        })
        .collect();
    let got = swarm::all_at_once(fleet.weir.clients(), &asks);
    let (served, ..) = sorted(&got);
    let records = fleet.all_records(CALLERS);
    let budget = fleet.budget("org");
    let cost = 150 * 3000 + 250 * 15_000;
    assert_eq!(budget.spent, served as i64 * cost);
    assert!(budget.spent <= cap, "{budget:?}");
    // A request is turned away only if the most it can cost would not fit any more.
    let bound = records.iter().map(|record| nanos(&record["reserved_usd"])).max().unwrap_or_default();
    assert!(bound >= cost && budget.spent > cap - bound, "{budget:?}, bound {bound}");
}

#[test]
fn the_figures_of_a_budget_do_not_add_up_while_it_is_attacked() {
    let fleet = fleet::start(
        "[[budget]]\nscope = \"team:*\"\namount = \"0.40\"\nperiod = \"monthly\"\n[[budget]]\nscope = \"org\"\namount = \"0.60\"\nperiod = \"total\"\n",
    );
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut looks, mut spent_before) = (0, [0; 3]);
            while !over.load(SeqCst) || looks < 10 {
                let answer = fleet.weir.admin_get("/admin/v1/budgets");
                let budgets = answer["data"].as_array().expect("budgets");
                assert_eq!(budgets.len(), 3);
                for (value, before) in budgets.iter().zip(&mut spent_before) {
                    let Budget { amount, spent, reserved, remaining } = Budget::of(value);
                    assert_eq!(spent + reserved + remaining, amount, "{value}");
                    assert!(reserved >= 0 && spent >= *before, "spending only grows: {value}, {before} before");
                    *before = spent;
                }
                looks += 1;
            }
        });
        let asks: Vec<_> = (0..CALLERS)
            .map(|n| (Ask { key: if n % 2 == 0 { ALICE_KEY } else { BOB_KEY }, ..usual() }, Leave::AtTheEnd))
            .collect();
        let got = swarm::all_at_once(fleet.weir.clients(), &asks);
        over.store(true, SeqCst);
        watcher.join().expect("the figures add up at every moment");
        sorted(&got);
    });
    let records = fleet.all_records(CALLERS);
    let cost = |team: &str| {
        let theirs = records.iter().filter(|record| team.is_empty() || record["team"] == team);
        theirs.map(|record| nanos(&record["cost_usd"])).sum::<i64>()
    };
    for (scope, team) in [("team:platform", "platform"), ("team:data", "data"), ("org", "")] {
        let budget = fleet.budget(scope);
        assert_eq!((budget.spent, budget.reserved), (cost(team), 0), "{scope}");
    }
}

#[test]
fn money_that_one_shard_only_holds_is_refused_to_the_other() {
    // The bound of a request is most of the budget, its cost next to nothing: each needs nearly all the room there is.
    let fleet = fleet::start("[[budget]]\nscope = \"org\"\namount = \"1.00\"\nperiod = \"daily\"\n");
    let ask = Ask { sim: "input_tokens=10 output_tokens=10 events=1", max_tokens: 50_000, ..Ask::default() };
    let (mut sent, mut seen) = (0, [false; 2]);
    while seen != [true; 2] || sent < 12 {
        let before = fleet.shard_figures("connections_accepted");
        assert_eq!(fleet.ask(ask).status, 200, "request {sent} finds the room that the other shard gives back");
        let after = fleet.shard_figures("connections_accepted");
        for shard in 0..2 {
            seen[shard] |= after[shard] > before[shard];
        }
        sent += 1;
        assert!(sent < 200, "the kernel spreads connections over both shards");
    }
    fleet.all_records(sent);
    assert_eq!(fleet.budget("org").spent, sent as i64 * (10 * 3000 + 10 * 15_000));
}

#[test]
fn a_price_list_of_the_test_disagrees_with_the_cost_it_attacks_with() {
    let used = weir::loadtest::provider::BilledUsage { input: 100, output: 200, ..Default::default() };
    assert_eq!(bill(fleet::SONNET, &used), COST);
}
