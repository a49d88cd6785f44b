//! Who spent what: every view of it adds up to the records.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU, OPUS, SONNET, nanos, usage_of};
use crate::support::{DEADLINE, eventually};

/// A fleet with answered, failed, refused and counted requests of two callers.
fn after_traffic() -> (Fleet, Vec<Value>) {
    let fleet = fleet::start("");
    let mut sent = 0;
    for (key, model, session) in [
        (ALICE_KEY, SONNET, "s-1"),
        (ALICE_KEY, OPUS, "s-1"),
        (ALICE_KEY, "sonnet", "s-2"),
        (BOB_KEY, HAIKU, "s-3"),
        (BOB_KEY, OPUS, "s-3"),
        ("nobody", SONNET, "s-4"),
    ] {
        for (stream, sim, path) in [
            (true, "input_tokens=11 cache_read=5 cache_5m=7 cache_1h=3 output_tokens=13 web_search=1", "/v1/messages"),
            (false, "input_tokens=100001 output_tokens=17", "/v1/messages"),
            (false, "status=529", "/v1/messages"),
            (false, "", "/v1/messages/count_tokens"),
        ] {
            fleet.ask(Ask { model, stream, sim, key, session, path, ..Ask::default() });
            sent += 1;
        }
    }
    let records = fleet.all_records(sent);
    (fleet, records)
}

const FIGURES: [&str; 6] = [
    "requests",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
];

/// Sums of the records that count, by the texts of these fields.
fn sums(records: &[Value], fields: &[&str]) -> BTreeMap<Vec<String>, [i64; 7]> {
    let mut sums: BTreeMap<Vec<String>, [i64; 7]> = BTreeMap::new();
    for record in records.iter().filter(|record| record["outcome"] != "refused") {
        let texts = fields.iter().map(|field| match *field {
            "day" => record["started_at"].as_str().expect("a time")[..10].to_owned(),
            "model" => text(if record["model_served"].is_null() {
                &record["model_requested"]
            } else {
                &record["model_served"]
            }),
            field => text(&record[field]),
        });
        let (used, row) = (usage_of(record), sums.entry(texts.collect()).or_default());
        let figures = [1, used.input, used.output, used.cache_read, used.cache_write_5m, used.cache_write_1h];
        row.iter_mut().zip(figures).for_each(|(sum, figure)| *sum += figure as i64);
        row[6] += nanos(&record["cost_usd"]);
    }
    sums
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn rows(rows: &[Value], fields: &[&str]) -> BTreeMap<Vec<String>, [i64; 7]> {
    let of = |row: &Value| {
        let mut figures = [0; 7];
        for (place, name) in FIGURES.iter().enumerate() {
            figures[place] = row[*name].as_i64().unwrap_or_else(|| panic!("no {name} in {row}"));
        }
        figures[6] = nanos(&row["cost_usd"]);
        (fields.iter().map(|field| text(&row[*field])).collect(), figures)
    };
    rows.iter().map(of).collect()
}

#[test]
fn one_view_of_the_spending_differs_from_another() {
    let (fleet, records) = after_traffic();
    for fields in [
        &["team"][..],
        &["user"],
        &["key"],
        &["project"],
        &["session"],
        &["model"],
        &["day"],
        &["upstream"],
        &["team", "user", "key", "project", "session", "model", "day"],
    ] {
        let found = rows(&fleet.usage(&format!("group_by={}", fields.join(","))), fields);
        assert_eq!(found, sums(&records, fields), "by {fields:?}");
    }
    let total = sums(&records, &[]).remove(&Vec::new()).expect("a total");
    assert_eq!(rows(&fleet.usage(""), &[])[&Vec::new()], total);
    assert!(total[6] > 0 && total[0] == 16, "refused ones do not count: {total:?}");
    let day = &records[0]["started_at"].as_str().expect("a time")[..10];
    assert!(fleet.usage(&format!("group_by=team&until={day}")).is_empty(), "nothing was spent before today");
    assert_eq!(rows(&fleet.usage(&format!("since={day}")), &[])[&Vec::new()], total);
}

#[test]
fn weir_usage_prints_other_figures_than_the_api() {
    let (fleet, records) = after_traffic();
    let admin = format!("http://{}", fleet.weir.admin());
    let run = |more: &[&str]| {
        let arguments = ["usage", "--admin", &admin].into_iter().chain(more.iter().copied()).collect::<Vec<_>>();
        fleet::run_weir(&arguments, fleet.weir.dir())
    };
    let printed = |more: &[&str]| {
        let output = run(more);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let json: Value = serde_json::from_str(&printed(&["--format", "json"])).expect("JSON");
    let data = json["data"].as_array().expect("rows");
    let expected = sums(&records, &["team", "model"]);
    assert_eq!(rows(data, &["team", "model"]), expected);
    let csv = printed(&["--format", "csv", "--by", "team,model"]);
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some(format!("team,model,{},cost_usd", FIGURES.join(",")).as_str()));
    let mut seen = 0;
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let row = expected[&vec![cells[0].to_owned(), cells[1].to_owned()]];
        assert_eq!(cells[2..8].iter().map(|cell| cell.parse::<i64>().expect("digits")).collect::<Vec<_>>(), row[..6]);
        assert_eq!(nanos(&cells[8].into()), row[6]);
        seen += 1;
    }
    assert_eq!(seen, expected.len());
    let table = printed(&["--by", "user"]);
    assert!(table.contains("alice@example.com") && table.contains("300,036"), "{table}");
    let total: i64 = expected.values().map(|row| row[6]).sum();
    let dollars = format!("{}.{:09}", total / 1_000_000_000, total % 1_000_000_000);
    assert!(table.lines().any(|line| line.trim_start().starts_with("total") && line.contains(&dollars)), "{table}");
    let wrong = run(&["--by", "colour"]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("group_by"), "{wrong:?}");
}

