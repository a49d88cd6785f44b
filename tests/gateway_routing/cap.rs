//! A hard cap in front of several accounts: what a request can cost depends on who will serve it (law 6).

use std::thread;

use serde_json::Value;

use crate::fixture::{Fleet, MODEL, ask, attempts};

const CALLERS: usize = 40;
/// Nano-dollars for what each answer of the dear account uses: 20 tokens of input, and all 64 that may be written.
const COST: i64 = 20 * 300_000 + 64 * 1_500_000;
const CAP: i64 = 500_000_000;

fn nanos(value: &Value) -> i64 {
    let (whole, fraction) = value.as_str().and_then(|text| text.split_once('.')).expect("dollars");
    format!("{whole}{fraction:0<9}").parse().expect("an amount")
}

#[test]
fn a_strict_cap_is_passed_because_a_dearer_account_answers_in_the_place_of_a_cheap_one() {
    let more = format!(
        "[budgets]\nreserve = \"strict\"\n[[budget]]\nscope = \"org\"\namount = \"0.50\"\nperiod = \"total\"\n\
         [[price]]\nupstream = \"account-1\"\nmodel = \"{MODEL}\"\ninput = \"300.00\"\noutput = \"1500.00\"\n"
    );
    let fleet = Fleet::start("ordered", &["status=529", "input_tokens=20,output_tokens=64,events=1"], &more);
    let served: usize = thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(|| ask(&fleet.weir, "", "").status)).collect();
        let statuses: Vec<u16> = callers.into_iter().map(|caller| caller.join().expect("a caller ends")).collect();
        assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
        statuses.iter().filter(|status| **status == 200).count()
    });
    let records = fleet.records(CALLERS);
    let answer = fleet.weir.admin_get("/admin/v1/budgets");
    let spent = nanos(&answer["data"][0]["spent"]);
    assert_eq!(spent, served as i64 * COST, "what was served is what was spent");
    assert!(spent <= CAP, "{spent} of {CAP} after {served} answers of {COST}");
    assert_eq!(fleet.asked(1), served as u64, "the dear account's own books");
    // The first requests were asked of the cheap account before, and held enough for the dear one all the same.
    assert!(records.iter().any(|record| attempts(record).len() == 2), "some have failed over");
    let held = records.iter().map(|record| nanos(&record["reserved_usd"])).max().unwrap_or_default();
    assert!(held >= COST && spent > CAP - held, "{spent}, {held} held for each");
}
