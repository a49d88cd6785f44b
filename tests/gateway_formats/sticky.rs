//! Containers and message threads stay with the account that made them.

use serde_json::{Value, json};

use crate::kept::{ANN, BOB, House, ask, weir};
use crate::support::http::Response;
use crate::support::{DEADLINE, eventually};

/// A model that both accounts serve, in turn.
const BOTH: &str = "[[model]]\nid = \"claude-haiku-4-5\"\nstrategy = \"weighted\"\ntargets = [{ upstream = \"first\" }, { upstream = \"second\" }]\n";

fn body(more: &Value, stream: bool) -> Vec<u8> {
    // What is stuck to stands behind everything else, as SDKs write it.
    let mut body = json!({ "model": "claude-haiku-4-5", "max_tokens": 100, "messages": [{ "role": "user", "content": "x".repeat(200_000) }] });
    body["stream"] = json!(stream);
    for (name, value) in more.as_object().expect("members") {
        body[name] = value.clone();
    }
    body.to_string().into_bytes()
}

fn message(house: &House, key: &str, more: &Value, stream: bool) -> Response {
    house.ask(key, "POST", "/v1/messages", &body(more, stream))
}

/// The id of the container, or of the message, in an answer of either kind.
fn named(answer: &Response, prefix: &str) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let from = text.find(prefix).unwrap_or_else(|| panic!("no {prefix} in {text}"));
    text[from..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn a_container_is_asked_for_at_the_account_that_does_not_have_it() {
    let mut house = House::start(BOTH);
    let mut made = Vec::new();
    for stream in [false, true, false, true] {
        made.push(named(&message(&house, ANN, &json!({ "container": {} }), stream), "container_01"));
    }
    let asked = |house: &House| {
        ["first", "second"].map(|of| {
            let provider = if of == "first" { &house.first } else { &house.second };
            provider.books()["totals"]["requests"].as_u64().expect("a count")
        })
    };
    for round in 0..2 {
        for id in &made {
            let before = asked(&house);
            for stream in [false, true, true] {
                for container in [json!(id), json!({ "id": id })] {
                    assert_eq!(
                        &named(&message(&house, ANN, &json!({ "container": container }), stream), "container_01"),
                        id
                    );
                }
            }
            let after = asked(&house);
            let went = [after[0] - before[0], after[1] - before[1]];
            assert!(went == [6, 0] || went == [0, 6], "round {round}: {went:?}");
        }
        // The journal has every one of them within its flush interval.
        eventually(DEADLINE, "the records", || {
            let all = house.weir.admin_get("/admin/v1/requests?limit=1000");
            let noted = all["data"].as_array()?.iter().filter(|r| r["object_event"] == "made").count();
            (noted >= 4 + 24 * (round + 1)).then_some(())
        });
        if round == 0 {
            house.weir.kill9();
            house.weir.restart();
        }
    }
    let answer = message(&house, BOB, &json!({ "container": made[0] }), false);
    assert_eq!((answer.status, answer.header("x-weir-origin")), (404, Some("gateway")), "{}", answer.text());
    // Another host has not seen it made: the wrong account's 404 is not the last word.
    let other = weir(&house.first, &house.second, BOTH);
    for id in &made {
        for _ in 0..3 {
            let answer = ask(&other, ANN, "POST", "/v1/messages", &body(&json!({ "container": id }), false));
            assert_eq!(&named(&answer, "container_01"), id);
        }
    }
    assert_eq!(message(&house, ANN, &json!({ "container": "container_01nobodys" }), false).status, 404);
}

#[test]
fn a_thread_goes_on_at_an_account_that_never_heard_of_it() {
    let house = House::start(BOTH);
    for stream in [false, true] {
        let mut last = named(&message(&house, ANN, &json!({ "thread": { "type": "create" } }), stream), "msg_01");
        for _ in 0..8 {
            let go_on = json!({ "thread": { "type": "continue", "previous_message_id": last } });
            last = named(&message(&house, ANN, &go_on, stream), "msg_01");
        }
        let theirs = json!({ "thread": { "type": "continue", "previous_message_id": last } });
        assert_eq!(message(&house, BOB, &theirs, stream).status, 404, "another team's");
    }
    let errors: u64 = [&house.first, &house.second]
        .iter()
        .map(|p| p.books()["entries"].as_array().expect("entries").iter().filter(|e| e["status"] == 404).count() as u64)
        .sum();
    assert_eq!(errors, 0, "no account was asked for another's thread");
    let unknown = json!({ "thread": { "type": "continue", "previous_message_id": "msg_01nobodys" } });
    let answer = message(&house, ANN, &unknown, false);
    assert_eq!((answer.status, answer.header("x-weir-origin")), (404, None));
    assert_eq!(answer.json()["error"]["details"]["error_code"], "thread_not_found", "what the SDK recovers by");
}
