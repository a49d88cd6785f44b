//! `weir audit export`.

use super::{StoreArgs, Teller, now, print, text, time_of};
use crate::control::export::{self, Access, ExportOptions, Format, PART_RECORDS, Target};
use clap::{Args, ValueEnum};

/// What to export, and where to.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// A directory, or s3://BUCKET/PREFIX, gs://… or az://CONTAINER/…. Run it again, and only what is new is added.
    /// Credentials come from the provider's usual variables, such as AWS_ACCESS_KEY_ID
    #[arg(long, value_name = "DIR|URL")]
    pub out: String,
    /// The files' format, in folders day=2026-11-21
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
    /// Requests that began at or after this time: Unix seconds, a date, or RFC 3339
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Requests that began before this time
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// A file is ended when its batch has about this many records
    #[arg(long, value_name = "N", default_value_t = PART_RECORDS, value_parser = clap::value_parser!(u64).range(1..))]
    pub part_records: u64,
    /// Base URL of an object store that is not the provider's own
    #[arg(long, value_name = "URL")]
    pub endpoint: Option<String>,
    /// The bucket's region
    #[arg(long)]
    pub region: Option<String>,
    /// Take an endpoint of plain http on another machine
    #[arg(long)]
    pub allow_http: bool,
}

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON lines, the fields of the record.
    Jsonl,
    /// Parquet, with the types that a warehouse wants.
    Parquet,
}

pub fn run(args: &ExportArgs) -> Result<(), String> {
    let (endpoint, region) = (args.endpoint.clone(), args.region.clone());
    let access = Access { endpoint, region, allow_http: args.allow_http, ..Access::default() };
    let options = ExportOptions {
        store: args.store.store.clone(),
        target: Target::parse(&args.out, access).map_err(|error| format!("--out {error}"))?,
        format: match args.format {
            ExportFormat::Jsonl => Format::Jsonl,
            ExportFormat::Parquet => Format::Parquet,
        },
        since: time_of("since", args.since.as_ref())?,
        until: time_of("until", args.until.as_ref())?,
        part_records_max: args.part_records,
        now: now(),
    };
    let mut teller = Teller::new("exporting");
    let done = export::export(&options, &mut |at| teller.tell(at)).map_err(text)?;
    let twice =
        if done.duplicates > 0 { format!(", {} repeated closes left out", done.duplicates) } else { String::new() };
    let changes =
        if done.changes > 0 { format!(", and {} changes of administrators", done.changes) } else { String::new() };
    print(&format!(
        "{} records added to {} in {} parts{changes}{twice}; {} in all\n",
        done.records, options.target, done.parts, done.records_total
    ))
}
