//! One budget for each session.

use serde_json::{Value, json};

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, Budget, Fleet};
use crate::support::http::{self, Response};
use crate::support::{DEADLINE, eventually};
use crate::swarm::{self, Leave};

/// An answer of one dollar and a half.
const DEAR: &str = "output_tokens=100000 input_tokens=0 events=1";
/// An answer of fifteen thousandths of a cent.
const CHEAP: &str = "output_tokens=10 input_tokens=0 events=1";
const DOLLARS: i64 = 1_000_000_000;
/// Alice's usual session.
const HERS: &str = "session:session-1 key:dev-alice user:alice@example.com";

fn budget(amount: &str) -> String {
    format!("[[budget]]\nscope = \"session\"\namount = \"{amount}\"\nblocked_message = \"begin a new session\"\n")
}

fn spend(fleet: &Fleet, ask: Ask<'_>) -> Response {
    let response = fleet.ask(ask);
    // A caller that has read its answer may be ahead of the settlement.
    fleet.record_of(&response);
    response
}

fn blocked(response: &Response) -> bool {
    response.status == 429 && response.json()["error"]["type"] == "billing_error"
}

fn dear() -> Ask<'static> {
    Ask { sim: DEAR, ..Ask::default() }
}

fn cheap() -> Ask<'static> {
    Ask { sim: CHEAP, ..Ask::default() }
}

fn scopes(fleet: &Fleet, query: &str) -> Vec<String> {
    let answer = fleet.weir.admin_get(&format!("/admin/v1/budgets{query}"));
    let rows = answer["data"].as_array().expect("budgets");
    rows.iter().map(|row| row["scope"].as_str().expect("a scope").to_owned()).collect()
}

#[test]
fn a_spent_session_ends_other_sessions_or_goes_on() {
    let fleet = fleet::start(&budget("2.00"));
    let first = spend(&fleet, dear());
    let unified = |name: &str| format!("anthropic-ratelimit-unified-{name}");
    assert_eq!((first.status, first.header(&unified("overage-utilization"))), (200, Some("0.00")));
    let warned = spend(&fleet, cheap());
    assert_eq!(warned.header(&unified("overage-utilization")), Some("0.75"), "{:?}", warned.headers);
    assert_eq!(warned.header(&unified("overage-surpassed-threshold")), Some("0.75"));
    assert!(warned.header(&unified("reset")).is_none(), "it never starts anew");
    spend(&fleet, dear());
    let refused = spend(&fleet, cheap());
    assert!(blocked(&refused), "{}", refused.text());
    assert_eq!(refused.json()["error"]["message"], "spend limit reached (total) begin a new session");
    assert_eq!((refused.header("x-should-retry"), refused.header("retry-after")), (Some("false"), None));
    // Counting and listing are never blocked by spending.
    let body = br#"{"model":"claude-sonnet-4-6","messages":[{"role":"user","content":"x"}]}"#;
    let headers = [
        ("x-api-key", ALICE_KEY),
        ("x-claude-code-session-id", "session-1"),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
    ];
    let counted = http::request(fleet.weir.clients(), "POST", "/v1/messages/count_tokens", &headers, body);
    let listed = http::request(fleet.weir.clients(), "GET", "/v1/models", &headers, b"");
    assert_eq!((counted.status, listed.status), (200, 200));
    // Another session, a caller that names none, and another caller that names the same one.
    for other in
        [Ask { session: "session-2", ..cheap() }, Ask { session: "", ..cheap() }, Ask { key: BOB_KEY, ..cheap() }]
    {
        assert_eq!(spend(&fleet, other).status, 200);
    }
    assert!(blocked(&spend(&fleet, cheap())));
    let hers = fleet.budget(HERS);
    assert_eq!((hers.amount, hers.reserved), (2 * DOLLARS, 0));
    assert_eq!(hers.spent, 3 * DOLLARS + 150_000);
    assert_eq!(fleet.budget("session:session-1 key:dev-bob user:bob@example.com").spent, 150_000);
}

#[test]
fn a_session_that_was_seen_before_the_start_begins_at_zero() {
    let mut fleet = fleet::start(&budget("2.00"));
    spend(&fleet, dear());
    spend(&fleet, dear());
    assert!(blocked(&spend(&fleet, cheap())));
    let raise = json!({ "scope": HERS, "period": "total", "amount": "1.50" }).to_string();
    let raised = fleet.weir.admin_request("POST", "/admin/v1/budgets/raise", raise.as_bytes());
    assert_eq!((raised.status, &raised.json()["mode"]), (200, &Value::from("hard")), "{}", raised.text());
    assert_eq!(spend(&fleet, cheap()).status, 200, "there is room again");
    let other = Ask { session: "session-2", ..dear() };
    spend(&fleet, other);
    let before = fleet.budget(HERS);
    fleet.weir.restart();
    assert_eq!(fleet.budget(HERS), before, "what was raised is there before anybody asks");
    assert_eq!(spend(&fleet, cheap()).status, 200);
    spend(&fleet, dear());
    assert!(blocked(&spend(&fleet, cheap())));
    // Nobody has raised this one; it is opened when it is seen, and begins with what it has spent.
    spend(&fleet, Ask { sim: CHEAP, ..other });
    let second = fleet.budget("session:session-2 key:dev-alice user:alice@example.com");
    assert_eq!(second.spent, 3 * DOLLARS / 2 + 150_000);
}

