//! The admin listener: who gets in, and whether its figures are true.

use jiff::Timestamp;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU, SONNET, nanos};
use crate::support::http::{self, Connection};
use crate::support::{ADMIN_TOKEN, DEADLINE, eventually};

#[test]
fn the_admin_api_answers_without_its_token() {
    let fleet = fleet::start("");
    let right = format!("bearer {ADMIN_TOKEN}");
    let (callers, short) = (format!("Bearer {ALICE_KEY}"), format!("Bearer {}", &ADMIN_TOKEN[1..]));
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        http::request(fleet.weir.admin(), method, path, headers, b"").status
    };
    let paths = [
        ("GET", "/admin/v1/usage"),
        ("GET", "/admin/v1/budgets"),
        ("GET", "/admin/v1/requests"),
        ("GET", "/admin/v1/shards"),
        ("GET", "/admin/v1/keys"),
        ("POST", "/admin/v1/reload"),
        ("POST", "/admin/v1/drain"),
        ("GET", "/admin/v1/nothing"),
    ];
    for (method, path) in paths {
        for headers in [
            &[][..],
            &[("authorization", callers.as_str())],
            &[("authorization", short.as_str())],
            &[("authorization", ADMIN_TOKEN)],
            &[("authorization", "Bearer ")],
            &[("x-api-key", ADMIN_TOKEN)],
        ] {
            assert_eq!(ask(method, path, headers), 401, "{method} {path} {headers:?}");
        }
    }
    assert_eq!(ask("GET", "/admin/v1/usage", &[("authorization", &right)]), 200);
    assert_eq!(ask("GET", "/admin/v1/nothing", &[("authorization", &right)]), 404);
    assert_eq!(ask("POST", "/admin/v1/usage", &[("authorization", &right)]), 405);
    assert_eq!(ask("GET", "/admin/v1/usage?group_by=colour", &[("authorization", &right)]), 400);
    for open in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask("GET", open, &[]), 200, "{open}");
    }
    // And nothing of it is on the clients' port.
    for path in ["/metrics", "/healthz", "/admin/v1/usage"] {
        let status = http::request(fleet.weir.clients(), "GET", path, &[("authorization", &right)], b"").status;
        assert_eq!(status, 404, "{path}");
    }
}

const NAMES: [&str; 11] = [
    "weir_requests_total",
    "weir_tokens_total",
    "weir_cost_usd_total",
    "weir_streams_open",
    "weir_gateway_overhead_seconds",
    "weir_ttfb_seconds",
    "weir_upstream_attempts_total",
    "weir_refused_total",
    "weir_budget_remaining_usd",
    "weir_ledger_lag_seconds",
    "weir_shard_connections",
];

fn metric(fleet: &Fleet, name: &str, labels: &[&str]) -> f64 {
    fleet.weir.metric(name, labels)
}

#[test]
fn a_metric_is_missing_or_tells_another_story_than_the_records() {
    let fleet = fleet::start("[[budget]]\nscope = \"team:platform\"\namount = \"2.00\"\nperiod = \"daily\"\n");
    let sim = "input_tokens=1000 cache_read=300 cache_5m=20 cache_1h=10 output_tokens=100";
    for stream in [false, true, true] {
        assert_eq!(fleet.ask(Ask { sim, stream, ..Ask::default() }).status, 200);
    }
    fleet.ask(Ask { sim: "status=529", ..Ask::default() });
    fleet.ask(Ask { sim: "reset_before=1", ..Ask::default() });
    fleet.ask(Ask { key: "nobody", ..Ask::default() });
    fleet.ask(Ask { key: BOB_KEY, model: fleet::OPUS, ..Ask::default() });
    fleet.ask(Ask { key: BOB_KEY, model: HAIKU, sim, ..Ask::default() });
    let records = fleet.all_records(8);
    let text = http::request(fleet.weir.admin(), "GET", "/metrics", &[], b"").text();
    for name in NAMES {
        assert!(text.lines().any(|line| line.starts_with(name)), "no {name} in\n{text}");
        let family = name.trim_end_matches("_total");
        assert!(text.contains(&format!("# TYPE {family} ")), "{name} has no type");
    }
    let cost = |team: &str| {
        let theirs = records.iter().filter(|record| record["team"] == team);
        theirs.map(|record| nanos(&record["cost_usd"])).sum::<i64>() as f64 / 1e9
    };
    for team in ["platform", "data"] {
        let shown = metric(&fleet, "weir_cost_usd_total", &[&format!("team=\"{team}\"")]);
        assert!((shown - cost(team)).abs() < 1e-9 && shown > 0.0, "{team}: {shown}");
    }
    let room = metric(&fleet, "weir_budget_remaining_usd", &["scope=\"team:platform\""]);
    assert!((room - (2.0 - cost("platform"))).abs() < 1e-9, "{room}");
    let sonnet = format!("model=\"{SONNET}\"");
    for (kind, count) in [
        ("input", 3000.0),
        ("output", 300.0),
        ("cache_read", 900.0),
        ("cache_write_5m", 60.0),
        ("cache_write_1h", 30.0),
    ] {
        assert_eq!(metric(&fleet, "weir_tokens_total", &[&format!("kind=\"{kind}\""), &sonnet]), count, "{kind}");
    }
    let requests = |labels: &[&str]| metric(&fleet, "weir_requests_total", labels);
    assert_eq!(
        requests(&["operation=\"messages\"", "status=\"200\"", "outcome=\"completed\"", "format=\"anthropic\""]),
        4.0
    );
    assert_eq!(requests(&["status=\"529\"", "outcome=\"completed\""]), 1.0);
    assert_eq!(requests(&["status=\"502\"", "outcome=\"upstream_failed\""]), 1.0);
    assert_eq!(requests(&[]), 8.0);
    assert_eq!(metric(&fleet, "weir_refused_total", &["reason=\"unauthenticated\""]), 1.0);
    assert_eq!(metric(&fleet, "weir_refused_total", &["reason=\"denied\""]), 1.0);
    assert_eq!(metric(&fleet, "weir_upstream_attempts_total", &["upstream=\"main\"", "result=\"answered\""]), 5.0);
    assert_eq!(metric(&fleet, "weir_upstream_attempts_total", &["upstream=\"main\"", "result=\"broken\""]), 1.0);
    assert_eq!(metric(&fleet, "weir_upstream_attempts_total", &["upstream=\"second\""]), 0.0);
    assert_eq!(metric(&fleet, "weir_ttfb_seconds_count", &[]), 5.0, "answers that came");
    assert!(metric(&fleet, "weir_gateway_overhead_seconds_count", &[]) >= 5.0);
    assert!(metric(&fleet, "weir_gateway_overhead_seconds_sum", &[]) < 60.0);
}