#[test]
fn a_record_lacks_a_field_or_has_the_prompt_in_it() {
    let fleet = fleet::start("");
    let record = fleet.ask_record(Ask { stream: true, ..Ask::default() });
    let fields = "request_id upstream_request_id started_at ended_at key user team project session agent request_class \
        format operation model_requested model_served upstream status outcome refused_by stream request_bytes \
        response_bytes usage usage_source cost_usd reserved_usd price_version attempts ttfb_us duration_us gateway_us \
        request_sha256";
    let object = record.as_object().expect("an object");
    for field in fields.split_whitespace() {
        assert!(object.contains_key(field), "no {field} in {record}");
    }
    let usage = record["usage"].as_object().expect("usage");
    for field in ["input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "web_search"] {
        assert!(usage.contains_key(field), "no usage.{field} in {record}");
    }
    assert_eq!((&record["session"], &record["status"]), (&"session-1".into(), &200.into()));
    assert_eq!((&record["attempts"][0]["upstream"], &record["attempts"][0]["status"]), (&"main".into(), &200.into()));
    let (started, ended) = (record["started_at"].as_str(), record["ended_at"].as_str());
    assert!(started <= ended && started.is_some_and(|at| at.ends_with('Z')), "{record}");
    let figure = |name: &str| record[name].as_u64().unwrap_or_else(|| panic!("{name} in {record}"));
    assert!(figure("ttfb_us") <= figure("duration_us") && figure("gateway_us") <= figure("duration_us"), "{record}");
    assert!(figure("ttfb_us") > 0 && !record.to_string().contains("How deep"), "{record}");
    let newest = eventually(DEADLINE, "the newest record alone", || fleet.records("limit=1&key=dev-alice").pop());
    assert_eq!(newest["request_id"], record["request_id"]);
    for query in ["key=nobody", "outcome=refused", "session=other", "since=2100-01-01"] {
        assert!(fleet.records(query).is_empty(), "{query}");
    }
}