#[test]
fn a_reload_does_not_reach_sessions_that_are_under_way() {
    let fleet = fleet::start("");
    spend(&fleet, dear());
    let reload = |more: &str| {
        fleet.weir.write_config(&fleet::config(fleet.provider.addr(), more));
        fleet.reload();
    };
    reload(&budget("1.00"));
    assert!(blocked(&spend(&fleet, cheap())), "what it spent before there was a rule counts");
    reload(&budget("9.00"));
    assert_eq!(spend(&fleet, cheap()).status, 200);
    assert_eq!(fleet.budget(HERS).amount, 9 * DOLLARS);
    reload("");
    assert_eq!(spend(&fleet, dear()).status, 200);
    assert_eq!(scopes(&fleet, "").len(), 0);
    reload(&budget("3.00"));
    assert!(blocked(&spend(&fleet, cheap())), "it has spent on meanwhile");
}

#[test]
fn the_shards_give_a_session_they_see_at_the_same_time_an_account_each() {
    const CALLERS: usize = 200;
    const COST: i64 = 100 * 3000 + 200 * 15_000;
    let cap = 50_000_000;
    for reserve in ["strict", "expected"] {
        let fleet = fleet::start(&format!("[budgets]\nreserve = \"{reserve}\"\n{}", budget("0.05")));
        let sim = "input_tokens=100 output_tokens=200 events=2 first_ms=5";
        let ask = Ask { sim, max_tokens: 250, session: "attacked", ..Ask::default() };
        let got = swarm::all_at_once(fleet.weir.clients(), &vec![(ask, Leave::AtTheEnd); CALLERS]);
        let served = got.iter().filter(|got| got.status == 200).count();
        assert!(got.iter().all(|got| matches!(got.status, 200 | 429)), "{got:?}");
        fleet.all_records(CALLERS);
        assert_eq!(scopes(&fleet, "?scope=session:*").len(), 1);
        let Budget { spent, reserved, .. } = fleet.budget("session:attacked key:dev-alice user:alice@example.com");
        assert_eq!((spent, reserved), (served as i64 * COST, 0), "what was served is what was spent");
        let most = if reserve == "strict" { cap } else { cap + COST };
        assert!(spent <= most, "{reserve}: {spent} of {cap}");
        assert!(spent > cap / 2, "{reserve}: {served} served");
    }
}

#[test]
fn a_session_asks_as_often_as_it_likes() {
    let fleet = fleet::start("[[rate_limit]]\nscope = \"session\"\nrequests_per_minute = 3\n");
    for n in 0..5 {
        let (one, two) = (fleet.ask(cheap()), fleet.ask(Ask { session: "session-2", ..cheap() }));
        let wanted = if n < 3 { 200 } else { 429 };
        assert_eq!((one.status, two.status), (wanted, wanted), "request {n}");
    }
    let refused = fleet.ask(cheap());
    let text = refused.json()["error"]["message"].to_string();
    assert!(text.contains("3 requests per minute for this session"), "{text}");
    assert_eq!(fleet.ask(Ask { session: "", ..cheap() }).status, 200, "who names no session is held to none");
    let limits = fleet.weir.admin_get("/admin/v1/limits");
    let rows = limits["data"].as_array().expect("limits");
    assert!(rows.iter().any(|row| row["scope"] == HERS && row["remaining"] == 0), "{limits}");
}

#[test]
fn a_list_of_many_accounts_is_cut_off_without_a_word() {
    let more = format!("{}[[budget]]\nscope = \"user:*\"\namount = \"5.00\"\nperiod = \"daily\"\n", budget("2.00"));
    let fleet = fleet::start(&more);
    for n in 0..5 {
        spend(&fleet, Ask { session: &format!("s-{n}"), ..cheap() });
    }
    // Three users of keys come first.
    let all = scopes(&fleet, "");
    assert!(all.len() == 8 && all[2].starts_with("user:") && all[3].starts_with("session:"), "{all:?}");
    let first = fleet.weir.admin_get("/admin/v1/budgets?limit=6");
    assert_eq!((first["data"].as_array().map(Vec::len), &first["next"]), (Some(6), &Value::from(6)));
    assert_eq!(scopes(&fleet, "?limit=6&after=6"), all[6..]);
    assert_eq!(fleet.weir.admin_get("/admin/v1/budgets?after=6").get("next"), None);
    assert_eq!(scopes(&fleet, "?scope=session:*"), all[3..]);
    assert_eq!(scopes(&fleet, "?scope=user:alice@example.com"), ["user:alice@example.com"]);
    let wrong = fleet.weir.admin_request("GET", "/admin/v1/budgets?limit=0", b"");
    assert!(wrong.status == 400 && wrong.text().contains("write 1 to"), "{}", wrong.text());
    let sum = |kind| fleet.weir.metric("weir_first_sight_accounts", &[&format!("kind=\"{kind}\"")]);
    eventually(DEADLINE, "the metrics count them", || (sum("session") == 5.0 && sum("caller") == 0.0).then_some(()));
}
