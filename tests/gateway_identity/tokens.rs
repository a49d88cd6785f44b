//! Tokens of an issuer are callers like any other: recorded, billed, limited.

use serde_json::{Value, json};

use crate::fixture::{self, ALICE_KEY, SECRET, SONNET, assert_refused, published, shared_secret};
use crate::idp::{AUDIENCE, Idp, Pair, but, claims, shared};
use crate::support::{DEADLINE, eventually};

#[test]
fn a_token_of_any_algorithm_is_refused_or_booked_on_somebody_else() {
    let pairs = [Pair::rsa("k-rsa"), Pair::ec("k-ec"), Pair::ed("k-ed")];
    let idp = Idp::start(&pairs.each_ref());
    let gateway = fixture::start(&published(&idp, ""));
    for (turn, pair) in pairs.iter().enumerate() {
        let user = format!("user-{turn}@example.com");
        let answer = gateway.ask(&pair.token(&claims(&user)));
        assert_eq!(gateway.caller_of(&answer), ["", &user, "platform", "checkout"]);
    }
    assert_eq!(idp.asked(), 1, "the keys come with the start, not with the requests");
    // Several audiences are one meant for us; the same token in any header; a helper sends it in two.
    let token = pairs[1].token(&but("aud", json!(["billing", AUDIENCE])));
    let bearer = format!("bearer {token}");
    for credentials in [
        &[("authorization", bearer.as_str())][..],
        &[("x-api-key", &token)],
        &[("authorization", &bearer), ("x-api-key", &token)],
    ] {
        assert_eq!(gateway.caller_of(&gateway.ask_with(credentials))[1], "alice@example.com");
    }
    let usage = eventually(DEADLINE, "three users in the report", || {
        let report = gateway.weir.admin_get("/admin/v1/usage?group_by=user,team");
        let rows = report["data"].as_array().expect("rows").clone();
        (rows.len() == 4).then_some(rows)
    });
    assert!(usage.iter().all(|row| row["team"] == "platform" && row["cost_usd"] != "0.000000000"), "{usage:?}");
    assert_eq!(gateway.reached(), 6);
}

#[test]
fn a_shared_secret_or_one_of_several_issuers_is_not_found() {
    let second = "[[jwt]]\nissuer = \"https://second.example\"\naudience = [\"weir\", \"weir-eu\"]\n\
                  hs256_secret = \"${OLD_SECRET}\"\nclaims = { user = \"/act/sub\" }\n";
    let gateway = fixture::start(&format!("{}{second}", shared_secret("skew = \"5s\"")));
    let first = gateway.ask(&shared(SECRET, &claims("bob@example.com")));
    assert_eq!(gateway.caller_of(&first), ["", "bob@example.com", "platform", "checkout"]);
    let mut others = claims("ignored");
    others["iss"] = json!("https://second.example");
    others["aud"] = json!("weir-eu");
    others["act"] = json!({"sub": "robot-7"});
    let answer = gateway.ask(&shared(fixture::OLD_SECRET, &others));
    assert_eq!(gateway.caller_of(&answer), ["", "robot-7", "", ""]);
    assert_refused(&gateway.ask(&shared(SECRET, &others)), "signature");
}

#[test]
fn an_allow_list_of_models_does_not_hold_for_tokens() {
    let gateway = fixture::start(&shared_secret("models = [\"claude-haiku-*\"]"));
    let token = shared(SECRET, &claims("bob@example.com"));
    let bearer = format!("Bearer {token}");
    let denied = gateway.ask_for(SONNET, &[("authorization", &bearer)]);
    assert_eq!((denied.status, &denied.json()["error"]["type"]), (403, &"permission_error".into()));
    assert_eq!(gateway.record_of(&denied)["user"], "bob@example.com", "the refusal is on the caller's record");
    assert_eq!(gateway.ask_for("claude-haiku-4-5-20251001", &[("authorization", &bearer)]).status, 200);
    let list =
        crate::support::http::request(gateway.weir.clients(), "GET", "/v1/models", &[("x-api-key", &token)], b"");
    let ids: Vec<String> =
        list.json()["data"].as_array().expect("models").iter().map(|m| m["id"].to_string()).collect();
    assert!(!ids.is_empty() && ids.iter().all(|id| id.contains("claude-haiku-")), "{ids:?}");
    assert_eq!(gateway.ask(ALICE_KEY).status, 200, "a key has its own list");
}

#[test]
fn a_budget_does_not_hold_for_tokens() {
    let budget = "[[budget]]\nscope = \"team:platform\"\namount = \"0.05\"\nperiod = \"daily\"\n";
    let gateway = fixture::start(&format!("{}{budget}", shared_secret("")));
    let token = shared(SECRET, &claims("bob@example.com"));
    let mut answers = Vec::new();
    for _ in 0..20 {
        let bearer = format!("Bearer {token}");
        let headers = fixture::headers(&[("authorization", &bearer)], "events=2 output_tokens=1000");
        let body = fixture::question(SONNET, false);
        let answer = crate::support::http::request(gateway.weir.clients(), "POST", "/v1/messages", &headers, &body);
        answers.push((answer.status, answer.json()["error"]["type"].clone()));
        if answer.status == 429 {
            break;
        }
    }
    let last = answers.last().expect("an answer");
    assert_eq!(last, &(429, Value::from("billing_error")), "{answers:?}");
    // The team is one, by token or by key.
    assert_eq!(gateway.ask(ALICE_KEY).status, 429);
}

