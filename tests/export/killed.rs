//! An export that is killed in the middle, again and again.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir::control::journal::{Journal, JournalOptions, Sink};
use weir::kernel::ids::{RequestId, ShardId};
use weir::kernel::keys::Principal;
use weir::kernel::money::Nanos;
use weir::kernel::names::Names;
use weir::kernel::record::{Operation, Outcome, Record, inline};
use weir::kernel::time::UnixMs;
use weir::link::up;
use weir::sys::clock;

use crate::support::{DEADLINE, eventually};
use crate::warehouse::{BUCKET, CREDENTIALS, S3, counted};

/// When the first record began.
const BEGAN: u64 = 1_763_700_000_000;
/// Between two records: some three hundred a day.
const APART_MS: u64 = 300_000;
const RECORDS: u64 = 4000;
/// Records in a group of the journal, about.
const GROUP: u64 = 25;
/// More, that come after the kills.
const LATER: u64 = 50;

struct Silent;

impl Sink for Silent {
    fn flushed(&mut self, _closes: &[Box<Record>], _as_of: UnixMs) {}
}

fn record(n: u64, names: &Names) -> Record {
    let principal = Principal { key: "k".into(), team: "platform".into(), ..Principal::default() };
    Record {
        request_id: RequestId::new(BEGAN + n * APART_MS, ShardId(0), n),
        started_at: UnixMs(BEGAN + n * APART_MS),
        ended_at: UnixMs(BEGAN + n * APART_MS + 900),
        principal: Some(names.principal(&principal)),
        operation: Operation::Messages,
        model_requested: inline(b"claude-sonnet-4-6"),
        status: 200,
        outcome: Outcome::Completed,
        cost: Nanos(n as i64 + 1),
        ..Record::default()
    }
}

/// Writes these records as a gateway would, through the thread that writes.
fn fill(store: &Path, numbers: Range<u64>) {
    let names = Arc::new(Names::default());
    let options = JournalOptions {
        flush_interval: Duration::from_millis(1),
        segment_bytes_max: 128 * 1024,
        ..JournalOptions::new(store, names.clone())
    };
    let (journal, _) = Journal::open(options, |_| ()).expect("a journal");
    let (mut sender, receiver) = up::door();
    let journal = journal.start(vec![receiver], Silent).expect("a writer");
    let health = journal.health();
    let deadline = Instant::now() + DEADLINE;
    for n in numbers {
        let ticket = loop {
            // No ticket while the ring is full.
            match sender.ticket() {
                Some(ticket) => break ticket,
                None => assert!(Instant::now() < deadline, "the journal never took what was sent"),
            }
        };
        sender.close(ticket, record(n, &names).into());
        if n % GROUP == GROUP - 1 {
            // A batch ends where a group ends: many small ones leave many places to be killed at.
            let sent_at = clock::unix();
            eventually(DEADLINE, "a group is on disk", || (health.flushed_at() > sent_at).then_some(()));
        }
    }
    journal.stop().expect("everything is written");
}

fn export(store: &Path, out: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["audit", "export", "--format", "parquet", "--part-records", "20", "--out", out, "--store"]);
    command.arg(store).args(more).env_clear().envs(CREDENTIALS).stdin(Stdio::null());
    command
}

/// Kills a run once it has made so many more parts, wherever it is just then; false if it ended before.
fn kill_after(mut run: Command, more: usize, parts: &dyn Fn() -> usize) -> bool {
    let before = parts();
    let mut child = run.stdout(Stdio::null()).spawn().expect("weir runs");
    let deadline = Instant::now() + DEADLINE;
    while parts() < before + more && child.try_wait().expect("a child").is_none() {
        assert!(Instant::now() < deadline, "the export never went on");
    }
    let in_the_middle = child.try_wait().expect("a child").is_none();
    child.kill().expect("killed, or gone");
    child.wait().expect("waited for");
    in_the_middle
}

/// Kills runs in the middle, lets the journal grow and a last run finish; then every record is there once.
fn survives(out: &str, more: &[&str], parts: &dyn Fn() -> usize, read_back: &dyn Fn() -> PathBuf) {
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    fill(&store, 0..RECORDS);
    let kills = (1..=5).filter(|round| kill_after(export(&store, out, more), 2 * round, parts)).count();
    assert!(kills >= 3, "only {kills} runs were killed in the middle");
    fill(&store, RECORDS..RECORDS + LATER);
    let all = RECORDS + LATER;
    let last = export(&store, out, more).output().expect("weir runs");
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let said = String::from_utf8_lossy(&last.stdout).into_owned();
    assert!(said.contains(&format!("{all} in all")), "{said}");
    let cost = (1..=all).sum::<u64>();
    let cost = format!("{}.{:09}", cost / 1_000_000_000, cost % 1_000_000_000);
    assert_eq!(counted(&read_back(), "parquet"), (all, all, cost));
}

fn is_part(name: &str) -> bool {
    name.contains("/part-") && name.ends_with(".parquet")
}

#[test]
fn a_killed_export_leaves_a_row_twice_or_none_in_a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let out = dir.path().join("out");
    let parts = || {
        let days = fs::read_dir(&out).into_iter().flatten().filter_map(|day| fs::read_dir(day.ok()?.path()).ok());
        days.flatten().filter(|file| file.as_ref().is_ok_and(|f| is_part(&f.path().to_string_lossy()))).count()
    };
    survives(&out.display().to_string(), &[], &parts, &|| out.clone());
}

#[test]
fn a_killed_export_leaves_a_row_twice_or_none_in_a_bucket() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().expect("a directory");
    let parts = || s3.objects().iter().filter(|name| is_part(name)).count();
    let read_back = || s3.copy(dir.path().join("copied").as_path()).join("weir");
    survives(&format!("s3://{BUCKET}/weir"), &["--endpoint", s3.url()], &parts, &read_back);
}

#[test]
fn a_bucket_that_is_not_there_or_not_ours_is_told_without_a_word_of_what_to_do() {
    let s3 = S3::start();
    let dir = tempfile::tempdir().expect("a directory");
    let store = dir.path().join("store");
    fill(&store, 0..3);
    let refused = |out: &str, more: &[&str]| {
        let output = export(&store, out, more).output().expect("weir runs");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let missing = refused("s3://nothing-here/weir", &["--endpoint", s3.url()]);
    assert!(missing.contains("s3://nothing-here/weir"), "{missing}");
    let plain = refused(&format!("s3://{BUCKET}/weir"), &["--endpoint", "http://storage.example"]);
    assert!(plain.contains("plain http"), "{plain}");
    let unknown = refused("ftp://host/weir", &[]);
    assert!(unknown.contains("s3://BUCKET/PREFIX"), "{unknown}");
}
