//! `weir usage --reprice`: what the history in a store would have cost at the prices of a configuration. It reads the journal's
//! files, also beside a running gateway, and changes nothing.

use super::{
    client::print,
    usage::{UsageArgs, UsageFormat, grouped},
};
use crate::{
    control::{
        config::{self, Config},
        journal,
        ledger::{Dimension, Reprice, RepricedRow, UsageQuery, parse_time},
    },
    kernel::{money::Nanos, names::Names},
};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

const FIGURES: [(&str, &str); 4] = [
    ("requests", "requests"),
    ("cost_usd", "booked USD"),
    ("repriced_usd", "repriced USD"),
    ("difference_usd", "difference USD"),
];
/// How often a long reading says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Runs the command: 0, or 1 with the reason on stderr.
pub fn run(args: &UsageArgs) -> ExitCode {
    match report(args).and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir usage --reprice: {error}");
            ExitCode::FAILURE
        }
    }
}

fn report(args: &UsageArgs) -> Result<String, String> {
    let path = args.config.as_deref().ok_or("no prices; give --config FILE")?;
    let config = prices_of(path)?;
    let query = query_of(args)?;
    let store: PathBuf = args.store.clone().unwrap_or_else(|| config.store.path.clone());
    let names = Arc::new(Names::default());
    let mut reprice = Reprice::new(&config, names.clone(), query.clone());
    let (mut read, mut said) = (0_u64, Instant::now());
    let replay = journal::read(&store, names, |record| {
        reprice.add(record);
        read += 1;
        if read.is_multiple_of(1024) && said.elapsed() >= PROGRESS {
            eprintln!("weir usage --reprice: {read} records read");
            said = Instant::now();
        }
    });
    let replay = replay.map_err(|error| error.to_string())?;
    let version = reprice.version().to_owned();
    let rows = reprice.rows();
    match args.format {
        UsageFormat::Table => Ok(table_of(&query.group_by, &rows, &version, replay.orphans.len())),
        UsageFormat::Json => json_of(&query.group_by, &rows, &version),
        UsageFormat::Csv => csv_of(&query.group_by, &rows).map_err(|error| format!("cannot write CSV: {error}")),
    }
}

/// Reads a configuration for its prices. Its secrets are not needed here, so those that the environment lacks are made up.
fn prices_of(path: &Path) -> Result<Config, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let secret = |name: &str| std::env::var(name).ok().or_else(|| Some(format!("not needed for prices: {name}")));
    config::parse(&text, path.parent().unwrap_or(Path::new("")), &secret).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("\n  {error}")).collect();
        format!("{} cannot be used:{}", path.display(), lines.concat())
    })
}

fn query_of(args: &UsageArgs) -> Result<UsageQuery, String> {
    let names = args.by.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let mut query =
        UsageQuery { group_by: names.map(Dimension::parse).collect::<Result<_, _>>()?, ..UsageQuery::default() };
    for (place, key, text) in [(&mut query.since, "--since", &args.since), (&mut query.until, "--until", &args.until)] {
        *place = text.as_deref().map(parse_time).transpose().map_err(|error| format!("{key}: {error}"))?;
    }
    Ok(query)
}

fn figures(row: &RepricedRow) -> [String; 4] {
    let difference = Nanos(row.repriced.0.saturating_sub(row.booked.0));
    [row.requests.to_string(), row.booked.to_string(), row.repriced.to_string(), difference.to_string()]
}

fn table_of(groups: &[Dimension], rows: &[RepricedRow], version: &str, in_flight: usize) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(groups.iter().map(|group| group.as_str()).chain(FIGURES.map(|(_, heading)| heading)));
    let mut total = RepricedRow::default();
    for row in rows {
        table.add_row(row.group.iter().cloned().chain(figures(row).map(|figure| grouped(&figure))));
        total.requests += row.requests;
        total.from_counts += row.from_counts;
        total.booked += row.booked;
        total.repriced += row.repriced;
    }
    let mut names: Vec<String> = groups.iter().map(|_| String::new()).collect();
    if let Some(first) = names.first_mut() {
        *first = "total".into();
    }
    table.add_row(names.into_iter().chain(figures(&total).map(|figure| grouped(&figure))));
    for column in table.column_iter_mut().skip(groups.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut note = format!("at prices {version}; the journal keeps what was booked");
    if total.from_counts > 0 {
        note += &format!("; {} requests priced from their counts alone", total.from_counts);
    }
    if in_flight > 0 {
        note += &format!("; {in_flight} requests in flight are left out");
    }
    format!("{table}\n{note}\n")
}

fn json_of(groups: &[Dimension], rows: &[RepricedRow], version: &str) -> Result<String, String> {
    let data: Vec<Value> = rows.iter().map(|row| Value::Object(object_of(groups, row))).collect();
    let answer = serde_json::json!({ "data": data, "price_version": version });
    serde_json::to_string(&answer).map(|text| text + "\n").map_err(|error| error.to_string())
}

fn object_of(groups: &[Dimension], row: &RepricedRow) -> Map<String, Value> {
    let mut object = Map::new();
    for (group, name) in groups.iter().zip(&row.group) {
        object.insert(group.as_str().into(), name.as_str().into());
    }
    let [_, booked, repriced, difference] = figures(row);
    object.insert("requests".into(), row.requests.into());
    object.insert("requests_from_counts".into(), row.from_counts.into());
    for ((name, _), figure) in FIGURES[1..].iter().zip([booked, repriced, difference]) {
        object.insert((*name).into(), figure.into());
    }
    object
}

fn csv_of(groups: &[Dimension], rows: &[RepricedRow]) -> Result<String, Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(groups.iter().map(|group| group.as_str()).chain(FIGURES.map(|(name, _)| name)))?;
    for row in rows {
        writer.write_record(row.group.iter().cloned().chain(figures(row)))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}
