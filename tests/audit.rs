//! `weir audit` through the real program: a proof and what refutes it, searches, and exports that are killed.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::Value;
use weir::{
    control::journal::{Journal, JournalOptions, Sink},
    kernel::{
        ids::{RequestId, ShardId},
        keys::Principal,
        names::Names,
        record::{Operation, Outcome, Record, inline},
        time::UnixMs,
    },
    link::up,
};

/// When the first record began.
const BEGAN: u64 = 1_763_700_000_000;
/// Between two records: some three hundred a day.
const APART_MS: u64 = 300_000;
/// Longest wait for anything that is going to happen.
const DEADLINE: Duration = Duration::from_secs(60);

struct Silent;

impl Sink for Silent {
    fn flushed(&mut self, _closes: &[Box<Record>], _as_of: UnixMs) {}
}

fn record(n: u64, names: &Names) -> Record {
    let user = format!("user-{}", n % 7);
    let principal = Principal { key: "k".into(), user, team: "platform".into(), project: "p".into() };
    Record {
        request_id: RequestId::new(BEGAN + n * APART_MS, ShardId(0), n),
        started_at: UnixMs(BEGAN + n * APART_MS),
        ended_at: UnixMs(BEGAN + n * APART_MS + 900),
        principal: Some(names.principal(&principal)),
        operation: Operation::Messages,
        model_requested: inline(b"claude-sonnet-4-6"),
        model_served: inline(b"claude-sonnet-4-6"),
        status: 200,
        outcome: Outcome::Completed,
        ..Record::default()
    }
}

/// Writes these records as a gateway would, through the thread that writes.
fn fill(store: &Path, numbers: std::ops::Range<u64>) {
    let names = Arc::new(Names::default());
    let options = JournalOptions {
        flush_interval: Duration::from_millis(1),
        segment_bytes_max: 256 * 1024,
        ..JournalOptions::new(store, names.clone())
    };
    let (journal, _) = Journal::open(options, |_| ()).expect("a journal");
    let (mut sender, receiver) = up::door();
    let journal = journal.start(vec![receiver], Silent).expect("a writer");
    for n in numbers {
        let deadline = Instant::now() + DEADLINE;
        let ticket = loop {
            // No ticket while the ring is full.
            match sender.ticket() {
                Some(ticket) => break ticket,
                None => assert!(Instant::now() < deadline, "the journal never took what was sent"),
            }
        };
        sender.close(ticket, record(n, &names).into());
    }
    journal.stop().expect("everything is written");
}

