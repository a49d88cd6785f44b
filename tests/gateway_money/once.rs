//! Exactly one record per request, whatever dies on the way (law 2), and books that agree with the provider's.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use weir::loadtest::provider::Entry;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, HAIKU, SONNET, bill, nanos, usage_of};
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Leave};

const CALLERS: usize = 2000;
const SEED: u64 = 20_261_121;
const BUDGETS: &str = r#"
[limits]
streams = 4000
connections = 4000

[[budget]]
scope = "org"
amount = "1000000.00"
period = "monthly"

[[budget]]
scope = "team:*"
amount = "500000.00"
period = "daily"

[[budget]]
scope = "user:*"
amount = "400000.00"
period = "total"
"#;

/// Requests and the ways their callers leave, as the seed says.
fn plans() -> Vec<(String, bool, bool, Leave)> {
    let mut random = fleet::random(SEED);
    let leave = |random: &mut fastrand::Rng| match random.u32(..100) {
        0..10 => Leave::AtOnce,
        10..14 => Leave::InsideTheBody,
        14..24 => Leave::After(random.usize(1..3000)),
        24..34 => Leave::ResetAfter(random.usize(1..3000)),
        _ => Leave::AtTheEnd,
    };
    let plan = |_| {
        let fail = ["reset", "529", "close", "error"][random.usize(..4)];
        let usage = format!("input_tokens={} cache_read={} cache_1h=17", random.u32(1..9000), random.u32(..90_000));
        let pace = format!("events={} gap_ms={} first_ms={}", random.u32(2..40), random.u32(..20), random.u32(..300));
        let after = ["", "", "after=close", "after=reset"][random.usize(..4)];
        let sim = format!("{usage} {pace} event_bytes=60 p_fail=0.15 fail={fail} {after}");
        (sim, random.bool(), random.bool(), leave(&mut random))
    };
    (0..CALLERS).map(plan).collect()
}

#[test]
fn a_request_leaves_no_record_or_two_when_clients_and_providers_die_at_random() {
    let fleet = fleet::start(BUDGETS);
    let plans = plans();
    let of = |(sim, stream, alice, leave): &'static (String, bool, bool, Leave)| {
        let (key, model) = if *alice { (ALICE_KEY, SONNET) } else { (BOB_KEY, HAIKU) };
        (Ask { sim, stream: *stream, key, model, ..Ask::default() }, *leave)
    };
    // A test process ends soon: its plans may live as long.
    let asks: Vec<_> = Vec::leak(plans).iter().map(of).collect();
    let got = swarm::all_at_once(fleet.weir.clients(), &asks);
    let records = fleet.all_records(CALLERS);

    let ids: HashSet<&str> = records.iter().filter_map(|record| record["request_id"].as_str()).collect();
    assert_eq!(ids.len(), CALLERS, "ids are unique");
    for (got, (_, leave)) in got.iter().zip(&asks).filter(|(got, _)| got.status != 0) {
        let id = got.header("x-weir-request-id").expect("every answer has an id");
        assert!(ids.contains(id), "{id} has an answer and no record ({leave:?})");
    }
    let whole = got.iter().filter(|got| got.whole && got.status == 200).count();
    let outcomes = |outcome: &str| records.iter().filter(|record| record["outcome"] == outcome).count();
    assert!(whole > CALLERS / 3, "{whole} whole answers");
    assert!(outcomes("client_aborted") > CALLERS / 10, "{} aborted", outcomes("client_aborted"));
    assert!(outcomes("upstream_failed") > CALLERS / 50, "{} failed upstream", outcomes("upstream_failed"));
    assert_eq!(outcomes("gateway_failed") + outcomes("refused"), 0, "nothing of this is the gateway's");
    agree(&records, &fleet.books(1).entries);

    let cost: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    assert_eq!(nanos(&fleet.usage("")[0]["cost_usd"]), cost, "totals are the records' sum");
    let team = |name: &str| {
        let theirs = records.iter().filter(|record| record["team"] == name);
        theirs.map(|record| nanos(&record["cost_usd"])).sum::<i64>()
    };
    for (scope, cost) in [
        ("org", cost),
        ("team:platform", team("platform")),
        ("team:data", team("data")),
        ("user:alice@example.com", team("platform")),
    ] {
        let budget = fleet.budget(scope);
        assert_eq!((budget.spent, budget.reserved), (cost, 0), "{scope}");
    }
    let leased = || fleet.weir.admin_get("/admin/v1/shards")["data"].as_array().cloned().unwrap_or_default();
    eventually(DEADLINE, "all leases flow back", || {
        leased().iter().all(|shard| nanos(&shard["leased_usd"]) == 0).then_some(())
    });
    for name in ["records_lost", "panics", "meters_gave_up", "streams"] {
        assert_eq!(fleet.shard_figures(name), [0, 0], "{name}");
    }
    assert!(fleet.shard_figures("connections_accepted").iter().all(|count| *count > 0), "both shards served");
}

/// A record with counts of the provider's says what the provider billed, even where the client left at the last event; nothing the provider billed in full is missing.
fn agree(records: &[Value], entries: &[Entry]) {
    let by_id: HashMap<&str, &Value> =
        records.iter().filter_map(|record| Some((record["upstream_request_id"].as_str()?, record))).collect();
    let mut matched = 0;
    for entry in entries {
        let Some(record) = by_id.get(entry.request_id.as_str()) else { continue };
        let used = usage_of(record);
        if record["usage_source"] == "reported" {
            assert_eq!(used, entry.usage, "{record}");
            matched += 1;
        }
        let model = entry.model.as_str();
        assert_eq!(nanos(&record["cost_usd"]), bill(model, &used), "{record}");
        if entry.status >= 400 {
            assert_eq!(nanos(&record["cost_usd"]), 0, "a refusal of the provider's is free: {record}");
        }
        if record["usage_source"] == "estimated" && record["status"] == 200 && record["stream"] == true {
            assert!(used.input > 0 && nanos(&record["cost_usd"]) > 0, "an abandoned stream is not free: {record}");
        }
    }
    let completed = records.iter().filter(|record| record["usage_source"] == "reported").count();
    assert!(matched == completed && matched > CALLERS / 4, "{matched} of {completed} found in the provider's books");
}
