//! weir's books against the provider's own, after everything that can go wrong has: callers that leave, upstreams that reset,
//! refuse and fall silent, and a gateway that is killed in the middle and started again. Ten rounds over one journal, each
//! with chances of its own; a failed round says which request, and what each side says of it.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

mod support;

#[path = "gateway_money/fleet.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod fleet;
#[path = "gateway_money/swarm.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod swarm;

#[path = "reconciliation/books.rs"]
mod books;
#[path = "reconciliation/plan.rs"]
mod plan;

use std::collections::BTreeSet;
use std::thread;

use jiff::Timestamp;
use serde_json::Value;

use books::{Case, Side, reconcile};
use fleet::{Fleet, nanos};
use plan::Plan;
use support::{DEADLINE, eventually};
use swarm::Got;

const ROUNDS: u64 = 10;
/// Requests in the wave that the gateway is killed under.
const KILLED: usize = 70;
/// Requests in the wave after its restart.
const AFTER: usize = 40;
const SEED: u64 = 20_261_122;
const CONFIG: &str = r#"
[limits]
first_byte_timeout = "1s"
idle_timeout = "600ms"

[[budget]]
scope = "org"
amount = "1000000.00"
period = "total"

[[budget]]
scope = "team:*"
amount = "500000.00"
period = "monthly"
"#;

/// Sends all plans at once, and kills the gateway once the provider has ended so many exchanges more, if asked to. Returns what
/// callers got, and up to when everything was on disk at the kill.
fn wave(fleet: &mut Fleet, plans: &[Plan], kill_at: Option<u64>) -> (Vec<Got>, Option<Timestamp>) {
    let clients = fleet.weir.clients();
    let asks: Vec<_> = plans.iter().map(|plan| (plan.ask(), plan.leave)).collect();
    let before = fleet.provider.books().totals.requests;
    thread::scope(|scope| {
        let callers = scope.spawn(|| swarm::all_at_once(clients, &asks));
        let covered = kill_at.map(|more| {
            eventually(DEADLINE, "the moment of the kill", || {
                let ended = fleet.provider.books().totals.requests - before;
                (ended >= more || callers.is_finished()).then_some(())
            });
            let covered = fleet.weir.as_of();
            fleet.weir.kill9();
            covered
        });
        (callers.join().expect("callers do not panic"), covered)
    })
}

/// All records, from the journal's files, once nothing runs and everything is on disk.
fn records_on_disk(fleet: &Fleet) -> Vec<Value> {
    fleet.weir.all_booked();
    let lines = audit(fleet, &["query", "--format", "jsonl"]);
    lines.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
}

/// What an audit command says, beside the running gateway.
fn audit(fleet: &Fleet, arguments: &[&str]) -> String {
    let store = fleet.weir.dir().join("weir-data").display().to_string();
    let arguments: Vec<&str> = ["audit"].iter().chain(arguments).copied().chain(["--store", &store]).collect();
    let output = fleet::run_weir(&arguments, fleet.weir.dir());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Totals and budgets are the sums of the records, and nothing is held back any more.
fn sums_agree(fleet: &Fleet, records: &[Value]) {
    let cost = |team: Option<&str>| -> i64 {
        let counted = records.iter().filter(|record| team.is_none_or(|team| record["team"] == team));
        counted.map(|record| nanos(&record["cost_usd"])).sum()
    };
    let total: i64 = fleet.usage("").iter().map(|row| nanos(&row["cost_usd"])).sum();
    assert_eq!(total, cost(None), "the ledger's total is the records' sum");
    for (scope, spent) in
        [("org", cost(None)), ("team:platform", cost(Some("platform"))), ("team:data", cost(Some("data")))]
    {
        let budget = fleet.budget(scope);
        assert_eq!((budget.spent, budget.reserved), (spent, 0), "{scope}: spent and reserved");
    }
}

#[test]
fn weirs_books_differ_from_the_providers_by_more_than_what_is_marked_estimated() {
    let mut random = fleet::random(SEED);
    let mut fleet = fleet::start(CONFIG);
    let (mut crashed, mut estimated, mut reported, mut unflushed) = (0, 0, 0, 0);
    let mut seen = BTreeSet::new();
    for round in 1..=ROUNDS {
        let killed: Vec<Plan> = (0..KILLED).map(|n| Plan::draw(&mut random, round, n)).collect();
        let after: Vec<Plan> = (KILLED..KILLED + AFTER).map(|n| Plan::draw(&mut random, round, n)).collect();
        let kill_at = random.u64(KILLED as u64 / 7..KILLED as u64 * 2 / 3);
        let (got_killed, covered) = wave(&mut fleet, &killed, Some(kill_at));
        fleet.weir.restart();
        let (got_after, _) = wave(&mut fleet, &after, None);
        let records = records_on_disk(&fleet);
        let entries = fleet.books(1).entries;

        let ids: BTreeSet<&str> = records.iter().filter_map(|record| record["request_id"].as_str()).collect();
        assert_eq!(ids.len(), records.len(), "round {round}: a request stands in the books twice");
        let gone: Vec<&String> = seen.iter().filter(|id: &&String| !ids.contains(id.as_str())).collect();
        assert!(gone.is_empty(), "round {round}: gone since the round before: {gone:?}");
        seen = ids.into_iter().map(str::to_owned).collect();

        let cases = killed.iter().zip(&got_killed).map(|(plan, got)| Case { plan, got, covered });
        let cases = cases.chain(after.iter().zip(&got_after).map(|(plan, got)| Case { plan, got, covered: None }));
        let side = Side::new(&records, &entries);
        let found = reconcile(cases, &side);
        assert!(
            found.wrong.is_empty(),
            "round {round}, {} of its requests disagree:\n{}",
            found.wrong.len(),
            found.told()
        );
        println!(
            "round {round}: {} as the provider says, {} estimated ({} tokens apart; {} of them closed after the kill), {} gone \
             unflushed",
            found.reported, found.estimated, found.apart, found.crashed, found.unflushed
        );
        crashed += found.crashed;
        estimated += found.estimated;
        reported += found.reported;
        unflushed += found.unflushed;
        sums_agree(&fleet, &records);
        audit(&fleet, &["verify"]);
    }
    // Each kind of end was met, or nothing was tried.
    assert!(crashed >= 50 && estimated > crashed && reported > 150, "{crashed}, {estimated}, {reported}");
    assert!(
        unflushed < KILLED * ROUNDS as usize / 2,
        "{unflushed} requests went with the process: is anything flushed?"
    );
    assert_eq!(fleet.shard_figures("records_lost"), [0, 0]);
}
