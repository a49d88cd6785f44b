//! `weir usage`: who spent what, asked of the admin API of a running gateway.

mod bars;

use super::client::{AdminArgs, Client, print};
use crate::kernel::money::Nanos;
use bars::{Bars, bar, terminal_columns};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;
use std::{path::PathBuf, process::ExitCode};

/// The figures of a row, with their headings.
const FIGURES: [(&str, &str); 7] = [
    ("requests", "requests"),
    ("input_tokens", "input"),
    ("output_tokens", "output"),
    ("cache_read_tokens", "cache read"),
    ("cache_write_5m_tokens", "cache write 5m"),
    ("cache_write_1h_tokens", "cache write 1h"),
    ("cost_usd", "cost USD"),
];

/// Who spent what.
#[derive(Args, Clone, Debug)]
pub struct UsageArgs {
    /// Group by any of org, team, project, user, key, session, model, upstream, day, hour, service_tier, context_window,
    /// inference_geo, speed
    #[arg(long, value_delimiter = ',', default_value = "team,model", value_name = "LIST")]
    pub by: Vec<String>,
    /// Requests that began at or after this time: Unix seconds, a date, or RFC 3339
    #[arg(long, value_name = "T")]
    pub since: Option<String>,
    /// Requests that began before this time
    #[arg(long, value_name = "T")]
    pub until: Option<String>,
    /// How to print it
    #[arg(long, value_enum, default_value_t = UsageFormat::Table)]
    pub format: UsageFormat,
    /// Draw each row's share of the cost as a bar
    #[arg(long, value_enum, default_value_t = Bars::Auto)]
    pub bars: Bars,
    /// Plain table: the same as --bars never
    #[arg(long, conflicts_with = "bars")]
    pub no_bars: bool,
    /// Whom to ask.
    #[command(flatten)]
    pub api: AdminArgs,
    /// Price the store's history again at the prices of --config, and show what changes; reads files only, changes nothing
    #[arg(long, requires = "config")]
    pub reprice: bool,
    /// The configuration whose prices count for --reprice
    #[arg(long, alias = "prices", value_name = "FILE", requires = "reprice")]
    pub config: Option<PathBuf>,
    /// The store to read for --reprice, if it is not the configuration's
    #[arg(long, value_name = "DIR", requires = "reprice")]
    pub store: Option<PathBuf>,
}

/// How usage is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UsageFormat {
    /// A table with a total, for people.
    Table,
    /// The answer as it came.
    Json,
    /// One line a row, without a total.
    Csv,
}

