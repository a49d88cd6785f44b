use super::*;
use crate::control::export::{Format, Target};
use std::time::Duration;

#[test]
fn an_export_goes_elsewhere_or_as_something_else_than_written() {
    assert!(good("").export.is_none());
    let least = good("[export]\nurl = \"out\"\n").export.unwrap();
    assert!(least.target == Target::Directory("/etc/weir/out".into()), "a path begins where the file is");
    assert_eq!(
        (least.format, least.interval, least.part_records_max),
        (Format::Parquet, Duration::from_secs(3600), 200_000)
    );
    let bucket = "[export]\nurl = \"s3://audit/weir\"\nformat = \"jsonl\"\ninterval = \"5m\"\npart_records = 10\n\
                  endpoint = \"https://minio:9000\"\nregion = \"eu-1\"\naccess_key_id = \"${KEY}\"\n\
                  secret_access_key = \"${BOB}\"\n";
    let job = good(bucket).export.unwrap();
    assert_eq!((job.format, job.interval, job.part_records_max), (Format::Jsonl, Duration::from_secs(300), 10));
    assert_eq!(job.target.to_string(), "s3://audit/weir");
}

#[test]
fn an_export_that_cannot_be_is_found_out_hours_later() {
    for (written, path) in [
        ("", "export.url: is missing"),
        ("url = \"ftp://host/x\"", "export.url: is of no kind that weir exports to"),
        ("url = \"s3://b\"\nendpoint = \"http://minio:9000\"", "export.url: would go to minio over plain http"),
        ("url = \"s3://b\"\nsecret_access_key = \"written-out\"", "export.secret_access_key: is a secret written out"),
        ("url = \"out\"\nformat = \"csv\"", "export.format: is"),
        ("url = \"out\"\ninterval = \"10ms\"", "export.interval: is"),
        ("url = \"out\"\ninterva = \"10s\"", "export.interva: is not a known key; did you mean \"interval\"?"),
    ] {
        let errors = errors_of(&format!("{BASE}\n[export]\n{written}\n"));
        assert!(errors.iter().any(|error| error.starts_with(path)), "{written}: {errors:#?}");
        assert!(errors.iter().all(|error| !error.contains("written-out") && error.contains("; ")), "{errors:#?}");
    }
}
