//! The load kit against the real binary: a figure that comes from wrong answers, or from a gateway that was never there, is
//! worse than none.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn kit(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir-loadtest"));
    // The weir under test is the one that was built with this test.
    command.args(args).args(["--weir", env!("CARGO_BIN_EXE_weir")]);
    command.output().expect("the kit runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_canonical_run_counts_an_answer_that_the_provider_never_gave() {
    let output = kit(&["--rate", "20", "--seconds", "2", "--developers", "40"]);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let verified = text.lines().find(|line| line.starts_with("verified")).expect("a verdict");
    assert!(verified.contains("the same on both sides"), "{text}");
    assert!(text.contains("us of CPU a request"), "{text}");
}

#[test]
fn a_bad_request_is_served_or_takes_good_ones_down_with_it() {
    let output = compare(&["hostile"], None);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    let row = text.lines().find(|line| line.starts_with("hostile")).expect("a row");
    assert!(row.trim_end().ends_with(" 0"), "no request fails: {text}");
}

#[test]
fn a_storm_of_reloads_fails_a_stream() {
    let output = compare(&["reload"], None);
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.lines().any(|line| line.starts_with("reload") && line.trim_end().ends_with(" 0")), "{text}");
}

#[test]
fn a_session_that_stays_is_no_cheaper_or_an_account_that_goes_moves_everybody() {
    let dir = tempfile::tempdir().expect("a directory");
    let json = dir.path().join("affinity.json");
    let path = json.display().to_string();
    let output = kit(&["affinity", "--sessions", "60", "--turns", "9", "--accounts", "5", "--json", &path]);
    assert!(output.status.success(), "{}", text(&output));
    let outcomes: serde_json::Value = serde_json::from_str(&fs::read_to_string(&json).expect("figures")).expect("JSON");
    let dollars = |place: usize| outcomes[place]["dollars"].as_f64().expect("a figure");
    let count = |place: usize, what: &str| outcomes[place][what].as_u64().expect("a count");
    assert!(dollars(0) * 1.5 < dollars(1), "affinity costs {}, chance {}", dollars(0), dollars(1));
    assert!(count(0, "moves") == 0 && count(1, "moves") > 60 * 3, "{outcomes}");
    // Of 60 sessions 12 live at each account, more or less. Those of the one that goes move once, and nobody moves back.
    assert!((1..=30).contains(&count(2, "had_to_move")), "{outcomes}");
    assert_eq!(count(2, "moves"), count(2, "had_to_move"), "{outcomes}");
    assert!(dollars(2) < dollars(1), "{outcomes}");
}

#[test]
fn a_comparison_leaves_no_page_and_no_history() {
    let dir = tempfile::tempdir().expect("a directory");
    let (history, html) = (dir.path().join("history.jsonl"), dir.path().join("report.html"));
    fs::write(&history, "{\"at\":\"an earlier run\"}\n").expect("a history of before");
    let output = compare(&["tiny"], Some((&history, &html)));
    assert!(output.status.success(), "{}", text(&output));
    let lines = fs::read_to_string(&history).expect("a history");
    let (earlier, line) = lines.split_once('\n').expect("two lines");
    assert!(earlier.contains("an earlier run"));
    let comparison: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(comparison["rows"][0]["gateway"], "weir");
    assert!(comparison["rows"][0]["median"]["cpu_us_per_request"].as_f64().expect("a figure") > 0.0);
    assert_eq!(comparison["idle"].as_array().expect("rows").len(), 5, "none, and four steps");
    let page = fs::read_to_string(&html).expect("a page");
    assert!(page.starts_with("<!doctype html>") && page.contains("KiB/stream") && page.contains("<polyline"));
}

#[test]
fn a_gateway_that_is_not_there_is_measured() {
    let output = Command::new(env!("CARGO_BIN_EXE_weir-loadtest"))
        .args(["compare", "--start", "weir", "--weir", "no-such-program", "--workloads", "tiny"])
        .args(cores())
        .output()
        .expect("the kit runs");
    assert!(!output.status.success());
    assert!(text(&output).contains("build it (cargo build --release)"), "{}", text(&output));
}

/// Both on the first core: these tests count answers, not time.
fn cores() -> [&'static str; 4] {
    ["--gateway-core", "0", "--peer-core", "0"]
}

fn compare(workloads: &[&str], kept: Option<(&Path, &Path)>) -> Output {
    let workloads = workloads.join(",");
    let mut args = vec!["compare", "--start", "weir", "--rounds", "1", "--seconds", "1", "--workloads", &workloads];
    args.extend(cores());
    let (history, html) = kept.map_or((String::new(), String::new()), |(history, html)| {
        (history.display().to_string(), html.display().to_string())
    });
    if kept.is_some() {
        args.extend(["--idle-streams", "40", "--history", &history, "--html", &html]);
    }
    kit(&args)
}
