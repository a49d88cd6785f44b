//! A start from a snapshot says what a start from the whole journal says.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::fleet::{self, Ask, BOB_KEY, Fleet, HAIKU, nanos};
use crate::support::{DEADLINE, eventually};

const BUDGET: &str = "[[budget]]\nscope = \"org\"\namount = \"100.00\"\nperiod = \"monthly\"\n";
const GROUPS: &str = "group_by=team,project,user,key,session,model,upstream,day,hour";

fn requests(fleet: &Fleet, count: usize) {
    for n in 0..count {
        let session = format!("session-{}", n % 3);
        let sim = "input_tokens=1000 cache_read=300 output_tokens=100";
        let ask = Ask { session: &session, sim, stream: n % 2 == 0, ..Ask::default() };
        assert_eq!(fleet.ask(ask).status, 200);
        assert_eq!(fleet.ask(Ask { key: BOB_KEY, model: HAIKU, ..ask }).status, 200);
    }
}

/// Everything that the ledger says, without when it says it.
fn told(fleet: &Fleet) -> (Vec<Value>, Vec<Value>, i64) {
    let mut records = fleet.records("");
    records.sort_by_key(|record| record["request_id"].as_str().unwrap_or_default().to_owned());
    (fleet.usage(GROUPS), records, fleet.budget("org").spent)
}

/// What the log says of the newest start: from a snapshot, and how many records had to be replayed.
fn last_start(fleet: &Fleet) -> (bool, u64) {
    let log = fleet.weir.log();
    let line = log.lines().rev().find(|line| line.contains("journal replayed")).expect("a start is logged");
    let line: Value = serde_json::from_str(line).expect("the log is JSON where it is no terminal");
    let fields = line.get("fields").unwrap_or(&line);
    let snapshot = fields["from_snapshot"].as_bool().unwrap_or_else(|| panic!("{line}"));
    (snapshot, fields["records"].as_u64().expect("a number"))
}

fn snapshot(fleet: &Fleet) -> PathBuf {
    fleet.weir.dir().join("weir-data/ledger.snapshot")
}

#[test]
fn a_restart_reads_the_whole_journal_again_or_counts_something_else() {
    let mut fleet = fleet::start(BUDGET);
    assert_eq!(last_start(&fleet), (false, 0));
    requests(&fleet, 10);
    fleet.all_records(20);
    let before = told(&fleet);
    fleet.weir.restart();
    assert_eq!(last_start(&fleet), (true, 0), "a clean end leaves nothing to replay");
    assert_eq!(told(&fleet), before);
    // And after a kill only what came after the snapshot.
    requests(&fleet, 5);
    fleet.all_records(30);
    let before = told(&fleet);
    fleet.weir.kill9();
    fleet.weir.restart();
    assert_eq!(last_start(&fleet), (true, 10));
    assert_eq!(told(&fleet), before);
}

#[test]
fn a_snapshot_that_does_not_fit_is_believed() {
    let mut fleet = fleet::start(BUDGET);
    requests(&fleet, 3);
    fleet.all_records(6);
    let before = told(&fleet);
    fleet.weir.restart();
    let good = fs::read(snapshot(&fleet)).expect("a snapshot");
    let mut damaged = good.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let mut newer = good.clone();
    newer[8] = 9;
    for (bytes, why) in [(&damaged[..], "does not match its hash"), (&good[..middle], "cut off"), (&newer, "checksum")]
    {
        fleet.weir.kill9();
        fs::write(snapshot(&fleet), bytes).expect("the file is written");
        fleet.weir.restart();
        assert_eq!(last_start(&fleet), (false, 6), "{why}");
        assert!(fleet.weir.log().contains(why), "{why} in\n{}", fleet.weir.log());
        assert_eq!(told(&fleet), before, "{why}");
    }
    // A clean end mends it.
    fleet.ask_record(Ask::default());
    fleet.weir.restart();
    assert_eq!(last_start(&fleet), (true, 0));
    // Without the file everything is replayed, and nobody complains.
    fleet.weir.kill9();
    fs::remove_file(snapshot(&fleet)).expect("it is there");
    let _ = fs::remove_file(snapshot(&fleet).with_extension("snapshot.previous"));
    fleet.weir.restart();
    assert_eq!(last_start(&fleet), (false, 7));
    eventually(DEADLINE, "all seven", || (fleet.usage("")[0]["requests"] == 7).then_some(()));
    assert_eq!(nanos(&fleet.usage("")[0]["cost_usd"]), fleet.budget("org").spent);
}