#[test]
fn gauges_of_what_runs_do_not_follow_it() {
    let fleet = fleet::start("[[budget]]\nscope = \"org\"\namount = \"5.00\"\nperiod = \"total\"\n");
    let ask = Ask { sim: "stall_at=4 events=9", stream: true, ..Ask::default() };
    let mut streams: Vec<Connection> = Vec::new();
    for _ in 0..9 {
        let mut connection = Connection::open(fleet.weir.clients());
        connection.send(&ask.bytes(fleet.weir.clients()));
        assert_eq!(connection.read_head().status, 200);
        streams.push(connection);
    }
    let open = |fleet: &Fleet| (metric(fleet, "weir_streams_open", &[]), metric(fleet, "weir_shard_connections", &[]));
    eventually(DEADLINE, "nine streams", || (open(&fleet) == (9.0, 9.0) && fleet.running() == 9).then_some(()));
    let budget = fleet.budget("org");
    assert!(budget.reserved > 0 && budget.spent == 0, "{budget:?}");
    let room = metric(&fleet, "weir_budget_remaining_usd", &["scope=\"org\""]);
    assert!((room - budget.remaining as f64 / 1e9).abs() < 1e-9, "{room} and {budget:?}");
    drop(streams);
    eventually(DEADLINE, "none", || (open(&fleet) == (0.0, 0.0) && fleet.running() == 0).then_some(()));
    let budget = fleet.budget("org");
    assert!(budget.reserved == 0 && budget.spent > 0, "what was reserved is settled: {budget:?}");
}

#[test]
fn the_ledger_falls_behind_or_says_that_it_knows_what_it_does_not() {
    let fleet = fleet::start("");
    for _ in 0..20 {
        let before = Timestamp::now();
        assert_eq!(fleet.ask(Ask { sim: "events=1", ..Ask::default() }).status, 200);
        let requests = |fleet: &Fleet| fleet.usage("")[0]["requests"].as_u64().unwrap_or_default();
        let known = requests(&fleet);
        let after = Timestamp::now();
        eventually(DEADLINE, "the ledger knows this moment", || (fleet.weir.as_of() > after).then_some(()));
        assert!(before < after && requests(&fleet) >= known);
        let lag = metric(&fleet, "weir_ledger_lag_seconds", &[]);
        assert!((0.0..10.0).contains(&lag), "{lag}");
    }
    eventually(DEADLINE, "all are known", || (fleet.usage("")[0]["requests"] == 20).then_some(()));
    assert_eq!(metric(&fleet, "weir_journal_accepting", &[]), 1.0);
    assert_eq!(metric(&fleet, "weir_records_lost_total", &[]), 0.0);
}

#[test]
fn a_budget_is_listed_without_what_an_operator_needs() {
    let fleet = fleet::start(
        "[[budget]]\nscope = \"team:*\"\namount = \"12.50\"\nperiod = \"weekly\"\n[[budget]]\nscope = \"key:dev-bob\"\namount = \"3\"\nperiod = \"total\"\nmode = \"soft\"\n",
    );
    let answer = fleet.weir.admin_get("/admin/v1/budgets");
    let budgets = answer["data"].as_array().expect("budgets");
    let shown: Vec<String> = budgets
        .iter()
        .map(|budget| {
            ["scope", "period", "mode", "amount"].map(|name| budget[name].as_str().expect("a text")).join(" ")
        })
        .collect();
    for wanted in [
        "team:platform weekly hard 12.500000000",
        "team:data weekly hard 12.500000000",
        "key:dev-bob total soft 3.000000000",
    ] {
        assert!(shown.iter().any(|shown| shown == wanted), "{wanted} is not among {shown:?}");
    }
    assert_eq!(shown.len(), 3, "one for each team that has a key: {shown:?}");
    for budget in budgets {
        let resets: Option<Timestamp> = budget["resets_at"].as_str().map(|text| text.parse().expect("a time"));
        if budget["period"] == "weekly" {
            let resets = resets.expect("a week ends").to_zoned(jiff::tz::TimeZone::UTC);
            let days = resets.timestamp().duration_since(Timestamp::now()).as_hours();
            assert!((0..7 * 24).contains(&days) && resets.hour() == 0, "{budget}");
            assert_eq!(resets.weekday(), jiff::civil::Weekday::Monday, "{budget}");
        } else {
            assert_eq!(resets, None, "{budget}");
        }
        assert!(budget["last_denied"].is_null(), "{budget}");
    }
}
