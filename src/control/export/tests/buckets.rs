//! Runs into an object store: one in memory, which knows the conditions that real ones know.

use super::{super::bucket::Bucket, super::run::export_to, *};
use crate::control::journal::tests::id;
use object_store::{ObjectStoreExt, memory::InMemory, path::Path as ObjectPath};
use std::{collections::BTreeSet, sync::Arc};

fn bucket(store: &Arc<InMemory>) -> Bucket {
    Bucket::over(store.clone(), "exports/weir", "s3://bucket/exports/weir".into()).unwrap()
}

fn run(store: &Store, objects: &Arc<InMemory>) -> Result<Exported, AuditError> {
    let options = options_for(store, Path::new("unused"), Format::Jsonl);
    export_to(&options, &mut bucket(objects), &mut |_| ())
}

/// The ids in all parts; one that stands there twice fails.
fn ids_in(objects: &Arc<InMemory>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for name in bucket(objects).files().unwrap() {
        let path = ObjectPath::from(format!("exports/weir/{name}"));
        let bytes = runtime.block_on(async { objects.get(&path).await.unwrap().bytes().await.unwrap() });
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(found.insert(value["request_id"].as_str().unwrap().to_owned()), "twice: {line}");
        }
    }
    found
}

fn ids(numbers: RangeInclusive<u64>) -> BTreeSet<String> {
    numbers.map(|n| id(n).to_string()).collect()
}

#[test]
fn a_run_that_dies_at_any_step_leaves_an_object_twice_or_none() {
    let store = Store::new();
    store.add_records(records(&store, 1..=9));
    let options = options_for(&store, Path::new("unused"), Format::Jsonl);
    for die_at in 1.. {
        let objects = Arc::new(InMemory::new());
        let mut place = bucket(&objects);
        let mut dying = Dying { inner: &mut place, steps: 0, die_at };
        if export_to(&options, &mut dying, &mut |_| ()).is_ok() {
            assert!(die_at > 12, "{die_at} steps");
            break;
        }
        assert_eq!(run(&store, &objects).unwrap().records_total, 9, "died at {die_at}");
        assert_eq!(ids_in(&objects), ids(1..=9), "died at {die_at}");
    }
}

/// Lets another run go first, just before the manifest is moved.
struct Overtaken<'a> {
    inner: Bucket,
    parts: u64,
    other: &'a mut dyn FnMut(),
}

impl Destination for Overtaken<'_> {
    fn shown(&self) -> String {
        self.inner.shown()
    }

    fn read(&mut self, name: &str) -> Result<Option<Vec<u8>>, AuditError> {
        self.inner.read(name)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> Result<(), AuditError> {
        if self.parts > 0 {
            (self.other)();
        }
        self.inner.replace(name, bytes)
    }

    fn draft(&mut self, name: &str) -> Result<File, AuditError> {
        self.inner.draft(name)
    }

    fn publish(&mut self, name: &str, file: File) -> Result<(), AuditError> {
        self.parts += 1;
        self.inner.publish(name, file)
    }

    fn files(&mut self) -> Result<Vec<String>, AuditError> {
        self.inner.files()
    }

    fn remove(&mut self, name: &str) -> Result<(), AuditError> {
        self.inner.remove(name)
    }
}

#[test]
fn of_two_runs_into_one_prefix_one_moves_the_manifest_past_parts_the_other_swept_away() {
    let (store, objects) = (Store::new(), Arc::new(InMemory::new()));
    store.add_records(records(&store, 1..=9));
    let options = options_for(&store, Path::new("unused"), Format::Jsonl);
    let mut other = || assert_eq!(run(&store, &objects).unwrap().records_total, 9);
    let mut slow = Overtaken { inner: bucket(&objects), parts: 0, other: &mut other };
    let error = export_to(&options, &mut slow, &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("another export has gone on"), "{error}");
    assert_eq!(ids_in(&objects), ids(1..=9));
}

#[test]
fn a_part_larger_than_one_piece_arrives_in_another_order_or_not_whole() {
    let objects = Arc::new(InMemory::new());
    for bytes in [0, 1, UPLOAD_BYTES - 1, UPLOAD_BYTES, UPLOAD_BYTES + 1, 2 * UPLOAD_BYTES + 77] {
        let mut place = bucket(&objects);
        let mut file = place.draft("day=2025-11-21/part-1-2-3.jsonl").unwrap();
        let written: Vec<u8> = (0..bytes).map(|at| (at / 251) as u8).collect();
        std::io::Write::write_all(&mut file, &written).unwrap();
        place.publish("day=2025-11-21/part-1-2-3.jsonl", file).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let path = ObjectPath::from("exports/weir/day=2025-11-21/part-1-2-3.jsonl");
        let read = runtime.block_on(async { objects.get(&path).await.unwrap().bytes().await.unwrap() });
        assert!(read == written, "{bytes} bytes");
    }
}
