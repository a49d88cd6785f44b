//! What a warehouse adds up is what the gateway says.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU, OPUS, SONNET, UNKNOWN, nanos};
use crate::warehouse::{CREDENTIALS, S3, parts, query};

/// Requests, tokens and nano-dollars by team, model and day.
type Sums = BTreeMap<[String; 3], [i64; 7]>;

const FIGURES: [&str; 6] = [
    "requests",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
];

/// Sends requests of several callers, models and ends; returns how many.
fn traffic(fleet: &Fleet) -> usize {
    let mut sent = 0;
    for (key, model) in [
        (ALICE_KEY, SONNET),
        (ALICE_KEY, OPUS),
        (ALICE_KEY, UNKNOWN),
        (BOB_KEY, HAIKU),
        (BOB_KEY, OPUS),
        ("nobody", SONNET),
    ] {
        for (stream, sim) in [
            (true, "input_tokens=11 cache_read=5 cache_5m=7 cache_1h=3 output_tokens=13 web_search=1"),
            (false, "input_tokens=100003 cache_read=777 output_tokens=17"),
            (false, "status=529"),
            (true, "input_tokens=1 output_tokens=1"),
        ] {
            fleet.ask(Ask { model, stream, sim, key, ..Ask::default() });
            sent += 1;
        }
    }
    sent
}

fn of_gateway(fleet: &Fleet) -> Sums {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let of = |row: &Value| {
        let mut figures = [0; 7];
        FIGURES.iter().zip(&mut figures).for_each(|(name, figure)| *figure = row[*name].as_i64().expect("a figure"));
        figures[6] = nanos(&row["cost_usd"]);
        ([text(&row["team"]), text(&row["model"]), text(&row["day"])[..10].to_owned()], figures)
    };
    fleet.usage("group_by=team,model,day").iter().map(of).collect()
}

fn of_warehouse(out: &Path, format: &str) -> Sums {
    let sql = format!(
        "SELECT coalesce(team, ''), coalesce(model_served, model_requested), day, count(*), sum(usage.input), \
         sum(usage.output), sum(usage.cache_read), sum(usage.cache_write_5m), sum(usage.cache_write_1h), \
         sum(CAST(cost_usd AS DECIMAL(18,9))) FROM {} WHERE outcome <> 'refused' GROUP BY ALL",
        parts(out, format)
    );
    let of = |row: Vec<Option<String>>| {
        let mut cells = row.into_iter().map(Option::unwrap_or_default);
        let mut next = || cells.next().expect("ten columns");
        let key = [next(), next(), next()];
        let mut figures = [0; 7];
        figures[..6].iter_mut().for_each(|figure| *figure = next().parse().expect("a number"));
        figures[6] = nanos(&Value::String(next()));
        (key, figures)
    };
    query(&sql).into_iter().map(of).collect()
}

/// Runs an export beside the gateway.
fn export(fleet: &Fleet, out: &str, more: &[&str]) -> String {
    let store = fleet.weir.dir().join("weir-data");
    let mut command = fleet::weir_command(&["audit", "export", "--out", out, "--store"], fleet.weir.dir());
    let output = command.arg(store).args(more).envs(CREDENTIALS).output().expect("the binary runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn a_warehouse_adds_up_to_another_sum_than_the_gateway() {
    let fleet = fleet::start("");
    let s3 = S3::start();
    let mut sent = traffic(&fleet);
    fleet.all_records(sent);
    let out = |name: &str| fleet.weir.dir().join(name).display().to_string();
    let url = "s3://exports/a/weir";
    let runs = || {
        export(&fleet, &out("parquet"), &["--format", "parquet"]);
        export(&fleet, &out("jsonl"), &["--format", "jsonl"]);
        export(&fleet, url, &["--format", "parquet", "--endpoint", s3.url()])
    };
    assert!(runs().starts_with(&format!("{sent} records added to {url}")));
    // The second run adds what is new; a third has nothing to add.
    sent += traffic(&fleet);
    fleet.all_records(sent);
    runs();
    assert!(runs().starts_with("0 records added"));
    let copied = s3.copy(&fleet.weir.dir().join("copied"));
    let gateway = of_gateway(&fleet);
    assert!(gateway.len() >= 4 && gateway.values().all(|row| row[0] > 0), "{gateway:?}");
    for (directory, format) in [
        (fleet.weir.dir().join("parquet"), "parquet"),
        (fleet.weir.dir().join("jsonl"), "jsonl"),
        (copied.join("a/weir"), "parquet"),
    ] {
        assert_eq!(of_warehouse(&directory, format), gateway, "{}", directory.display());
        let ids = query(&format!("SELECT count(*), count(DISTINCT request_id) FROM {}", parts(&directory, format)));
        assert_eq!(ids, [[Some(sent.to_string()), Some(sent.to_string())]], "{}", directory.display());
    }
    types(&fleet.weir.dir().join("parquet"));
    for directory in [fleet.weir.dir().join("jsonl"), copied.join("a/weir")] {
        assert_eq!(kinds(&directory), ["start"], "{}", directory.display());
    }
}

/// What administrators changed, in an export.
fn kinds(out: &Path) -> Vec<String> {
    let changes = parts(&out.join("changes"), "jsonl");
    let rows = query(&format!(
        "SELECT kind FROM {changes} WHERE failed IS NULL AND CAST(\"at\" AS DATE) = day ORDER BY \"at\""
    ));
    rows.into_iter().map(|mut row| row.remove(0).unwrap_or_default()).collect()
}

/// The columns have types to reckon with, not texts.
fn types(out: &Path) {
    let described = query(&format!("DESCRIBE SELECT * FROM {}", parts(out, "parquet")));
    let types: BTreeMap<String, String> =
        described.into_iter().map(|row| (row[0].clone().expect("a name"), row[1].clone().expect("a type"))).collect();
    for (column, wanted) in [
        ("request_id", "VARCHAR"),
        ("started_at", "TIMESTAMP WITH TIME ZONE"),
        ("cost_usd", "DECIMAL(18,9)"),
        ("reserved_usd", "DECIMAL(18,9)"),
        ("status", "USMALLINT"),
        ("stream", "BOOLEAN"),
        ("usage_raw", "JSON"),
        ("day", "DATE"),
    ] {
        assert_eq!(types[column], wanted, "{column}");
    }
    assert!(types["attempts"].starts_with("STRUCT(") && types["attempts"].ends_with("[]"), "{}", types["attempts"]);
    let sql = format!(
        "SELECT count(*) FROM {} WHERE len(attempts) = 1 AND attempts[1].upstream = 'main' AND attempts[1].status = 529 \
         AND status = 529 AND started_at <= ended_at AND CAST(started_at AS DATE) = day AND refused_by IS NULL",
        parts(out, "parquet")
    );
    assert_eq!(query(&sql), [[Some("8".into())]], "three models of one caller and one of another, asked twice");
}
