//! `weir audit query --changes`.

use super::{
    Teller, heard,
    query::{LIMIT_MAX, QueryArgs, QueryFormat, TABLE_ROWS},
    text,
};
use crate::control::{
    audit,
    changes::{ChangeFilter, ChangeView},
};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::{self, BufWriter, Write};

const HEADINGS: [&str; 6] = ["at", "what", "who", "subject", "before", "after"];
/// Width of the table where it is not printed on a terminal. Characters.
const WIDTH: u16 = 160;

pub(super) fn run(args: &QueryArgs) -> Result<(), String> {
    let filter = filter(args)?;
    let table = args.format == QueryFormat::Table;
    let most = args.limit.unwrap_or(if table { TABLE_ROWS as u64 } else { LIMIT_MAX });
    let mut teller = Teller::new("searching");
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (changes, found) = audit::changes(&args.store.store, &filter, most, &mut |at| teller.tell(at)).map_err(text)?;
    drop(teller);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match args.format {
        QueryFormat::Table => writeln!(out, "{}", table_of(&changes)),
        QueryFormat::Json => document(&mut out, &changes),
        QueryFormat::Jsonl => lines(&mut out, &changes),
    };
    heard(written.and_then(|()| out.flush()))?;
    if found.shown < found.matched {
        eprintln!("weir: the newest {} of {} changes; --limit shows more", found.shown, found.matched);
    }
    Ok(())
}

fn filter(args: &QueryArgs) -> Result<ChangeFilter, String> {
    let given = [
        ("since", &args.since),
        ("until", &args.until),
        ("kind", &args.kind),
        ("who", &args.who),
        ("subject", &args.subject),
    ];
    let pairs: Vec<(String, String)> =
        given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?))).collect();
    ChangeFilter::parse(&pairs)
}

fn table_of(changes: &[ChangeView]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(WIDTH).set_header(HEADINGS);
    for change in changes {
        let what = match &change.failed {
            Some(why) => format!("{} FAILED: {why}", change.kind),
            None => change.kind.clone(),
        };
        let who = match &change.peer {
            Some(peer) => format!("{} ({peer})", change.who),
            None => change.who.clone(),
        };
        let subject = change.subject.clone().unwrap_or_else(|| "-".into());
        table.add_row([change.at.clone(), what, who, subject, short(&change.before), short(&change.after)]);
    }
    table
}

fn short(detail: &Option<Value>) -> String {
    detail.as_ref().map_or_else(|| "-".into(), Value::to_string)
}

fn document(out: &mut impl Write, changes: &[ChangeView]) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &serde_json::json!({ "data": changes }))?;
    out.write_all(b"\n")
}

fn lines(out: &mut impl Write, changes: &[ChangeView]) -> io::Result<()> {
    for change in changes {
        serde_json::to_writer(&mut *out, change)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}
