//! What is ill is left alone, tried again by one request, and taken back step by step.

use std::net::{SocketAddr, TcpListener};

use weir::loadtest::provider::{self, ProviderOptions};

use crate::fixture::{Fleet, ask, gateway, health, model, name, target, upstream};
use crate::support::{DEADLINE, PROVIDER_KEY, eventually};

#[test]
fn a_dead_account_is_dialled_by_every_request() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address");
    let well = crate::fixture::account("");
    let targets = [target("gone"), target("well")];
    let more = format!("{}{}{}", upstream("gone", gone), upstream("well", well.addr()), model("ordered", &targets));
    let weir = gateway(1, &more);
    let began = std::time::Instant::now();
    for _ in 0..200 {
        assert_eq!(ask(&weir, "", "").status, 200);
    }
    let cooldowns = 1.0 + began.elapsed().as_secs_f64().ceil();
    let label = ["upstream=\"gone\"", "result=\"unreachable\""];
    let dialled = eventually(DEADLINE, "the attempt is counted", || {
        Some(weir.metric("weir_upstream_attempts_total", &label)).filter(|count| *count > 0.0)
    });
    assert!(dialled <= cooldowns, "{dialled} dials in {cooldowns} cooldowns");
    let row = eventually(DEADLINE, "the operator sees it", || {
        Some(health(&weir, "gone")).filter(|row| row["state"] == "dead")
    });
    assert_eq!(row["shards"][0]["share"], 0, "{row}");
    assert!(row["shards"][0]["ejected_for_ms"].as_u64().is_some_and(|ms| ms <= 72_000), "{row}");
    assert_eq!(weir.metric("weir_upstream_ejected_shards", &["upstream=\"gone\""]), 1.0);
    assert_eq!(health(&weir, "well")["state"], "well");
}

#[test]
fn the_only_account_comes_back_and_nobody_notices() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr: SocketAddr = listener.local_addr().expect("its address");
    drop(listener);
    let weir = gateway(1, &format!("{}[models]\npassthrough = true\n", upstream("only", addr)));
    for _ in 0..20 {
        assert_eq!(ask(&weir, "", "").status, 502);
    }
    let dialled = eventually(DEADLINE, "the dial is counted", || {
        Some(weir.metric("weir_upstream_attempts_total", &["result=\"unreachable\""])).filter(|count| *count > 0.0)
    });
    assert!(dialled < 20.0, "{dialled}");
    let options = ProviderOptions { listen: addr, api_keys: vec![PROVIDER_KEY.into()], ..ProviderOptions::default() };
    let _only = provider::start(options).expect("the port is free again");
    eventually(DEADLINE, "it serves again", || (ask(&weir, "", "").status == 200).then_some(()));
    assert_eq!(ask(&weir, "", "").status, 200);
    eventually(DEADLINE, "and is seen to", || (health(&weir, "only")["state"] != "dead").then_some(()));
}

#[test]
fn an_account_that_answers_with_errors_is_asked_for_ever_and_never_taken_back() {
    let fleet = Fleet::start("ordered", &["status=500", ""], "");
    for _ in 0..30 {
        assert_eq!(ask(&fleet.weir, "", "").status, 200);
    }
    assert!(fleet.asked(0) < 10, "{} of 30", fleet.asked(0));
    eventually(DEADLINE, "it is seen to be sick", || (health(&fleet.weir, &name(0))["state"] == "sick").then_some(()));
    fleet.accounts[0].set_script("");
    eventually(DEADLINE, "it recovers", || {
        assert_eq!(ask(&fleet.weir, "", "").status, 200);
        let row = health(&fleet.weir, &name(0));
        let share = row["shards"][0]["share"].as_u64().expect("a share");
        (row["state"] == "recovering" && (100..1000).contains(&share)).then_some(())
    });
    let ejections = fleet.weir.metric("weir_upstream_ejections_total", &[&format!("upstream=\"{}\"", name(0))]);
    assert!(ejections >= 1.0);
}

#[test]
fn all_accounts_are_sick_and_nobody_is_asked_any_more() {
    let fleet = Fleet::start("", &["status=503,message=mine", "status=503,message=mine"], "");
    for _ in 0..40 {
        let answer = ask(&fleet.weir, "s", "");
        assert_eq!((answer.status, answer.json()["error"]["message"].as_str()), (503, Some("mine")));
    }
    let (one, other) = (fleet.asked(0), fleet.asked(1));
    assert!(one + other >= 40, "the least bad is asked: {one} {other}");
    assert!(one + other <= 40 + 20, "but once for each request: {one} {other}");
    fleet.accounts.iter().for_each(|account| account.set_script(""));
    assert_eq!(ask(&fleet.weir, "s", "").status, 200);
}
