//! One-off raises, and what a caller is shown of its budgets.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Fleet, nanos};
use crate::support::http::{self, Response};

const BUDGETS: &str = "[[budget]]\nscope = \"team:platform\"\namount = \"1.00\"\nperiod = \"monthly\"\n\
     [[budget]]\nscope = \"user:*\"\namount = \"10.00\"\nperiod = \"daily\"\n";
/// An answer of one dollar and a half.
const DEAR: Ask<'static> = Ask {
    sim: "output_tokens=100000 input_tokens=0 events=1",
    model: fleet::SONNET,
    stream: false,
    max_tokens: 1000,
    key: ALICE_KEY,
    session: "session-1",
    path: "/v1/messages",
    prompt_bytes: 0,
};

fn raise(fleet: &Fleet, body: &str) -> Response {
    fleet.weir.admin_request("POST", "/admin/v1/budgets/raise", body.as_bytes())
}

fn shown(fleet: &Fleet, scope: &str) -> Value {
    let answer = fleet.weir.admin_get("/admin/v1/budgets");
    let found = answer["data"].as_array().expect("budgets").iter().find(|budget| budget["scope"] == scope);
    found.unwrap_or_else(|| panic!("no budget {scope} in {answer}")).clone()
}

fn amounts(budget: &Value) -> (i64, i64) {
    (nanos(&budget["amount"]), nanos(&budget["raised"]))
}

#[test]
fn a_raise_is_taken_back_by_a_reload_or_a_restart() {
    let mut fleet = fleet::start(BUDGETS);
    fleet.ask_record(DEAR);
    assert_eq!(fleet.ask(Ask::default()).status, 429);
    let ask = r#"{"scope":"team:platform","period":"monthly","amount":"2.00"}"#;
    let raised = raise(&fleet, ask);
    assert_eq!(raised.status, 200, "{}", raised.text());
    assert_eq!(amounts(&raised.json()), (3_000_000_000, 2_000_000_000));
    fleet.ask_record(DEAR);
    assert_eq!(fleet.ask(Ask::default()).status, 429, "three dollars are spent");
    assert_eq!(raise(&fleet, ask).status, 200);
    let budgets = |team: &str| format!("{}{}", fleet::config(fleet.provider.addr(), ""), BUDGETS.replace("1.00", team));
    fleet.weir.write_config(&budgets("1.50"));
    fleet.reload();
    assert_eq!(
        amounts(&shown(&fleet, "team:platform")),
        (5_500_000_000, 4_000_000_000),
        "on top of what is configured"
    );
    assert_eq!(fleet.ask(Ask::default()).status, 200);
    fleet.weir.restart();
    assert_eq!(amounts(&shown(&fleet, "team:platform")), (5_500_000_000, 4_000_000_000));
    assert_eq!(amounts(&shown(&fleet, "user:alice@example.com")), (10_000_000_000, 0), "nobody else was raised");
    assert_eq!(fleet.ask(Ask::default()).status, 200);
}

#[test]
fn a_raise_of_nothing_or_nobody_is_taken() {
    let fleet = fleet::start(BUDGETS);
    for (body, status, part) in [
        (r#"{"scope":"team:data","period":"monthly","amount":"1"}"#, 404, "no monthly budget of team:data"),
        (r#"{"scope":"team:platform","period":"daily","amount":"1"}"#, 404, "no daily budget"),
        (r#"{"scope":"team:platform","period":"monthly","amount":"0"}"#, 400, "is zero"),
        (r#"{"scope":"team:platform","period":"monthly","amount":"-1"}"#, 400, "amount"),
        (r#"{"scope":"team:platform","period":"monthly","amount":1}"#, 400, "\"amount\":\"25.00\""),
        (r#"{"scope":"team:platform","amount":"1"}"#, 400, "period"),
        ("", 400, "send {"),
    ] {
        let answer = raise(&fleet, body);
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
        let message = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
        assert!(message.contains(part), "{message}");
    }
    let nobody = http::request(fleet.weir.admin(), "POST", "/admin/v1/budgets/raise", &[], b"{}");
    assert_eq!(nobody.status, 401);
    assert_eq!(amounts(&shown(&fleet, "team:platform")), (1_000_000_000, 0));
}

#[test]
fn a_caller_is_shown_nothing_or_anothers_budgets() {
    let fleet = fleet::start(BUDGETS);
    let ask = |key: &str| {
        let bearer = format!("Bearer {key}");
        http::request(fleet.weir.clients(), "GET", "/api/oauth/usage", &[("authorization", &bearer)], b"")
    };
    fleet.ask_record(Ask { sim: "output_tokens=10000 input_tokens=0 events=1", ..DEAR });
    let answer = ask(ALICE_KEY);
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    let usage = answer.json();
    let extra = &usage["extra_usage"];
    assert_eq!((&extra["monthly_limit"], &extra["used_credits"]), (&100.into(), &15.into()), "{usage}");
    assert_eq!((&extra["utilization"], &extra["currency"]), (&15.into(), &"USD".into()), "{usage}");
    assert_eq!(extra["daily"], json!({ "limit": 1000, "used_credits": 15, "utilization": 1 }), "{usage}");
    let limits = usage["limits"].as_array().expect("limits");
    assert_eq!(limits.iter().map(|l| l["group"].as_str()).collect::<Vec<_>>(), [Some("monthly"), Some("daily")]);
    let reset: Timestamp = limits[0]["resets_at"].as_str().and_then(|at| at.parse().ok()).expect("a time");
    let header = fleet.ask(Ask::default());
    assert_eq!(header.header("anthropic-ratelimit-unified-reset"), Some(&*reset.as_second().to_string()));
    let bob = ask(BOB_KEY).json();
    assert_eq!(
        (&bob["extra_usage"]["monthly_limit"], &bob["extra_usage"]["daily"]["used_credits"]),
        (&Value::Null, &0.into())
    );
    assert_eq!(ask("nobody").status, 401);
    // Spent or not, it is still told, and a record says who asked.
    fleet.ask_record(DEAR);
    let spent = ask(ALICE_KEY);
    assert_eq!((spent.status, &spent.json()["extra_usage"]["utilization"]), (200, &100.into()));
    let record = fleet.record_of(&spent);
    assert_eq!((&record["operation"], &record["key"]), (&"usage".into(), &"dev-alice".into()), "{record}");
}
