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

#[test]
fn a_comparison_over_tls_is_made_without_it_or_says_nothing_of_the_targets() {
    let args = ["compare", "--start", "nginx,weir", "--rounds", "1", "--seconds", "1"];
    let output =
        kit(&[&args[..], &["--connections", "12", "--workloads", "tls-unary,tls-paced,tls-connect"], &cores()[..]]
            .concat());
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    for workload in ["tls-unary", "tls-paced", "tls-connect"] {
        let rows: Vec<&str> = text.lines().filter(|line| line.starts_with(workload)).collect();
        assert_eq!(rows.len(), 2, "{text}");
        assert!(rows.iter().all(|row| row.trim_end().ends_with(" 0")), "no request fails: {text}");
    }
    let promised: Vec<&str> = text.lines().filter(|line| line.starts_with("TLS")).collect();
    assert_eq!(promised.len(), 3, "a line for each target: {text}");
    let told = |line: &&str| ["stretch", "met", "MISSED"].iter().any(|verdict| line.ends_with(verdict));
    assert!(promised.iter().all(told), "{text}");
}

#[test]
fn a_workload_changes_a_byte_or_books_what_nobody_asked_for() {
    let workloads = [
        "fleet",
        "tiny",
        "unary",
        "upload256k",
        "uploads",
        "sse",
        "long",
        "abort",
        "connect",
        "idle",
        "hostile",
        "reload",
        "tls-unary",
        "tls-paced",
        "tls-connect",
    ];
    let runs = workloads.map(|workload| {
        std::thread::spawn(move || {
            let requests = if workload == "reload" { "60" } else { "12" };
            let args = ["run", "--through", "weir", "--verify", "--connections", "6", "--requests", requests];
            (workload, text(&kit(&[&args[..], &["--workload", workload]].concat())))
        })
    });
    for run in runs {
        let (workload, text) = run.join().expect("a run");
        assert!(text.contains(" 0 errors "), "{workload}: {text}");
        let verified = text.lines().find(|line| line.starts_with("verified")).expect("a verdict");
        let matched: u64 = verified.split(' ').nth(1).and_then(|count| count.parse().ok()).expect("a count");
        assert!(!text.contains("differs"), "{workload}: {text}");
        // What is bad on purpose, or left, or refused, has no whole answer; of everything else all must be the same.
        let least = if ["abort", "hostile", "fleet"].contains(&workload) { 1 } else { 12 };
        assert!(matched >= least, "{workload}: {text}");
    }
}

#[test]
fn a_measurement_of_one_thing_cannot_be_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let history = dir.path().join("history.jsonl").display().to_string();
    let keep = ["--history", &history];
    let short = ["--start", "weir", "--seconds", "0.5", "--rounds", "1"];
    for (args, promised) in [
        (vec!["start", "--keys", "300", "--rounds", "1"], "start to ready with 300 keys"),
        ([&["streams", "--streams", "5,40"], &short[..], &cores()[..]].concat(), "CPU per event from 10"),
        ([&["delay", "--streams", "10"], &short[..], &cores()[..]].concat(), "1 MB uploads beside"),
        ([&["soak", "--minutes", "0.05", "--developers", "20"], &cores()[..]].concat(), "memory over a soak"),
    ] {
        let output = kit(&[&args[..], &keep[..]].concat());
        let text = text(&output);
        assert!(output.status.success() && text.contains(promised), "{args:?}: {text}");
    }
    let lines = fs::read_to_string(&history).expect("a history");
    let kept: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(kept.len(), 4);
    let measured = |line: &serde_json::Value| line["targets"][0]["measured"].as_f64().expect("a figure");
    // A soak of seconds may shrink, and uploads may speed up who waits; the others are times.
    assert!(measured(&kept[0]) > 1.0 && measured(&kept[1]) >= 1.0, "{kept:?}");
    assert!(kept[2]["delays"][0]["events"].as_u64().expect("a count") > 20, "{kept:?}");
    assert!(kept[3]["soak"]["requests"].as_u64().expect("a count") > 0, "{kept:?}");
}

#[test]
fn figures_without_a_place_cost_an_hour_before_anybody_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let page = dir.path().join("README.md");
    fs::write(&page, "no markers\n").expect("a page");
    let output = kit(&["numbers", "--write", &page.display().to_string()]);
    assert!(!output.status.success());
    assert!(text(&output).contains("<!-- numbers: begin -->"), "{}", text(&output));
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
