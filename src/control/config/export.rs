//! `[export]`.

use super::reader::Reader;
use crate::control::export::{Access, ExportJob, Format, PART_RECORDS, Target};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// More records in a part would make uploads of many gigabytes.
const PART_RECORDS_MAX: u64 = 10_000_000;
/// Credentials: the key here, and the name that the object store's client has for it.
const SECRETS: [(&str, &str); 5] = [
    ("access_key_id", "aws_access_key_id"),
    ("secret_access_key", "aws_secret_access_key"),
    ("session_token", "aws_session_token"),
    ("account_key", "azure_storage_account_key"),
    ("sas_token", "azure_storage_sas_token"),
];

/// Reads `[export]`; none means that nothing is exported.
pub(super) fn export(root: &Reader<'_>) -> Option<ExportJob> {
    let reader = root.table("export")?;
    let access = access(&reader);
    let formats = [("parquet", Format::Parquet), ("jsonl", Format::Jsonl)];
    let format = reader.choice("format", &formats).unwrap_or_default();
    let interval = reader.duration("interval", HOUR, Duration::from_secs(1)..=HOUR * 24);
    let part_records_max = reader.integer("part_records", PART_RECORDS, 1..=PART_RECORDS_MAX);
    let target = target(&reader, access);
    reader.finish();
    Some(ExportJob { target: target?, format, interval, part_records_max })
}

fn target(reader: &Reader<'_>, access: Access) -> Option<Target> {
    let text = reader.need_text("url", "s3://BUCKET/PREFIX")?;
    match Target::parse(text, access) {
        // As everywhere in the file, a path begins where the file is.
        Ok(Target::Directory(path)) => Some(Target::Directory(reader.context().resolve(&path.to_string_lossy()))),
        Ok(bucket) => Some(bucket),
        Err(error) => {
            let (what, mend) = error.split_once("; ").unwrap_or((&error, "write s3://BUCKET/PREFIX"));
            reader.error("url", what, mend);
            None
        }
    }
}

fn access(reader: &Reader<'_>) -> Access {
    let mut secrets = Vec::new();
    for (key, name) in SECRETS {
        secrets.extend(reader.secret(key).map(|secret| (name, secret)));
    }
    let plain = |key| reader.text(key).map(str::to_owned);
    Access {
        endpoint: plain("endpoint"),
        region: plain("region"),
        allow_http: reader.boolean("allow_http", false),
        service_account: reader.file("service_account"),
        account: plain("account"),
        secrets,
    }
}
