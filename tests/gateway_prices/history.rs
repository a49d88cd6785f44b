//! History at other prices: what `weir usage --reprice` says of a store, also while a gateway writes it.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fleet::{self, Ask, Fleet, HAIKU, OPUS, SONNET, nanos};

fn reprice(fleet: &Fleet, more: &[&str]) -> String {
    let words = ["usage", "--reprice", "--config", "other.toml", "--store", "weir-data"];
    let output = fleet::run_weir(&[&words, more].concat(), fleet.weir.dir());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn rows(fleet: &Fleet, by: &str) -> Vec<Value> {
    let text = reprice(fleet, &["--format", "json", "--by", by]);
    let answer: Value = serde_json::from_str(&text).expect("JSON");
    answer["data"].as_array().expect("rows").clone()
}

/// The journal's segments with their bytes.
fn files(store: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(store).expect("a store").map(|entry| entry.expect("a file"));
    let mut files: Vec<_> = entries
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).expect("its bytes")))
        .filter(|(name, _): &(String, _)| name.ends_with(".wal"))
        .collect();
    assert!(!files.is_empty());
    files.sort();
    files
}

fn write_config(fleet: &Fleet, more: &str) {
    let text = fleet::config(fleet.provider.addr(), more);
    fs::write(fleet.weir.dir().join("other.toml"), text).expect("the other configuration is written");
}

#[test]
fn repriced_history_differs_at_the_same_prices_or_changes_the_journal() {
    let mut fleet = fleet::start("");
    let sim = "input_tokens=1000 cache_read=2000 cache_5m=40 cache_1h=60 output_tokens=500 web_search=1";
    for (model, stream) in [(SONNET, true), (SONNET, false), (OPUS, true), (HAIKU, true), ("sonnet", false)] {
        fleet.ask_record(Ask { model, stream, sim: &format!("{sim} geo=us"), ..Ask::default() });
    }
    // One of which only an estimate is known, and one that was refused.
    let cut = Ask { stream: true, sim: &format!("{sim} error_at=5"), ..Ask::default() };
    fleet.ask(cut);
    fleet.ask(Ask { key: "nobody", ..Ask::default() });
    fleet.all_records(7);
    write_config(&fleet, "");
    let before = files(&fleet.weir.dir().join("weir-data"));
    let same = rows(&fleet, "model");
    assert_eq!(same.iter().map(|row| row["requests"].as_u64().unwrap_or(0)).sum::<u64>(), 6, "{same:?}");
    assert_eq!(same.iter().map(|row| row["requests_from_counts"].as_u64().unwrap_or(0)).sum::<u64>(), 1, "{same:?}");
    for row in &same {
        assert_eq!(nanos(&row["difference_usd"]), 0, "{row}");
        assert!(nanos(&row["cost_usd"]) > 0, "{row}");
    }
    // Half the tokens' price; searches cost what they cost.
    write_config(&fleet, "[pricing]\nmultiplier = \"0.5\"\n");
    for row in rows(&fleet, "team,model") {
        let searches =
            row["requests"].as_i64().expect("a count") - row["requests_from_counts"].as_i64().expect("a count");
        let (booked, repriced) = (nanos(&row["cost_usd"]), nanos(&row["repriced_usd"]));
        assert_eq!(repriced - booked, nanos(&row["difference_usd"]), "{row}");
        let tokens = booked - searches * 10_000_000;
        assert!(
            (repriced - searches * 10_000_000 - tokens / 2).abs() <= row["requests"].as_i64().unwrap_or(0),
            "one rounding each: {row}"
        );
        assert_eq!(row["team"], "platform");
    }
    let table = reprice(&fleet, &["--by", "day"]);
    assert!(
        table.contains("difference USD") && table.contains("total") && table.contains("from their counts"),
        "{table}"
    );
    assert_eq!(reprice(&fleet, &["--by", "upstream", "--format", "csv"]).lines().count(), 2);
    assert_eq!(reprice(&fleet, &["--by", "org", "--until", "2001-01-01", "--format", "csv"]).lines().count(), 1);
    assert_eq!(files(&fleet.weir.dir().join("weir-data")), before, "nothing is written");
    let sum: i64 = fleet.usage("group_by=org").iter().map(|row| nanos(&row["cost_usd"])).sum();
    fleet.weir.restart();
    let again: i64 = fleet.usage("group_by=org").iter().map(|row| nanos(&row["cost_usd"])).sum();
    assert_eq!(sum, again, "what was booked stays booked");
}

#[test]
fn a_store_or_configuration_that_cannot_be_read_is_priced_as_nothing() {
    let fleet = fleet::start("");
    write_config(&fleet, "");
    let run = |words: &[&str]| fleet::run_weir(words, fleet.weir.dir());
    for (words, part) in [
        (["usage", "--reprice", "--config", "none.toml", "--store", "weir-data"], "cannot be read"),
        (["usage", "--reprice", "--config", "other.toml", "--store", "nowhere"], "nowhere"),
    ] {
        let output = run(&words);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && text.contains(part), "{text}");
        assert!(!fleet.weir.dir().join("nowhere").exists());
    }
    assert!(!run(&["usage", "--reprice"]).status.success(), "prices are needed");
    assert!(!run(&["usage", "--store", "weir-data"]).status.success(), "a store is for repricing only");
}
