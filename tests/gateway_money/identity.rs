//! Who calls: one key in any header, never two, and no secret where it does not belong.

use std::fs;

use serde_json::Value;
use weir::loadtest::provider::fingerprint;

use crate::fleet::{self, ALICE_KEY, Ask, BOB_KEY, EVE_KEY, Fleet, HAIKU, OPUS, SONNET, WRONG_PROVIDER_KEY};
use crate::support::http::{self, Response};
use crate::support::{ADMIN_TOKEN, PROVIDER_KEY};

fn ask_with(fleet: &Fleet, headers: &[(&str, &str)]) -> Response {
    let headers = [headers, &[("anthropic-version", "2023-06-01"), ("content-type", "application/json")]].concat();
    http::request(fleet.weir.clients(), "POST", "/v1/messages", &headers, &Ask::default().body())
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[test]
fn the_header_a_key_comes_in_decides_who_calls() {
    let fleet = fleet::start("");
    let (alice, lower) = (bearer(ALICE_KEY), format!("bearer   {ALICE_KEY} "));
    for headers in [
        &[("authorization", alice.as_str())][..],
        &[("Authorization", lower.as_str())],
        &[("x-api-key", ALICE_KEY)],
        &[("X-Api-Key", ALICE_KEY), ("authorization", alice.as_str())],
        &[("api-key", ALICE_KEY)],
        // A key that nobody knows beside one that is known, in either place: the client's leftovers.
        &[("x-api-key", "sk-ant-leftover"), ("authorization", alice.as_str())],
        &[("x-api-key", ALICE_KEY), ("authorization", "Bearer sk-ant-oat-leftover")],
        &[("x-api-key", ALICE_KEY), ("authorization", "Basic YTpi")],
    ] {
        let response = ask_with(&fleet, headers);
        assert_eq!(response.status, 200, "{headers:?}: {}", response.text());
        let record = fleet.record_of(&response);
        let principal = ["key", "user", "team", "project"].map(|name| record[name].as_str().unwrap_or("nobody"));
        assert_eq!(principal, ["dev-alice", "alice@example.com", "platform", "checkout"], "{headers:?}");
    }
}

#[test]
fn of_two_different_keys_one_is_guessed() {
    let fleet = fleet::start("");
    let (alice, bob) = (bearer(ALICE_KEY), bearer(BOB_KEY));
    for headers in [
        [("authorization", alice.as_str()), ("x-api-key", BOB_KEY)],
        [("authorization", bob.as_str()), ("x-api-key", ALICE_KEY)],
        [("authorization", bob.as_str()), ("authorization", alice.as_str())],
    ] {
        let response = ask_with(&fleet, &headers);
        assert_refused(&response, 401, "authentication_error");
        let text = response.text();
        assert!(text.contains("two different") && text.contains("Authorization"), "names the conflict: {text}");
        let record = fleet.record_of(&response);
        assert_eq!((&record["key"], &record["outcome"]), (&Value::Null, &Value::from("refused")), "{record}");
    }
    assert_eq!(fleet.provider.books().totals.requests, 0);
}

#[test]
fn a_bad_key_reaches_the_provider_or_is_tried_again_for_minutes() {
    let fleet = fleet::start("");
    let (eve, almost) = (bearer(EVE_KEY), bearer(&ALICE_KEY[1..]));
    for (headers, word) in [
        (&[][..], "Authorization"),
        (&[("authorization", "Bearer ")], "Authorization"),
        (&[("authorization", almost.as_str())], "Authorization"),
        (&[("x-api-key", "sk-ant-nobody")], "x-api-key"),
        (&[("authorization", eve.as_str())], "expired"),
        (&[("x-goog-api-key", ALICE_KEY)], "x-api-key"),
        (&[("authorization", "AWS4-HMAC-SHA256 Credential=x")], "x-api-key"),
        (&[("x-api-key", PROVIDER_KEY)], "x-api-key"),
    ] {
        let response = ask_with(&fleet, headers);
        assert_refused(&response, 401, "authentication_error");
        assert!(response.text().contains(word), "{headers:?} says {}", response.text());
        assert_eq!(fleet.record_of(&response)["refused_by"], "unauthenticated");
    }
    assert_eq!(fleet.provider.books().totals.requests, 0);
}

#[test]
fn a_key_uses_a_model_that_is_not_on_its_list() {
    let fleet = fleet::start("");
    let ask = |model, key| fleet.ask(Ask { model, key, ..Ask::default() });
    assert_eq!(ask(HAIKU, BOB_KEY).status, 200);
    assert_eq!(ask("sonnet", BOB_KEY).status, 200, "an alias of a model on the list");
    let denied = ask(OPUS, BOB_KEY);
    assert_refused(&denied, 403, "permission_error");
    assert!(denied.text().contains(OPUS), "{}", denied.text());
    let record = fleet.record_of(&denied);
    assert_eq!((&record["refused_by"], &record["key"]), (&"denied".into(), &"dev-bob".into()), "{record}");
    for model in ["claude-nobody-serves", "claude-sonnet-4-6x", "CLAUDE-SONNET-4-6"] {
        let missing = ask(model, ALICE_KEY);
        assert_refused(&missing, 404, "not_found_error");
        assert!(missing.text().contains(model), "{}", missing.text());
    }
    assert_eq!(fleet.provider.books().totals.requests, 2);
}

fn assert_refused(response: &Response, status: u16, kind: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    let body = response.json();
    assert_eq!((&body["type"], &body["error"]["type"]), (&"error".into(), &kind.into()), "{body}");
    assert_eq!(response.header("x-weir-origin"), Some("gateway"));
    assert_eq!(body["request_id"].as_str(), response.header("x-weir-request-id"));
    if status != 404 {
        assert_eq!(response.header("x-should-retry"), Some("false"), "{response:?}");
    }
}

#[test]
fn a_secret_shows_up_in_logs_metrics_answers_the_journal_or_at_the_provider() {
    let fleet = fleet::start_with("", &[("WEIR_LOG", "trace")]);
    let secrets = [ALICE_KEY, BOB_KEY, EVE_KEY, PROVIDER_KEY, WRONG_PROVIDER_KEY, ADMIN_TOKEN];
    let mut shown = String::new();
    let (alice, wrong) = (bearer(ALICE_KEY), bearer("sk-ant-of-somebody-else"));
    for headers in [
        &[("authorization", alice.as_str()), ("x-api-key", ALICE_KEY), ("cookie", "k=1"), ("api-key", "x")][..],
        &[("x-api-key", BOB_KEY), ("authorization", alice.as_str())],
        &[("authorization", wrong.as_str()), ("x-api-key", EVE_KEY)],
        &[("x-api-key", BOB_KEY), ("proxy-authorization", alice.as_str())],
    ] {
        shown += &format!("{:?}", ask_with(&fleet, headers));
    }
    // Refused by the provider for our own key; broken by the provider; an error of the provider's.
    shown += &format!("{:?}", fleet.ask(Ask { model: "claude-opus-4-6", ..Ask::default() }));
    for sim in ["reset_before=1", "status=429 retry_after=1", "events=3"] {
        shown += &format!("{:?}", fleet.ask(Ask { sim, key: BOB_KEY, model: SONNET, ..Ask::default() }));
    }
    let admin = ["requests", "usage?group_by=key", "budgets", "shards", "keys", "nothing"];
    for path in admin {
        shown += &fleet.weir.admin_request("GET", &format!("/admin/v1/{path}"), b"").text();
    }
    shown += &fleet.weir.admin_request("POST", "/admin/v1/reload", b"").text();
    shown += &http::request(fleet.weir.admin(), "GET", "/metrics", &[], b"").text();
    shown += &http::request(fleet.weir.admin(), "GET", "/admin/v1/shards", &[("authorization", &alice)], b"").text();
    fleet.weir.write_config("[admin]\ntoken = \"${ALICE_KEY}\"\nsecret = \"${BOB_KEY}\"\n");
    shown += &fleet.weir.admin_request("POST", "/admin/v1/reload", b"").text();
    let books = fleet.books(1);
    for entry in &books.entries {
        let ours = [fingerprint(PROVIDER_KEY.as_bytes()), fingerprint(WRONG_PROVIDER_KEY.as_bytes())];
        assert!(ours.contains(&entry.credential_fingerprint), "{entry:?}");
        let names: Vec<String> = entry.header_names.iter().map(|name| name.to_ascii_lowercase()).collect();
        let credentials = ["authorization", "x-api-key", "api-key", "cookie", "proxy-authorization", "x-goog-api-key"];
        assert_eq!(names.iter().filter(|name| credentials.contains(&name.as_str())).count(), 1, "{names:?}");
        shown += &format!("{entry:?}");
    }
    for file in fs::read_dir(fleet.weir.dir().join("weir-data")).expect("the store") {
        let path = file.expect("a file").path();
        // `handover.sock` holds nothing.
        if path.is_file() {
            shown += &String::from_utf8_lossy(&fs::read(path).expect("its bytes"));
        }
    }
    assert!(fleet.weir.log().len() > 1000, "something was logged");
    shown += &fleet.weir.log();
    for secret in secrets {
        let at = shown.find(secret).map(|at| shown[at.saturating_sub(200)..].chars().take(300).collect::<String>());
        assert_eq!(at, None, "a secret is shown");
    }
}
