//! The export as a service of the running gateway.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::fleet::{self, Ask, Fleet, nanos};
use crate::support::{DEADLINE, eventually, http};
use crate::warehouse::{S3, counted};

fn readiness(fleet: &Fleet) -> Value {
    let answer = http::request(fleet.weir.admin(), "GET", "/readyz", &[], b"");
    assert_eq!(answer.status, 200, "an export is no reason to send nobody here: {}", answer.text());
    answer.json()["export"].clone()
}

/// Waits until this process has exported so many records and the last run succeeded.
fn exported(fleet: &Fleet, records: u64) {
    eventually(DEADLINE, &format!("{records} records are exported"), || {
        let export = readiness(fleet);
        (export["ok"] == true && export["records"] == records).then_some(())
    });
    assert_eq!(fleet.weir.metric("weir_export_records_total", &[]), records as f64);
    assert!(fleet.weir.metric("weir_export_lag_seconds", &[]) < 3600.0);
}

fn ask_some(fleet: &Fleet, count: usize) {
    for _ in 0..count {
        fleet.ask_record(Ask { sim: "input_tokens=500 output_tokens=70", ..Ask::default() });
    }
}

#[test]
fn a_gateway_exports_by_itself_and_loses_or_doubles_records_over_a_kill() {
    let s3 = S3::start();
    let config = format!(
        "[export]\nurl = \"s3://exports/weir\"\ninterval = \"1s\"\nendpoint = \"{}\"\nregion = \"us-east-1\"\n\
         access_key_id = \"${{EXPORT_ID}}\"\nsecret_access_key = \"${{EXPORT_SECRET}}\"\n",
        s3.url()
    );
    let mut fleet = fleet::start_with(&config, &[("EXPORT_ID", "tests"), ("EXPORT_SECRET", "a-secret-of-the-bucket")]);
    ask_some(&fleet, 7);
    exported(&fleet, 7);
    fleet.weir.kill9();
    fleet.weir.restart();
    ask_some(&fleet, 4);
    exported(&fleet, 4);
    let total = fleet.usage("");
    let out = s3.copy(&fleet.weir.dir().join("copied")).join("weir");
    let (rows, ids, cost) = counted(&out, "parquet");
    assert_eq!((rows, ids, nanos(&Value::String(cost))), (11, 11, nanos(&total[0]["cost_usd"])));
    assert!(!fleet.weir.log().contains("a-secret-of-the-bucket"));
    assert_eq!(fleet.weir.metric("weir_export_failures_total", &[]), 0.0);
}

#[test]
fn a_destination_that_is_away_stops_requests_or_stays_unsaid() {
    let place = tempfile::tempdir().expect("a directory");
    let (bad, good) = (place.path().join("a-file"), place.path().join("out"));
    fs::write(&bad, "not a directory").expect("written");
    let config = |out: &Path| format!("[export]\nurl = \"{}\"\nformat = \"jsonl\"\ninterval = \"1s\"\n", out.display());
    let fleet = fleet::start(&config(&bad));
    ask_some(&fleet, 3);
    let export = eventually(DEADLINE, "the failure is told", || {
        Some(readiness(&fleet)).filter(|export| export["ok"] == false && export["error"].is_string())
    });
    assert!(export["error"].as_str().is_some_and(|error| error.contains("a-file")), "{export}");
    eventually(DEADLINE, "it is tried again", || {
        (fleet.weir.metric("weir_export_failures_total", &[]) >= 2.0).then_some(())
    });
    assert!(fleet.weir.log().contains("export failed"));
    ask_some(&fleet, 2);
    // A reload mends it.
    fleet.weir.write_config(&fleet::config(fleet.provider.addr(), &config(&good)));
    fleet.reload();
    exported(&fleet, 5);
    assert_eq!(counted(&good, "jsonl").0, 5);
    fleet.weir.write_config(&fleet::config(fleet.provider.addr(), ""));
    fleet.reload();
    eventually(DEADLINE, "without [export] nothing is said of it", || readiness(&fleet).is_null().then_some(()));
}
