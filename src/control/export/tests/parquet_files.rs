//! Parquet parts, read back by the library that wrote them; `tests/export.rs` has DuckDB read them.

use super::*;
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use std::collections::BTreeMap;

/// Rows of all parts under a directory, by request id: field to its text.
fn rows(out: &Path) -> BTreeMap<String, BTreeMap<String, Field>> {
    let mut rows = BTreeMap::new();
    for folder in fs::read_dir(out).unwrap().map(|f| f.unwrap().path()).filter(|path| path.is_dir()) {
        for file in fs::read_dir(&folder).unwrap() {
            let reader = SerializedFileReader::new(File::open(file.unwrap().path()).unwrap()).unwrap();
            for row in reader.get_row_iter(None).unwrap() {
                let columns = row.unwrap().into_columns();
                let fields: BTreeMap<String, Field> = columns.into_iter().collect();
                let Field::Str(id) = fields["request_id"].clone() else { panic!("an id is a text") };
                assert!(rows.insert(id, fields).is_none(), "stands there twice");
            }
        }
    }
    rows
}

#[test]
fn a_value_comes_back_as_another_one() {
    use crate::kernel::{
        money::Nanos,
        record::{Attempt, AttemptResult, inline},
    };
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    let mut all = records(&store, 1..=9);
    let upstream = store.names.name("second");
    all[2].cost = Nanos(-1);
    all[2].reserved = Nanos(999_999_999_999_999_999);
    all[2].usage_raw = Some("{\"usage\":{\"input_tokens\":3}}".into());
    all[2].session = inline(b"");
    all[2].refused_by = Some("rate_limited");
    for (status, result) in [(529, AttemptResult::Answered), (0, AttemptResult::Unreachable)] {
        all[2].attempts.push(Attempt { upstream, status, result, duration_us: 5, maybe_billed: false });
    }
    store.add_records(all.clone());
    let done = export(&options_for(&store, out.path(), Format::Parquet), &mut |_| ()).unwrap();
    assert_eq!(done.records, 9);
    let rows = rows(out.path());
    assert_eq!(rows.len(), 9);
    let row = &rows[&all[2].request_id.to_string()];
    assert_eq!(row["cost_usd"].to_string(), "-0.000000001");
    assert_eq!(row["reserved_usd"].to_string(), "999999999.999999999");
    assert_eq!(row["started_at"], Field::TimestampMicros(all[2].started_at.0 as i64 * 1000));
    assert_eq!((&row["session"], &row["status"]), (&Field::Null, &Field::UShort(200)));
    assert_eq!(row["usage_raw"].to_string(), "\"{\"usage\":{\"input_tokens\":3}}\"");
    assert_eq!(
        row["usage"].to_string(),
        "{input: 3, output: 6, cache_read: 0, cache_write_5m: 0, cache_write_1h: 0, web_search: 0}"
    );
    let attempts = row["attempts"].to_string();
    assert!(
        attempts.contains("529") && attempts.contains("\"unreachable\"") && attempts.contains("\"second\""),
        "{attempts}"
    );
    let plain = &rows[&all[0].request_id.to_string()];
    assert_eq!((plain["attempts"].to_string().as_str(), &plain["refused_by"]), ("[]", &Field::Null));
}

#[test]
fn an_amount_that_no_column_holds_is_written_as_another() {
    use crate::kernel::money::Nanos;
    let (store, out) = (Store::new(), tempfile::tempdir().unwrap());
    let mut all = records(&store, 1..=1);
    all[0].cost = Nanos(i64::MIN);
    store.add_records(all);
    let error = export(&options_for(&store, out.path(), Format::Parquet), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("billion dollars"), "{error}");
}
