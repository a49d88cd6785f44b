//! What a caller is told about its budget, before and after it is spent (contract.md §2.4).

use jiff::{Timestamp, ToSpan, tz::TimeZone};

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, HAIKU, nanos};
use crate::support::http::{self, Response};
use crate::support::{DEADLINE, eventually};

const UNIFIED: &str = "anthropic-ratelimit-unified-";
/// An answer of one dollar and a half.
const DEAR: &str = "output_tokens=100000 input_tokens=0 events=1";
/// An answer of fifteen thousandths of a cent.
const CHEAP: &str = "output_tokens=10 input_tokens=0 events=1";

fn spend(fleet: &Fleet, sim: &str) -> Response {
    let response = fleet.ask(Ask { sim, ..Ask::default() });
    // A caller that has read its answer may be ahead of the settlement.
    fleet.record_of(&response);
    response
}

/// Unix second of the next first of the month, midnight UTC.
fn month_end() -> i64 {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let first = today.first_of_month().checked_add(1.month()).expect("a month");
    first.to_zoned(TimeZone::UTC).expect("a time").timestamp().as_second()
}

fn unified(response: &Response) -> Vec<(String, String)> {
    let ours = response.headers.iter().filter(|(name, _)| name.starts_with(UNIFIED));
    let mut ours: Vec<_> = ours.map(|(name, value)| (name[UNIFIED.len()..].to_owned(), value.clone())).collect();
    ours.sort();
    ours
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = list.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    pairs.sort();
    pairs
}

#[test]
fn a_spent_budget_is_told_so_that_the_client_retries_or_hides_the_message() {
    let fleet = fleet::start(
        "[[budget]]\nscope = \"team:platform\"\namount = \"1.00\"\nperiod = \"monthly\"\nblocked_message = \"ask in #llm-budget\"\n",
    );
    assert_eq!(spend(&fleet, DEAR).status, 200);
    let blocked = spend(&fleet, CHEAP);
    let now = Timestamp::now().as_second();
    assert_eq!(blocked.status, 429, "{}", blocked.text());
    let end = month_end();
    let date = Timestamp::from_second(end).expect("a time").to_zoned(TimeZone::UTC).date();
    let body = blocked.json();
    let message = format!("spend limit reached (monthly; resets {date} 00:00 UTC) ask in #llm-budget");
    assert_eq!(body["error"]["message"], message);
    assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &"billing_error".into()));
    assert_eq!(body["request_id"].as_str(), blocked.header("x-weir-request-id"));
    assert_eq!(blocked.header("x-should-retry"), Some("false"));
    assert_eq!(blocked.header("x-weir-origin"), Some("gateway"));
    assert_eq!(blocked.header("content-type"), Some("application/json"));
    let wait: i64 = blocked.header("retry-after").expect("retry-after").parse().expect("whole seconds");
    assert!((wait - (end - now)).abs() <= 5, "{wait} seconds to {date}");
    let end = end.to_string();
    let told = pairs(&[
        ("status", "rejected"),
        ("overage-utilization", "1"),
        ("overage-surpassed-threshold", "1"),
        ("overage-disabled-reason", "org_spend_cap_reached"),
        ("overage-period", "monthly"),
        ("overage-scope", "group_pool"),
        ("reset", &end),
        ("overage-reset", &end),
    ]);
    assert_eq!(unified(&blocked), told, "representative-claim and overage-status stay away");
    let record = fleet.record_of(&blocked);
    assert_eq!((&record["outcome"], &record["refused_by"]), (&"refused".into(), &"budget_spent".into()), "{record}");
    assert_eq!((nanos(&record["cost_usd"]), nanos(&record["reserved_usd"])), (0, 0));
    let shown = &fleet.weir.admin_get("/admin/v1/budgets")["data"][0];
    assert_eq!(shown["last_denied"]["spent"], "1.500000000", "{shown}");
    assert!(nanos(&shown["last_denied"]["needed"]) > 0 && nanos(&shown["remaining"]) == -500_000_000, "{shown}");
    // What costs nothing still works, and nobody else is blocked.
    let count = Ask { path: "/v1/messages/count_tokens", ..Ask::default() };
    assert_eq!(fleet.ask(count).status, 200);
    let key = [("x-api-key", ALICE_KEY)];
    assert_eq!(http::request(fleet.weir.clients(), "GET", "/v1/models", &key, b"").status, 200);
    let other = fleet.ask(Ask { key: BOB_KEY, model: HAIKU, ..Ask::default() });
    assert_eq!((other.status, unified(&other)), (200, Vec::new()), "no budget, no headers");
}

#[test]
fn a_callers_own_cap_is_told_as_a_shared_pool() {
    for (scope, period) in [("user:*", "daily"), ("key:dev-alice", "weekly"), ("user:alice@example.com", "total")] {
        let more = format!("[[budget]]\nscope = \"{scope}\"\namount = \"1.00\"\nperiod = \"{period}\"\n");
        let fleet = fleet::start(&more);
        assert_eq!(spend(&fleet, DEAR).status, 200);
        let blocked = spend(&fleet, CHEAP);
        assert_eq!(blocked.status, 429);
        let told = unified(&blocked);
        let value = |name: &str| told.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!((value("overage-scope"), value("status")), (None, Some("rejected")), "{scope}");
        let dated = period != "total";
        assert_eq!(value("overage-period"), dated.then_some(period));
        assert_eq!((value("reset").is_some(), blocked.header("retry-after").is_some()), (dated, dated), "{period}");
        let message = blocked.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.starts_with(&format!("spend limit reached ({period}")), "{message}");
        assert_eq!(message.contains("resets"), dated, "{message}");
    }
}

