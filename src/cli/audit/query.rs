//! `weir audit query`.

use super::{StoreArgs, Teller, changes, heard, text};
use crate::control::{
    audit::{self, Found},
    ledger::{RecordFilter, RecordView},
};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use std::{
    io::{self, BufWriter, Write},
    ops::ControlFlow,
};

/// Rows of a table, unless `--limit` says otherwise.
pub(super) const TABLE_ROWS: usize = 100;
/// The most records that `--limit` keeps.
pub(super) const LIMIT_MAX: u64 = 1_000_000;
const HEADINGS: [&str; 11] =
    ["started", "request", "user", "team", "model", "status", "outcome", "input", "output", "cost USD", "ms"];
/// The first column of figures.
const FIGURES_FROM: usize = 7;

/// Which records. Everything given must match.
#[derive(Args, Clone, Debug)]
pub struct QueryArgs {
    #[command(flatten)]
    pub store: StoreArgs,
    /// Requests that began at or after this time: Unix seconds, a date, or RFC 3339
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Requests that began before this time
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// One user
    #[arg(long)]
    pub user: Option<String>,
    /// One team
    #[arg(long)]
    pub team: Option<String>,
    /// One project
    #[arg(long)]
    pub project: Option<String>,
    /// One key, by its id
    #[arg(long)]
    pub key: Option<String>,
    /// One Claude Code session
    #[arg(long)]
    pub session: Option<String>,
    /// One model, asked for or served
    #[arg(long)]
    pub model: Option<String>,
    /// One HTTP status; 0 for requests that got no answer
    #[arg(long)]
    pub status: Option<String>,
    /// One of completed, client_aborted, upstream_failed, refused, gateway_failed
    #[arg(long)]
    pub outcome: Option<String>,
    /// One request
    #[arg(long, value_name = "ID")]
    pub request_id: Option<String>,
    /// Changes instead of requests: keys, raises, reloads, drains, starts and stops; who, what, before, after
    #[arg(long, conflicts_with_all = ["user", "team", "project", "key", "session", "model", "status", "outcome", "request_id"])]
    pub changes: bool,
    /// Changes of one kind: key.create, key.rotate, key.revoke, key (all three), budget.raise, reload, drain, start, stop
    #[arg(long, requires = "changes")]
    pub kind: Option<String>,
    /// Changes by one administrator; `signal` and `process` are the gateway's own
    #[arg(long, requires = "changes")]
    pub who: Option<String>,
    /// Changes of one key or budget, as in `team:platform monthly`
    #[arg(long, requires = "changes")]
    pub subject: Option<String>,
    /// Only the newest so many; a table has 100 unless told otherwise, json and jsonl have all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX))]
    pub limit: Option<u64>,
    /// How to print them, oldest first
    #[arg(long, value_enum, default_value_t = QueryFormat::Table)]
    pub format: QueryFormat,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// A table of the most asked for fields, for people.
    Table,
    /// One JSON document: {"data": [...]}.
    Json,
    /// A JSON document a line.
    Jsonl,
}

pub fn run(args: &QueryArgs) -> Result<(), String> {
    if args.changes {
        return changes::run(args);
    }
    let filter = filter(args)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let found = match args.format {
        QueryFormat::Table => table(args, &filter, &mut out)?,
        QueryFormat::Json | QueryFormat::Jsonl => documents(args, &filter, &mut out)?,
    };
    heard(out.flush())?;
    if found.shown < found.matched {
        eprintln!("weir: the newest {} of {} records; --limit shows more", found.shown, found.matched);
    }
    Ok(())
}

fn filter(args: &QueryArgs) -> Result<RecordFilter, String> {
    let given = [
        ("since", &args.since),
        ("until", &args.until),
        ("user", &args.user),
        ("team", &args.team),
        ("project", &args.project),
        ("key", &args.key),
        ("session", &args.session),
        ("model", &args.model),
        ("status", &args.status),
        ("outcome", &args.outcome),
        ("request_id", &args.request_id),
    ];
    let pairs: Vec<(String, String)> =
        given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
    RecordFilter::parse(&pairs)
}

fn newest(args: &QueryArgs, default: Option<usize>) -> Option<usize> {
    args.limit.and_then(|limit| usize::try_from(limit).ok()).or(default)
}

fn table(args: &QueryArgs, filter: &RecordFilter, out: &mut dyn Write) -> Result<Found, String> {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(HEADINGS);
    let mut teller = Teller::new("searching");
    let mut show = |record: RecordView| {
        table.add_row(row(record));
        ControlFlow::Continue(())
    };
    let store = &args.store.store;
    let newest = newest(args, Some(TABLE_ROWS));
    let found = audit::query(store, filter, newest, &mut show, &mut |at| teller.tell(at)).map_err(text)?;
    for column in table.column_iter_mut().skip(FIGURES_FROM) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    heard(writeln!(out, "{table}"))?;
    Ok(found)
}

fn row(record: RecordView) -> [String; HEADINGS.len()] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        record.started_at,
        record.request_id,
        or_dash(record.user),
        or_dash(record.team),
        or_dash(record.model_served.or(record.model_requested)),
        record.status.to_string(),
        record.outcome.into(),
        (record.usage.prompt()).to_string(),
        record.usage.output.to_string(),
        record.cost_usd,
        (record.duration_us / 1000).to_string(),
    ]
}

fn documents(args: &QueryArgs, filter: &RecordFilter, out: &mut dyn Write) -> Result<Found, String> {
    let whole = args.format == QueryFormat::Json;
    if whole && !heard(out.write_all(b"{\"data\":["))? {
        return Ok(Found { matched: 0, shown: 0 });
    }
    let (mut first, mut failure) = (true, None);
    let mut teller = Teller::new("searching");
    let mut show = |record: RecordView| {
        let before: &[u8] = if whole && !first { b",\n" } else { b"" };
        let behind: &[u8] = if whole { b"" } else { b"\n" };
        first = false;
        let written = out
            .write_all(before)
            .and_then(|()| serde_json::to_writer(&mut *out, &record).map_err(io::Error::from))
            .and_then(|()| out.write_all(behind));
        match heard(written) {
            Ok(true) => ControlFlow::Continue(()),
            Ok(false) => ControlFlow::Break(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let newest = newest(args, None);
    let found = audit::query(&args.store.store, filter, newest, &mut show, &mut |at| teller.tell(at));
    if let Some(error) = failure {
        return Err(error);
    }
    let found = found.map_err(text)?;
    if whole {
        heard(out.write_all(b"]}\n"))?;
    }
    Ok(found)
}