#[test]
fn a_budget_for_each_user_is_one_for_all_or_none_for_those_first_seen() {
    let budget = "[[budget]]\nscope = \"user:*\"\namount = \"0.03\"\nperiod = \"daily\"\n";
    let gateway = fixture::start(&format!("{}{budget}", shared_secret("")));
    let spend = |user: &str| {
        let bearer = format!("Bearer {}", shared(SECRET, &claims(user)));
        let headers = fixture::headers(&[("authorization", &bearer)], "events=2 output_tokens=1000");
        let body = fixture::question(SONNET, false);
        crate::support::http::request(gateway.weir.clients(), "POST", "/v1/messages", &headers, &body)
    };
    // Bob is in no file: weir has never heard of him, and holds him to his own cap all the same.
    let first: Vec<u16> = (0..4).map(|_| spend("bob@example.com").status).collect();
    assert!(first[0] == 200 && first[3] == 429, "{first:?}");
    assert_eq!(spend("eve@example.com").status, 200, "eve has a cap of her own");
    // The same person by a token and by a key has one cap.
    assert!((0..4).any(|_| spend("alice@example.com").status == 429));
    assert_eq!(gateway.ask(ALICE_KEY).status, 429);
}

#[test]
fn a_rate_limit_does_not_hold_for_tokens() {
    let limit = "[[rate_limit]]\nscope = \"team:platform\"\nrequests_per_minute = 3\n\
                 [[rate_limit]]\nscope = \"user:*\"\nrequests_per_minute = 2\n";
    let gateway = fixture::start(&format!("{}{limit}", shared_secret("")));
    let ask = |user: &str, team: &str| {
        let mut claims = claims(user);
        claims["team"] = json!(team);
        gateway.ask(&shared(SECRET, &claims)).status
    };
    let of_a_team: Vec<u16> = ["a", "b", "c", "d"].map(|user| ask(user, "platform")).into();
    assert_eq!(of_a_team, [200, 200, 200, 429]);
    let of_a_user: Vec<u16> = (0..3).map(|_| ask("e", "data")).collect();
    assert_eq!((of_a_user, ask("f", "data")), (vec![200, 200, 429], 200));
}

#[test]
fn of_two_different_credentials_one_is_guessed() {
    let gateway = fixture::start(&shared_secret(""));
    let (bob, eve) = (shared(SECRET, &claims("bob@example.com")), shared(SECRET, &claims("eve@example.com")));
    let stale = shared(SECRET, &but("exp", json!(1_000_000)));
    let forged = shared("somebody-elses-secret", &claims("bob@example.com"));
    let bearer = |token: &str| format!("Bearer {token}");
    for (one, two) in [(ALICE_KEY, bob.as_str()), (&bob, ALICE_KEY), (&bob, &eve), (&eve, &bob)] {
        let refused = gateway.ask_with(&[("authorization", &bearer(one)), ("x-api-key", two)]);
        assert_refused(&refused, "two different");
        assert_eq!(gateway.record_of(&refused)["user"], Value::Null);
    }
    // One that is not valid beside one that is counts for nothing, in either place.
    let renewed = shared(SECRET, &{
        let mut later = claims("bob@example.com");
        later["exp"] = json!(crate::idp::now() + 7200);
        later
    });
    for (one, two, user) in [
        (stale.as_str(), bob.as_str(), "bob@example.com"),
        (&bob, &forged, "bob@example.com"),
        (&forged, ALICE_KEY, "alice@example.com"),
        (ALICE_KEY, &stale, "alice@example.com"),
        ("sk-ant-leftover", &bob, "bob@example.com"),
        (&renewed, &bob, "bob@example.com"),
    ] {
        let answer = gateway.ask_with(&[("authorization", &bearer(one)), ("x-api-key", two)]);
        assert_eq!(gateway.caller_of(&answer)[1], user, "{}", answer.text());
    }
    // Of two that are not valid the one is told that says most.
    let refused = gateway.ask_with(&[("authorization", "Bearer sk-ant-leftover"), ("x-api-key", &stale)]);
    assert_refused(&refused, "the token in x-api-key has expired");
}

#[test]
fn a_label_makes_a_caller_of_somebody_else() {
    let gateway = fixture::start(&shared_secret(""));
    let bearer = format!("Bearer {}", shared(SECRET, &claims("bob@example.com")));
    let answer = gateway.ask_with(&[
        ("authorization", &bearer),
        ("x-claude-code-session-id", "session-1"),
        ("x-claude-code-agent-id", "dev-alice"),
        ("x-claude-code-request-class", "main"),
        ("x-claude-code-user-id", "alice@example.com"),
        ("x-claude-code-team", "finance"),
        ("x-claude-gateway-user-id", "alice@example.com"),
        ("x-claude-gateway-user-email", "alice@example.com"),
        ("x-forwarded-user", "alice@example.com"),
        ("x-forwarded-for", "10.0.0.1"),
    ]);
    assert_eq!(gateway.caller_of(&answer), ["", "bob@example.com", "platform", "checkout"]);
    let record = gateway.record_of(&answer);
    assert_eq!((&record["session"], &record["agent"]), (&"session-1".into(), &"dev-alice".into()), "labels they are");
    let labels = [("x-claude-code-user-id", "alice@example.com"), ("x-claude-gateway-user-id", "alice@example.com")];
    assert_refused(&gateway.ask_with(&labels), "no credential");
}