/// Runs the command: 0, or 1 with the reason on stderr.
pub fn run(args: &UsageArgs) -> ExitCode {
    let token = args.api.token();
    let printed = fetch(args, &token).and_then(|body| render(args, &body)).and_then(|text| print(&text));
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir usage: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fetch(args: &UsageArgs, token: &str) -> Result<String, String> {
    let by = args.by.join(",");
    let times = [("since", args.since.as_deref()), ("until", args.until.as_deref())];
    let times = times.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let query: Vec<(&str, &str)> = std::iter::once(("group_by", by.as_str())).chain(times).collect();
    Client::new(&args.api.admin, token)?.get("/admin/v1/usage", &query)
}

fn render(args: &UsageArgs, body: &str) -> Result<String, String> {
    if args.format == UsageFormat::Json {
        return Ok(format!("{body}\n"));
    }
    let answer: Value = serde_json::from_str(body).map_err(|error| format!("the answer is no JSON: {error}"))?;
    let rows = answer["data"].as_array().ok_or("the answer has no `data`; is this the admin API of weir?")?;
    let groups: Vec<&str> = args.by.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    match args.format {
        UsageFormat::Csv => csv_of(&groups, rows).map_err(|error| format!("cannot write CSV: {error}")),
        _ => {
            let bars = if args.no_bars { Bars::Never } else { args.bars };
            Ok(table_of(&groups, rows, bars, terminal_columns()) + &note_of(&groups, rows, &answer))
        }
    }
}

fn csv_of(groups: &[&str], rows: &[Value]) -> Result<String, Box<dyn std::error::Error>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let fields: Vec<&str> = groups.iter().copied().chain(FIGURES.map(|(field, _)| field)).collect();
    writer.write_record(&fields)?;
    for row in rows {
        writer.write_record(fields.iter().map(|field| text_of(&row[*field])))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

fn table_of(groups: &[&str], rows: &[Value], bars: Bars, columns: Option<usize>) -> String {
    let plain = drawn(groups, rows, None);
    let width = plain.lines().map(|line| line.chars().count()).max().unwrap_or_default();
    let table = bars.cells(width, columns).map(|cells| drawn(groups, rows, Some(cells)));
    table.unwrap_or(plain)
}

/// The table; with bars of so many cells, if any.
fn drawn(groups: &[&str], rows: &[Value], cells: Option<usize>) -> String {
    let cost = |row: &Value| Nanos::parse_dollars(row["cost_usd"].as_str().unwrap_or_default()).unwrap_or_default();
    let whole: Nanos = rows.iter().map(cost).sum();
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    let headings = groups.iter().copied().chain(FIGURES.map(|(_, heading)| heading));
    table.set_header(headings.chain(cells.map(|_| "share")));
    for row in rows {
        let names = groups.iter().map(|group| text_of(&row[*group]));
        let figures = FIGURES.map(|(field, _)| grouped(&text_of(&row[field])));
        table.add_row(names.chain(figures).chain(cells.map(|cells| bar(cost(row).0, whole.0, cells))));
    }
    let mut total: Vec<String> = groups.iter().map(|_| String::new()).collect();
    if let Some(first) = total.first_mut() {
        *first = "total".into();
    }
    table.add_row(total.into_iter().chain(FIGURES.map(|(field, _)| grouped(&sum_of(field, rows)))));
    for column in table.column_iter_mut().skip(groups.len()).take(FIGURES.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// What must be known to read the table: up to when it is complete, and what the ledger no longer tells apart.
fn note_of(groups: &[&str], rows: &[Value], answer: &Value) -> String {
    let mut note = format!("as of {}", answer["as_of"].as_str().unwrap_or("?"));
    let estimated = rows.iter().filter_map(|row| row["estimated_requests"].as_u64()).sum::<u64>();
    if estimated > 0 {
        note += &format!("; {estimated} requests with estimated usage");
    }
    for (group, since) in [("session", "sessions_since"), ("hour", "hours_since")] {
        if let (true, Some(since)) = (groups.contains(&group), answer["detail"][since].as_str()) {
            note += &format!("; by {group} from {since} on, older requests are under none");
        }
    }
    note + "\n"
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

fn sum_of(field: &str, rows: &[Value]) -> String {
    if field == "cost_usd" {
        let costs = rows.iter().filter_map(|row| Nanos::parse_dollars(row[field].as_str()?).ok());
        return costs.sum::<Nanos>().to_string();
    }
    rows.iter().filter_map(|row| row[field].as_u64()).fold(0_u64, u64::saturating_add).to_string()
}

/// Separates thousands before the decimal point.
pub(super) fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut out = String::with_capacity(number.len() + whole.len() / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::TOKEN_VARIABLE;
    use crate::control::admin::tests::{record, serve};
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        usage: UsageArgs,
    }

    fn args(admin: &str, more: &[&str]) -> UsageArgs {
        let words = ["weir", "--admin", admin].into_iter().chain(more.iter().copied());
        Program::try_parse_from(words).unwrap().usage
    }

    #[test]
    fn the_table_adds_up_and_csv_and_json_carry_the_same_figures() {
        let api = serve();
        for (n, team) in ["a", "b,c", "a"].into_iter().enumerate() {
            api.state.ledger.write().apply(&record(&api.names, n as u64, team));
        }
        let url = format!("http://{}/", api.address);
        let show = |more: &[&str]| {
            let args = args(&url, more);
            render(&args, &fetch(&args, "admin-secret").unwrap()).unwrap()
        };
        let table = show(&[]);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        let total = ["total", "3", "3,000,000", "6", "0", "0", "0", "3.000000003"];
        assert!(lines.iter().any(|line| *line == total), "{table}");
        assert!(table.lines().any(|l| l.trim_start().starts_with("a ") && l.contains("2,000,000")), "{table}");
        let csv = show(&["--by", "team", "--format", "csv", "--since", "2025-11-21T00:00:00+00:00"]);
        let header = "team,requests,input_tokens,output_tokens,cache_read_tokens,cache_write_5m_tokens,cache_write_1h_tokens,cost_usd";
        assert_eq!(csv.lines().next(), Some(header));
        assert_eq!(csv.lines().nth(2), Some("\"b,c\",1,1000000,2,0,0,0,1.000000001"));
        let json: Value = serde_json::from_str(&show(&["--format", "json", "--until", "2025-11-21"])).unwrap();
        assert_eq!(json["data"], Value::Array(Vec::new()));
    }

    #[test]
    fn a_failure_says_what_to_do() {
        let api = serve();
        let url = format!("http://{}", api.address);
        let error = |admin: &str, more: &[&str], token: &str| fetch(&args(admin, more), token).unwrap_err();
        assert!(error(&url, &[], "wrong").contains("admin.token"));
        assert!(error(&url, &[], "").contains(TOKEN_VARIABLE));
        assert!(error(&url, &["--by", "colour"], "admin-secret").contains("team, project"));
        assert!(error("127.0.0.1:1", &[], "x").contains("http://HOST:PORT"));
        // A port that was just free.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = error(&format!("http://{free}"), &[], "x");
        assert!(text.contains("cannot reach") && text.contains("Is the gateway running?"), "{text}");
    }

    #[test]
    fn bars_are_in_a_pipe_or_not_where_they_are_asked_for() {
        let api = serve();
        for (n, team) in ["a", "b", "a", "a"].into_iter().enumerate() {
            api.state.ledger.write().apply(&record(&api.names, n as u64, team));
        }
        let url = format!("http://{}/", api.address);
        let show = |more: &[&str]| {
            let args = args(&url, more);
            render(&args, &fetch(&args, "admin-secret").unwrap()).unwrap()
        };
        let always = show(&["--by", "team", "--bars", "always"]);
        let line = |team: &str| always.lines().find(|line| line.trim_start().starts_with(team)).unwrap().to_owned();
        assert!(line("a ").contains(&"█".repeat(18)) && line("a ").trim_end().ends_with("75%"), "{always}");
        assert!(line("b ").contains(&"█".repeat(6)) && line("b ").trim_end().ends_with("25%"), "{always}");
        assert!(always.contains("share") && !line("total").contains('█'), "{always}");
        for plain in [&["--by", "team", "--no-bars"][..], &["--by", "team", "--bars", "never"]] {
            assert!(!show(plain).contains('█'), "{}", show(plain));
        }
        for format in ["csv", "json"] {
            assert!(!show(&["--by", "team", "--bars", "always", "--format", format]).contains('█'));
        }
        assert!(Program::try_parse_from(["weir", "--no-bars", "--bars", "always"]).is_err());
    }

    #[test]
    fn a_table_does_not_say_that_old_requests_have_lost_their_session() {
        let answer = serde_json::json!({
            "as_of": "T", "detail": { "sessions_since": "2026-11-20T00:00:00Z", "hours_since": null }
        });
        let note = note_of(&["session", "hour"], &[], &answer);
        assert_eq!(note, "as of T; by session from 2026-11-20T00:00:00Z on, older requests are under none\n");
        assert_eq!(note_of(&["team"], &[], &answer), "as of T\n");
    }

    #[test]
    fn thousands_are_separated_before_the_point_only() {
        let cases = [("0", "0"), ("999", "999"), ("1000", "1,000"), ("1234567.891234567", "1,234,567.891234567")];
        for (number, expected) in cases {
            assert_eq!(grouped(number), expected);
        }
    }
}
