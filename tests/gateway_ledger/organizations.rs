//! The Admin API's shapes through the real listener: what a dashboard would add up is what was booked.

use jiff::{Timestamp, Unit};
use serde_json::Value;

use crate::fleet::{self, Ask, BOB_KEY, Fleet, HAIKU, nanos};
use crate::support::ADMIN_TOKEN;
use crate::support::http::{self, Response};

const BUDGETS: &str = "[[budget]]\nscope = \"team:platform\"\namount = \"50.00\"\nperiod = \"monthly\"\n\
     [[budget]]\nscope = \"user:*\"\namount = \"5.00\"\nperiod = \"daily\"\n";

fn ask(fleet: &Fleet, path: &str) -> Response {
    http::request(fleet.weir.admin(), "GET", &format!("/v1/organizations/{path}"), &[("x-api-key", ADMIN_TOKEN)], b"")
}

fn get(fleet: &Fleet, path: &str) -> Value {
    let answer = ask(fleet, path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    assert!(answer.header("request-id").is_some_and(|id| id.starts_with("req_")), "{path}");
    answer.json()
}

fn today() -> String {
    let day = Timestamp::now().round(Unit::Hour).expect("a time").to_zoned(jiff::tz::TimeZone::UTC).date();
    format!("{day}T00:00:00Z")
}

/// All buckets of a report, page after page.
fn buckets(fleet: &Fleet, question: &str) -> Vec<Value> {
    let (mut all, mut page) = (Vec::new(), String::new());
    loop {
        let answer = get(fleet, &format!("{question}{page}"));
        all.extend(answer["data"].as_array().expect("buckets").iter().cloned());
        assert!(all.len() < 10_000, "pages never end");
        match answer["next_page"].as_str() {
            Some(next) => page = format!("&page={next}"),
            None => {
                assert_eq!(answer["has_more"], false);
                return all;
            }
        }
        assert_eq!(answer["has_more"], true);
    }
}

fn results(buckets: &[Value]) -> Vec<Value> {
    buckets.iter().flat_map(|bucket| bucket["results"].as_array().expect("results").clone()).collect()
}

/// Cents as nano-dollars.
fn cents(amount: &Value) -> i64 {
    let text = amount.as_str().expect("a decimal string");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    format!("{whole}{fraction:0<7}").parse().expect("digits")
}

#[test]
fn a_dashboard_of_the_admin_api_adds_up_something_else_than_was_booked() {
    let fleet = fleet::start(BUDGETS);
    let sim = "input_tokens=1000 cache_read=300 cache_5m=20 cache_1h=10 output_tokens=100";
    for _ in 0..3 {
        fleet.ask_record(Ask { sim, ..Ask::default() });
    }
    fleet.ask_record(Ask { sim, key: BOB_KEY, model: HAIKU, ..Ask::default() });
    let records = fleet.all_records(4);
    let from = Timestamp::now() - jiff::SignedDuration::from_hours(24 * 40);
    let from = from.to_string();
    for width in ["1d", "1h"] {
        let question = format!(
            "usage_report/messages?starting_at={from}&bucket_width={width}&group_by[]=workspace_id&group_by[]=model&group_by[]=api_key_id"
        );
        let all = buckets(&fleet, &question);
        let starts: Vec<&str> = all.iter().map(|bucket| bucket["starting_at"].as_str().expect("a time")).collect();
        let ends: Vec<&str> = all.iter().map(|bucket| bucket["ending_at"].as_str().expect("a time")).collect();
        assert_eq!(starts[1..], ends[..ends.len() - 1], "{width}: buckets are without gaps");
        let items = results(&all);
        let of = |team: &str, field: &str| {
            items
                .iter()
                .filter(|item| item["workspace_id"] == team)
                .map(|item| item[field].as_u64().expect("a number"))
                .sum::<u64>()
        };
        assert_eq!((of("platform", "uncached_input_tokens"), of("data", "uncached_input_tokens")), (3000, 1000));
        assert_eq!((of("platform", "cache_read_input_tokens"), of("platform", "output_tokens")), (900, 300));
        assert!(items.iter().all(|item| item["api_key_id"] == "dev-alice" || item["api_key_id"] == "dev-bob"));
        assert_eq!(items[0]["cache_creation"]["ephemeral_5m_input_tokens"].as_u64().map(|n| n % 20), Some(0));
    }
    let minutes = format!("usage_report/messages?starting_at={}&bucket_width=1m&limit=1440", today());
    let tokens: u64 =
        results(&buckets(&fleet, &minutes)).iter().map(|item| item["output_tokens"].as_u64().expect("a number")).sum();
    let known: u64 = records.iter().map(|record| record["usage"]["output"].as_u64().expect("a number")).sum();
    // At midnight the first of them may be of yesterday.
    assert!(tokens <= known && known == 400);
    // Money: whole, by workspace, by what it was for; to the nano-dollar.
    let booked: i64 = records.iter().map(|record| nanos(&record["cost_usd"])).sum();
    for group in
        ["", "&group_by[]=workspace_id", "&group_by[]=description", "&group_by[]=workspace_id&group_by[]=description"]
    {
        let items = results(&buckets(&fleet, &format!("cost_report?starting_at={from}{group}")));
        assert_eq!(items.iter().map(|item| cents(&item["amount"])).sum::<i64>(), booked, "{group}");
        assert!(items.iter().all(|item| item["currency"] == "USD"), "{group}");
        let described = items.iter().filter(|item| item["token_type"] == "cache_read_input_tokens").count();
        assert_eq!(described > 0, group.contains("description"), "{group}");
    }
}

#[test]
fn limits_are_shown_otherwise_than_they_hold_and_a_raise_leaves_no_trace() {
    let fleet = fleet::start(BUDGETS);
    fleet.ask_record(Ask { sim: "input_tokens=1000 output_tokens=1000", ..Ask::default() });
    let limits = get(&fleet, "spend_limits");
    let limits = limits["data"].as_array().expect("limits");
    let team = limits.iter().find(|limit| limit["scope"]["type"] == "workspace").expect("the team's");
    assert_eq!(
        (&team["amount"], &team["currency"], &team["period"]),
        (&"5000".into(), &"USD".into(), &"monthly".into())
    );
    assert_eq!(team["scope"]["workspace_id"], "platform");
    let id = team["id"].as_str().expect("an id");
    assert!(id.starts_with("spl_"));
    assert_eq!(&get(&fleet, &format!("spend_limits/{id}")), team);
    let missing = ask(&fleet, "spend_limits/spl_none");
    assert_eq!((missing.status, &missing.json()["error"]["type"]), (404, &"not_found_error".into()));
    let body = br#"{"scope":"team:platform","period":"monthly","amount":"10.00"}"#;
    assert_eq!(fleet.weir.admin_request("POST", "/admin/v1/budgets/raise", body).status, 200);
    assert_eq!(get(&fleet, &format!("spend_limits/{id}"))["amount"], "6000");
    let trail = get(&fleet, "spend_limits/audit");
    let event = &trail["data"][0];
    assert_eq!((&event["action"], &event["spend_limit_id"]), (&"raise".into(), &id.into()), "{trail}");
    assert_eq!((&event["before"]["amount"], &event["after"]["amount"]), (&"5000".into(), &"6000".into()), "{trail}");
    // A reload that changes a budget is in the trail as well, in front of it.
    let config = format!("{}{}", fleet::config(fleet.provider.addr(), ""), BUDGETS.replace("50.00", "70.00"));
    fleet.weir.write_config(&config);
    fleet.reload();
    let trail = get(&fleet, "spend_limits/audit?limit=1");
    assert_eq!((&trail["data"][0]["action"], &trail["has_more"]), (&"update".into(), &true.into()), "{trail}");
    assert_eq!(trail["data"][0]["after"]["amount"], "7000");
    let older = get(&fleet, &format!("spend_limits/audit?after_id={}", trail["data"][0]["id"]));
    assert_eq!((&older["data"][0]["action"], &older["has_more"]), (&"raise".into(), &false.into()), "{older}");
    let effective = get(&fleet, "spend_limits/effective?period[]=daily&user_ids[]=alice@example.com");
    let row = &effective["data"][0];
    let spent = fleet.budget("user:alice@example.com").spent;
    assert_eq!((&row["amount"], &row["source"]["type"]), (&"500".into(), &"user".into()), "{effective}");
    assert_eq!(cents(&row["period_to_date_spend"]), (spent + 5000) / 10_000 * 10_000, "{effective}");
}
