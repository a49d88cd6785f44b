//! Runs into a directory, whatever they die of.

use super::{super::destination, super::run::export_to, *};
use crate::control::journal::tests::id;
use std::collections::BTreeMap;

fn options(store: &Store, out: &Path) -> ExportOptions {
    options_for(store, out, Format::Jsonl)
}

fn run(store: &Store, out: &Path) -> Exported {
    export(&options(store, out), &mut |_| ()).unwrap()
}

/// All lines under a directory: request id to its day; a line that stands there twice fails.
fn lines(out: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for folder in fs::read_dir(out).unwrap().map(|f| f.unwrap().path()).filter(|path| path.is_dir()) {
        let day = folder.file_name().unwrap().to_string_lossy().strip_prefix("day=").unwrap().to_owned();
        for file in fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            assert_eq!(path.extension().unwrap(), "jsonl", "nothing else is left behind: {}", path.display());
            for line in fs::read_to_string(path).unwrap().lines() {
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                assert!(value["started_at"].as_str().unwrap().starts_with(&day), "{line}");
                let before = found.insert(value["request_id"].as_str().unwrap().to_owned(), day.clone());
                assert!(before.is_none(), "stands there twice: {line}");
            }
        }
    }
    found
}

fn ids(numbers: RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|n| id(n).to_string()).collect()
}

fn keys(out: &Path) -> Vec<String> {
    lines(out).into_keys().collect()
}

#[test]
fn a_second_run_writes_again_what_is_there_or_misses_what_is_new() {
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    store.add_records(records(&store, 1..=10));
    let first = run(&store, out.path());
    assert_eq!((first.records, first.records_total, first.duplicates), (10, 10, 0));
    assert_eq!(keys(out.path()), ids(1..=10));
    assert_eq!(lines(out.path())[&id(4).to_string()], "2025-11-22");
    let manifest = || fs::read_to_string(out.path().join("manifest.json")).unwrap();
    let before = manifest();
    assert_eq!(run(&store, out.path()), Exported { records_total: 10, ..Exported::default() });
    assert_eq!(manifest(), before, "nothing new, nothing written");
    // A torn end is left for the next run.
    store.add_records(records(&store, 11..=13));
    let path = store.segment(store.last_segment());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 5]).unwrap();
    assert_eq!(run(&store, out.path()).records, 2);
    fs::write(&path, &whole).unwrap();
    assert_eq!(run(&store, out.path()).records, 1);
    assert_eq!(keys(out.path()), ids(1..=13));
}

#[test]
fn a_run_that_dies_at_any_step_leaves_a_line_twice_or_none() {
    let store = Store::new();
    store.add_records(records(&store, 1..=14));
    let mut steps_of_a_run = 0;
    for die_at in 1.. {
        let out = tempfile::tempdir().unwrap();
        let opts = options(&store, out.path());
        let result = {
            let mut place = destination::open(&opts.target).unwrap();
            let mut dying = Dying { inner: &mut *place, steps: 0, die_at };
            let result = export_to(&opts, &mut dying, &mut |_| ());
            steps_of_a_run = dying.steps;
            result
        };
        if result.is_ok() {
            break;
        }
        let copy = store.copy();
        // The journal has grown in between, so the batch that died ends elsewhere now.
        if die_at % 2 == 0 {
            copy.add_records(records(&copy, 15..=17));
        }
        let total = if die_at % 2 == 0 { 17 } else { 14 };
        assert_eq!(run(&copy, out.path()).records_total, total, "died at {die_at}");
        assert_eq!(keys(out.path()), ids(1..=total), "died at {die_at}");
    }
    assert!(steps_of_a_run > 20, "{steps_of_a_run} steps");
}

#[test]
fn a_request_closed_again_in_a_later_run_is_exported_again() {
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    store.add_records(records(&store, 1..=9));
    run(&store, out.path());
    store.add_records(records(&store, 2..=2));
    store.add_records(records(&store, 10..=10));
    store.add_records(records(&store, 10..=10));
    let again = run(&store, out.path());
    assert_eq!((again.records, again.duplicates), (1, 2));
    assert_eq!(keys(out.path()), ids(1..=10));
}