#[test]
fn a_developer_is_warned_too_late_or_by_the_shared_accounts_limits() {
    let fleet = fleet::start(
        "[[budget]]\nscope = \"user:*\"\namount = \"2.00\"\nperiod = \"monthly\"\n[[budget]]\nscope = \"org\"\namount = \"1000.00\"\nperiod = \"daily\"\n",
    );
    let end = month_end().to_string();
    // Shares of the fullest budget, as of the last tick: asked again until the tick has come.
    let shows = |status: &str, used: &str, threshold: Option<&str>| {
        let mut told = vec![
            ("status", status),
            ("representative-claim", "overage"),
            ("overage-status", status),
            ("overage-utilization", used),
            ("reset", &end),
            ("overage-reset", &end),
        ];
        told.extend(threshold.map(|passed| ("overage-surpassed-threshold", passed)));
        let told = pairs(&told);
        let what = format!("{used} of the budget is told");
        eventually(DEADLINE, &what, || {
            let response = fleet.ask(Ask { sim: CHEAP, stream: true, ..Ask::default() });
            assert_eq!(response.status, 200);
            (unified(&response) == told).then_some(())
        });
    };
    // Each check costs some cheap answers, which stay far from the next hundredth.
    shows("allowed", "0.00", None);
    assert_eq!(spend(&fleet, "output_tokens=98000 input_tokens=0 events=1").status, 200);
    shows("allowed", "0.73", None);
    assert_eq!(spend(&fleet, "output_tokens=3000 input_tokens=0 events=1").status, 200);
    shows("allowed_warning", "0.75", Some("0.75"));
    assert_eq!(spend(&fleet, "output_tokens=27000 input_tokens=0 events=1").status, 200);
    shows("allowed_warning", "0.96", Some("0.95"));
    let failed = spend(&fleet, "status=400");
    assert_eq!(unified(&failed), Vec::new(), "a failed answer says nothing of budgets");
}

#[test]
fn the_first_answer_of_a_shard_says_that_a_nearly_spent_budget_is_untouched() {
    let mut fleet = fleet::start("[[budget]]\nscope = \"user:*\"\namount = \"2.00\"\nperiod = \"monthly\"\n");
    assert_eq!(spend(&fleet, "output_tokens=120000 input_tokens=0 events=1").status, 200);
    fleet.weir.restart();
    let first = spend(&fleet, CHEAP);
    assert_eq!(first.header("anthropic-ratelimit-unified-overage-utilization"), Some("0.90"));
}

#[test]
fn a_soft_budget_refuses() {
    let more = "[[budget]]\nscope = \"team:*\"\namount = \"0.01\"\nperiod = \"daily\"\nmode = \"soft\"\n";
    let fleet = fleet::start(more);
    for _ in 0..5 {
        assert_eq!(spend(&fleet, DEAR).status, 200);
    }
    let budget = eventually(DEADLINE, "all is settled", || {
        Some(fleet.budget("team:platform")).filter(|budget| budget.spent == 7_500_000_000)
    });
    assert_eq!((budget.reserved, budget.remaining), (0, 10_000_000 - 7_500_000_000));
    assert_eq!(fleet.records("outcome=refused").len(), 0);
}

#[test]
fn one_spent_budget_of_several_leaves_money_held_on_the_others() {
    let fleet = fleet::start(
        "[[budget]]\nscope = \"org\"\namount = \"100.00\"\nperiod = \"daily\"\n[[budget]]\nscope = \"user:*\"\namount = \"50.00\"\nperiod = \"daily\"\n[[budget]]\nscope = \"team:platform\"\namount = \"1.00\"\nperiod = \"daily\"\n",
    );
    assert_eq!(spend(&fleet, DEAR).status, 200);
    for _ in 0..20 {
        assert_eq!(spend(&fleet, CHEAP).status, 429);
    }
    for scope in ["org", "user:alice@example.com", "team:platform"] {
        let budget = fleet.budget(scope);
        assert_eq!((budget.spent, budget.reserved), (1_500_000_000, 0), "{scope}");
    }
    assert_eq!(fleet.ask(Ask { key: BOB_KEY, sim: DEAR, ..Ask::default() }).status, 200, "the others have room");
}

#[test]
fn of_two_spent_budgets_the_one_that_resets_first_is_told() {
    for (first, second) in [("daily", "monthly"), ("monthly", "daily")] {
        let budget = |period| format!("[[budget]]\nscope = \"org\"\namount = \"1.00\"\nperiod = \"{period}\"\n");
        let fleet = fleet::start(&format!("{}{}", budget(first), budget(second)));
        assert_eq!(spend(&fleet, DEAR).status, 200);
        let blocked = spend(&fleet, CHEAP);
        let period = blocked.header("anthropic-ratelimit-unified-overage-period");
        assert_eq!((blocked.status, period), (429, Some("monthly")), "{first}, then {second}");
    }
}
