//! Stores that cannot be used: what weir says of them, and that it ends with 1.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::fleet::{self, Ask, Fleet};

/// Runs `weir serve` on a store of this path, which is expected to end by itself.
fn serve_on(fleet: &Fleet, store: &str) -> Output {
    let config = fleet::config(fleet.provider.addr(), "").replace("\"weir-data\"", &format!("\"{store}\""));
    let path = fleet.weir.dir().join("other.toml");
    fs::write(&path, config).expect("the configuration is written");
    fleet::run_weir(&["serve", "--config", "other.toml"], fleet.weir.dir())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn refused(fleet: &Fleet, store: &str, words: &[&str]) {
    let output = serve_on(fleet, store);
    assert_eq!(output.status.code(), Some(1), "{store}: {}", said(&output));
    assert!(output.stdout.is_empty(), "it never says that it is ready");
    for word in words {
        assert!(said(&output).contains(word), "`{word}` for {store} in\n{}", said(&output));
    }
}

#[test]
fn a_store_that_is_not_ours_to_write_is_served_or_refused_without_a_word() {
    let fleet = fleet::start("");
    fs::write(fleet.weir.dir().join("a-file"), "").expect("a file");
    refused(&fleet, "a-file", &["a-file", "is a file", "store.path"]);
    refused(&fleet, "a-file/store", &["a-file/store", "store.path"]);
    // Where not even root can make a file.
    refused(&fleet, "/proc/weir-data", &["/proc/weir-data", "store.path"]);
    refused(&fleet, "/proc/self/task", &["/proc/self/task/lock", "store.path"]);
    // And one that another weir uses: the one of this test.
    refused(&fleet, "weir-data", &["is locked", "another weir", "store.path"]);
    assert_eq!(fleet.ask(Ask::default()).status, 200, "which goes on");
}

fn segment(fleet: &Fleet) -> PathBuf {
    fleet.weir.dir().join("weir-data/journal-0000000001.wal")
}

/// Starts on the fleet's own store, where it must refuse.
fn start_refused(fleet: &Fleet, words: &[&str]) {
    refused(fleet, "weir-data", words);
}

fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the segment");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
}

#[test]
fn a_torn_end_stops_a_start_or_a_damaged_middle_does_not() {
    let mut fleet = fleet::start("");
    for _ in 0..5 {
        fleet.ask_record(Ask::default());
    }
    fleet.all_records(5);
    fleet.weir.kill9();
    let whole = fs::metadata(segment(&fleet)).expect("a segment").len();
    let mut file = OpenOptions::new().append(true).open(segment(&fleet)).expect("the segment");
    file.write_all(b"WGRP\x99\x00\x00\x00half a group").expect("written");
    fleet.weir.restart();
    assert!(fleet.weir.log().contains("torn group"), "{}", fleet.weir.log());
    assert_eq!(fleet.all_records(5).len(), 5);
    let aside = segment(&fleet).with_extension(format!("wal.torn-{whole}"));
    assert_eq!(fs::metadata(aside).expect("nothing is thrown away").len(), 20);
    // Five more behind a snapshot, so that a start must read them.
    fleet.weir.restart();
    let covered = fs::metadata(segment(&fleet)).expect("a segment").len();
    for _ in 0..5 {
        fleet.ask_record(Ask::default());
    }
    fleet.all_records(10);
    fleet.weir.kill9();
    flip(&segment(&fleet), covered + 100);
    start_refused(&fleet, &["is damaged at byte", "weir does not skip records", "Restore the file"]);
    flip(&segment(&fleet), covered + 100);
    // What the snapshot covers is not read at a start, but the audit finds it.
    flip(&segment(&fleet), 200);
    fleet.weir.restart();
    assert_eq!(fleet.all_records(10).len(), 10);
    let verify = fleet::run_weir(&["audit", "verify", "--store", "weir-data"], fleet.weir.dir());
    assert_eq!(verify.status.code(), Some(1), "{}", said(&verify));
}