#[test]
fn times_or_the_format_are_changed_between_runs() {
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    store.add_records(records(&store, 1..=9));
    let day = |text: &str| Some(parse_time(text).unwrap());
    let opts = ExportOptions { since: day("2025-11-22"), until: day("2025-11-23"), ..options(&store, out.path()) };
    assert_eq!(export(&opts, &mut |_| ()).unwrap().records, 3);
    assert!(lines(out.path()).values().all(|day| day == "2025-11-22"));
    let error = export(&options(&store, out.path()), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("--since 2025-11-22T00:00:00.000Z") && error.contains("another --out"), "{error}");
    let error = export(&ExportOptions { format: Format::Parquet, ..opts }, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("this export is jsonl"), "{error}");
}

#[test]
fn an_export_goes_on_from_another_journal_or_over_a_gap() {
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    store.add_records(records(&store, 1..=9));
    let copy = store.copy();
    run(&store, out.path());
    let stopped_in = store.last_segment();
    store.add_records(records(&store, 10..=18));
    let error = |store: &Store| export(&options(store, out.path()), &mut |_| ()).unwrap_err().to_string();
    // Cut behind the export's back.
    let path = copy.segment(copy.last_segment());
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..96]).unwrap();
    assert!(error(&copy).contains("cannot be followed"));
    copy.add_records(records(&copy, 30..=40));
    assert!(error(&copy).contains("cannot be followed"));
    // Retention took what was exported: nothing is missing.
    let aged = store.copy();
    (1..stopped_in).for_each(|n| fs::remove_file(aged.segment(n)).unwrap());
    let elsewhere = tempfile::tempdir().unwrap();
    fs::copy(out.path().join("manifest.json"), elsewhere.path().join("manifest.json")).unwrap();
    assert_eq!(run(&aged, elsewhere.path()).records, 9);
    // It took more than that.
    (stopped_in..=stopped_in + 1).for_each(|n| fs::remove_file(store.segment(n)).unwrap());
    assert!(error(&store).contains("audit.retention"));
    assert_eq!(keys(out.path()), ids(1..=9), "a refusal leaves the export as it was");
}

#[test]
fn parts_without_their_manifest_are_taken_for_ours_or_two_runs_write_one_directory() {
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    store.add_records(records(&store, 1..=9));
    run(&store, out.path());
    let manifest = out.path().join("manifest.json");
    fs::remove_file(&manifest).unwrap();
    let error = || export(&options(&store, out.path()), &mut |_| ()).unwrap_err().to_string();
    assert!(error().contains("no manifest.json"), "{}", error());
    assert_eq!(keys(out.path()), ids(1..=9));
    // While another run writes.
    let lock = File::options().write(true).open(out.path().join(".lock")).unwrap();
    lock.lock().unwrap();
    assert!(error().contains("another export"), "{}", error());
}

#[test]
fn an_export_of_an_earlier_version_is_refused_or_written_twice() {
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    store.add_records(records(&store, 1..=9));
    run(&store, out.path());
    // As it was before runs had numbers: the manifest without them, and a part of a run that died.
    let manifest = out.path().join("manifest.json");
    let mut old: serde_json::Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    let (segment, offset) = (old["segment"].as_u64().unwrap(), old["offset"].as_u64().unwrap());
    old.as_object_mut().unwrap().retain(|key, _| key != "run" && key != "unfinished");
    fs::write(&manifest, old.to_string()).unwrap();
    let day = out.path().join("day=2025-11-24");
    fs::create_dir_all(&day).unwrap();
    fs::write(day.join(format!("part-{segment:010}-{offset:012}.jsonl")), "half a li").unwrap();
    store.add_records(records(&store, 10..=12));
    assert_eq!(run(&store, out.path()).records_total, 12);
    assert_eq!(keys(out.path()), ids(1..=12));
}
