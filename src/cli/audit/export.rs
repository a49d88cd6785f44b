//! `weir audit export`.

use super::{StoreArgs, Teller, now, print, text, time_of};
use crate::control::audit::{self, ExportOptions};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What is said of Parquet, in the help and when it is asked for.
const PARQUET_LATER: &str = "Parquet is a later step; export jsonl";

/// What to export, and where to.
#[derive(Args, Clone, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// The directory; made if need be. Run it again, and only what is new is added: no request comes twice
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
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
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub part_records: u64,
}

/// What an export is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// JSON lines, the fields of the record.
    Jsonl,
    /// Parquet is a later step; export jsonl.
    Parquet,
}

pub fn run(args: &ExportArgs) -> Result<(), String> {
    if args.format == ExportFormat::Parquet {
        return Err(PARQUET_LATER.into());
    }
    let options = ExportOptions {
        store: args.store.store.clone(),
        out: args.out.clone(),
        since: time_of("since", args.since.as_ref())?,
        until: time_of("until", args.until.as_ref())?,
        part_records_max: args.part_records,
        now: now(),
    };
    let mut teller = Teller::new("exporting");
    let done = audit::export(&options, &mut |at| teller.tell(at)).map_err(text)?;
    let twice =
        if done.duplicates > 0 { format!(", {} repeated closes left out", done.duplicates) } else { String::new() };
    print(&format!(
        "{} records added to {} in {} parts{twice}; {} in all\n",
        done.records,
        args.out.display(),
        done.parts,
        done.records_total
    ))
}