fn weir(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("audit").args(args).stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> Output {
    weir(args).output().expect("weir runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A store of so many records, and a folder for everything else.
fn store(records: u64) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    fill(&store, 0..records);
    (dir, store)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_proof_exits_with_an_error_or_a_refuted_one_without() {
    let (dir, store) = store(500);
    let file = |name: &str| text(&dir.path().join(name)).to_owned();
    let (private, public, checkpoint) = (file("private.pem"), file("public.pem"), file("checkpoint.json"));
    let whole = run(&["verify", "--store", text(&store)]);
    assert!(whole.status.success(), "{}", stderr(&whole));
    assert!(stdout(&whole).contains("500 requests closed") && stdout(&whole).contains("first segment ever"));

    assert!(run(&["keygen", "--out-private", &private, "--out-public", &public]).status.success());
    let take = ["checkpoint", "--store", text(&store), "--private-key", &private, "--out", &checkpoint];
    let taken = run(&take);
    assert!(taken.status.success(), "{}", stderr(&taken));
    fill(&store, 500..600);
    let against = ["verify", "--store", text(&store), "--checkpoint", &checkpoint, "--public-key", &public];
    let held = run(&against);
    assert!(held.status.success() && stdout(&held).contains("holds"), "{}", stderr(&held));

    // Everything since, and a little more, is cut: only the checkpoint knows.
    let first = store.join("journal-0000000001.wal");
    let bytes = fs::read(&first).expect("a segment");
    fs::write(&first, &bytes[..96]).expect("written");
    assert!(run(&["verify", "--store", text(&store)]).status.success());
    let cut = run(&against);
    assert_eq!(cut.status.code(), Some(1));
    assert!(stderr(&cut).contains("its end was cut off") && stdout(&cut).is_empty(), "{}", stderr(&cut));

    let mut flipped = bytes.clone();
    flipped[bytes.len() - 40] ^= 4;
    fs::write(&first, flipped).expect("written");
    let bad = run(&["verify", "--store", text(&store)]);
    assert_eq!(bad.status.code(), Some(1));
    for word in ["NOT what weir wrote", "journal-0000000001.wal", "offset", "group", "last good  req_"] {
        assert!(stderr(&bad).contains(word), "{word}: {}", stderr(&bad));
    }
    fs::remove_file(dir.path().join("checkpoint.json")).expect("removed");
    assert_eq!(run(&take).status.code(), Some(1));
    assert!(!dir.path().join("checkpoint.json").exists(), "nothing is signed that is not whole");
    assert_eq!(run(&["verify", "--store", &file("none")]).status.code(), Some(1));
}

#[test]
fn the_same_records_look_different_in_each_format() {
    let (_dir, store) = store(300);
    let ask = |format: &str, more: &[&str]| {
        let mut args = vec!["query", "--store", text(&store), "--user", "user-3", "--format", format];
        args.extend_from_slice(more);
        let output = run(&args);
        assert!(output.status.success(), "{}", stderr(&output));
        output
    };
    let lines: Vec<Value> =
        stdout(&ask("jsonl", &[])).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 43);
    assert!(lines.iter().all(|line| line["user"] == "user-3" && line["model_served"] == "claude-sonnet-4-6"));
    let document: Value = serde_json::from_str(&stdout(&ask("json", &[]))).expect("JSON");
    assert_eq!(document["data"], Value::Array(lines.clone()));
    let empty: Value = serde_json::from_str(&stdout(&ask("json", &["--team", "none"]))).expect("JSON");
    assert_eq!(empty["data"], Value::Array(Vec::new()));
    let table = ask("table", &["--limit", "2"]);
    let rows = stdout(&table).lines().filter(|line| line.contains("req_")).count();
    assert_eq!(rows, 2);
    assert!(stdout(&table).contains(lines[42]["request_id"].as_str().expect("an id")), "{}", stdout(&table));
    assert!(stderr(&table).contains("the newest 2 of 43"), "{}", stderr(&table));
    let wrong = run(&["query", "--store", text(&store), "--outcome", "lost"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("client_aborted"), "{}", stderr(&wrong));
}

/// Finished parts, and ids of all lines in them; an id that comes twice fails.
fn exported(out: &Path) -> (usize, HashSet<String>) {
    let (mut parts, mut ids) = (0, HashSet::new());
    let folders = fs::read_dir(out).into_iter().flatten().map(|folder| folder.expect("a folder").path());
    for folder in folders.filter(|path| path.is_dir()) {
        for file in fs::read_dir(&folder).expect("a folder").map(|file| file.expect("a file").path()) {
            if file.extension().is_some_and(|extension| extension == "jsonl") {
                parts += 1;
                for line in fs::read_to_string(&file).expect("a part").lines() {
                    let value: Value = serde_json::from_str(line).expect("a whole line");
                    let id = value["request_id"].as_str().expect("an id").to_owned();
                    assert!(ids.insert(id), "{} stands there twice", value["request_id"]);
                }
            }
        }
    }
    (parts, ids)
}

fn count_parts(out: &Path) -> usize {
    let folders = fs::read_dir(out).into_iter().flatten().filter_map(|folder| fs::read_dir(folder.ok()?.path()).ok());
    let names = folders.flatten().filter_map(|file| Some(file.ok()?.file_name().to_string_lossy().into_owned()));
    names.filter(|name| name.ends_with(".jsonl")).count()
}

#[test]
fn a_killed_export_leaves_a_line_twice_or_none() {
    const RECORDS: u64 = 6000;
    let (dir, store) = store(RECORDS);
    let out = dir.path().join("out");
    let args = ["export", "--store", text(&store), "--out", text(&out), "--part-records", "20"];
    let (mut kills, mut runs) = (0, 0);
    while kills < 4 {
        runs += 1;
        assert!(runs <= 40, "only {kills} runs were killed in the middle");
        let before = count_parts(&out);
        let mut child = weir(&args).stdout(Stdio::null()).spawn().expect("weir runs");
        let deadline = Instant::now() + DEADLINE;
        // A few parts further, wherever it is just then.
        while count_parts(&out) < before + 3 * (kills + 1) && child.try_wait().expect("a child").is_none() {
            assert!(Instant::now() < deadline, "the export never went on");
        }
        let done = child.try_wait().expect("a child").is_some();
        child.kill().expect("killed, or gone");
        child.wait().expect("waited for");
        exported(&out);
        if done {
            // It was quicker than this busy machine looked: there is nothing left to go on with.
            fs::remove_dir_all(&out).expect("the export goes");
            continue;
        }
        kills += 1;
    }
    fill(&store, RECORDS..RECORDS + 50);
    let last = run(&args);
    assert!(last.status.success(), "{}", stderr(&last));
    assert!(stdout(&last).contains("6050 in all"), "{}", stdout(&last));
    let (_, ids) = exported(&out);
    let names = Names::default();
    let wanted: HashSet<String> = (0..RECORDS + 50).map(|n| record(n, &names).request_id.to_string()).collect();
    assert_eq!(ids, wanted);
}
