//! What a change of routing costs in prompt caches is seen, and in dollars.

use std::collections::HashMap;

use serde_json::Value;
use weir::loadtest::provider::{BilledUsage, ProviderHandle};

use crate::fixture::{account, ask_with, config, gateway, model, name, prompt_of, target, upstream};
use crate::support::{DEADLINE, Weir, eventually};

const ACCOUNTS: usize = 5;
const SESSIONS: usize = 20;
/// Nano-dollars that a token costs more when it is written for five minutes than when it is read.
const MORE: i64 = 3750 - 300;

/// A configuration in which these accounts serve the model.
fn serving(accounts: &[ProviderHandle], places: std::ops::Range<usize>) -> String {
    let upstreams: String = accounts.iter().enumerate().map(|(at, a)| upstream(&name(at), a.addr())).collect();
    let targets: Vec<String> = places.map(|at| target(&name(at))).collect();
    format!("{upstreams}{}", model("", &targets))
}

/// One turn of every session; prompts grow.
fn turn(weir: &Weir, nth: usize) {
    for session in 0..SESSIONS {
        let text = "How deep is the river? ".repeat(200 + 30 * nth + session);
        let answer = ask_with(weir, &format!("session-{session}"), "", &prompt_of(session % 2 == 0, &text));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

fn reload(weir: &Weir, more: &str) {
    weir.write_config(&config(2, more));
    let answer = weir.admin_request("POST", "/admin/v1/reload", b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let wanted = answer.json()["version"].as_u64();
    eventually(DEADLINE, "all shards serve the new configuration", || {
        let shards = weir.admin_get("/admin/v1/shards");
        (shards["settled"] == true && shards["version"].as_u64() >= wanted).then_some(())
    });
}

/// What each session's turns used, in their order, by the accounts' own books.
fn turns(accounts: &[ProviderHandle]) -> HashMap<String, Vec<(u64, BilledUsage)>> {
    let mut turns: HashMap<String, Vec<(u64, BilledUsage)>> = HashMap::new();
    for account in accounts {
        let books = account.books_when(DEADLINE, |totals| totals.open == 0).expect("it comes to rest");
        for entry in books.entries {
            let session = entry.headers["anthropic-sim-session"].clone();
            turns.entry(session).or_default().push((entry.started_unix_ms, entry.usage));
        }
    }
    turns.values_mut().for_each(|turns| turns.sort_by_key(|(at, _)| *at));
    turns
}

/// The row of the newest reload, once so many sessions have been compared.
fn compared(weir: &Weir, sessions: usize) -> Value {
    eventually(DEADLINE, &format!("{sessions} sessions are compared"), || {
        let row = weir.admin_get("/admin/v1/cache-health")["data"][0].clone();
        (row["sessions"].as_u64() == Some(sessions as u64)).then_some(row)
    })
}

#[test]
fn a_reload_that_moves_sessions_away_from_their_caches_costs_money_unseen() {
    let accounts: Vec<ProviderHandle> = (0..ACCOUNTS).map(|_| account("caches=1")).collect();
    let weir = gateway(2, &serving(&accounts, 0..ACCOUNTS));
    (0..3).for_each(|nth| turn(&weir, nth));
    reload(&weir, &serving(&accounts, 3..ACCOUNTS));
    turn(&weir, 3);
    let row = compared(&weir, SESSIONS);
    let (mut moved, mut lost, mut before, mut after) = (0_u64, 0, (0, 0), (0, 0));
    for (session, turns) in turns(&accounts) {
        let [.., (_, third), (_, fourth)] = &turns[..] else { panic!("{session} has had no turns") };
        assert_eq!(turns.len(), 4);
        let whole = |usage: &BilledUsage| usage.input + usage.cache_read + usage.cache_write_5m;
        before = (before.0 + third.cache_read, before.1 + whole(third));
        after = (after.0 + fourth.cache_read, after.1 + whole(fourth));
        if fourth.cache_read == 0 {
            moved += 1;
            lost += third.cache_read + third.cache_write_5m;
        }
    }
    assert!((3..SESSIONS as u64).contains(&moved), "{moved} of {SESSIONS} sessions had to move");
    let dollars = format!("{}.{:09}", lost as i64 * MORE / 1_000_000_000, lost as i64 * MORE % 1_000_000_000);
    assert_eq!((row["cause"].as_str(), row["dropped"].as_u64()), (Some("reload"), Some(moved)), "{row}");
    assert_eq!((row["lost_tokens"].as_u64(), row["lost_usd"].as_str()), (Some(lost), Some(dollars.as_str())), "{row}");
    let rate = |(read, all): (u64, u64)| Some((read as f64 / all as f64 * 1000.0).round() / 1000.0);
    assert_eq!((row["hit_rate_before"].as_f64(), row["hit_rate_after"].as_f64()), (rate(before), rate(after)), "{row}");
    let team = &row["by_team_and_model"][0];
    assert_eq!((team["team"].as_str(), team["lost_usd"].as_str()), (Some("platform"), Some(dollars.as_str())));
    let counted = weir.metric("weir_cache_lost_usd_total", &["cause=\"reload\""]);
    assert!((counted - lost as f64 * MORE as f64 / 1e9).abs() < 1e-9, "{counted}, not {dollars}");
    assert_eq!(weir.metric("weir_cache_dropped_sessions_total", &["cause=\"reload\""]), moved as f64);
    eventually(DEADLINE, "the operator is told", || {
        let log = weir.log();
        let line = log.lines().find(|line| line.contains("lost their prompt caches"))?;
        assert!(line.contains(&dollars) && line.contains(row["change"].as_str()?), "{line}");
        Some(())
    });
    // A reload that changes nothing of it costs nothing.
    reload(&weir, &serving(&accounts, 3..ACCOUNTS));
    turn(&weir, 4);
    let row = compared(&weir, SESSIONS);
    assert_eq!((row["dropped"].as_u64(), row["lost_usd"].as_str()), (Some(0), Some("0.000000000")), "{row}");
    // And the rates of each session, from the same records.
    let rows = weir.admin_get("/admin/v1/usage?group_by=session");
    for row in rows["data"].as_array().expect("rows") {
        let count = |name: &str| row[name].as_u64().expect("a count");
        let read = count("cache_read_tokens");
        let whole = read + count("input_tokens") + count("cache_write_5m_tokens");
        assert_eq!(row["cache_hit_rate"].as_f64(), rate((read, whole)), "{row}");
    }
}
