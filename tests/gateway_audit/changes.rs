//! Who changed what: in the chain before it takes effect, over restarts and kills, and without a secret.

use std::fs;

use serde_json::{Value, json};

use crate::fixture::{self, ALICE_KEY, Gateway};
use crate::support::{ADMIN_TOKEN, DEADLINE, PROVIDER_KEY, eventually};

fn send(gateway: &Gateway, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = gateway.weir.admin_request(method, path, body.as_bytes());
    assert!((200..300).contains(&answer.status), "{method} {path}: {}", answer.text());
    answer.json()
}

fn kinds(changes: &[Value]) -> Vec<String> {
    changes.iter().map(|change| change["kind"].as_str().expect("a kind").to_owned()).collect()
}

fn newest(gateway: &Gateway, question: &str) -> Vec<Value> {
    gateway.weir.admin_get(&format!("/admin/v1/changes?{question}"))["data"].as_array().expect("data").clone()
}

#[test]
fn a_change_cannot_be_traced_to_whoever_made_it_or_to_what_was_before() {
    let mut gateway = fixture::start("", &[]);
    let made = send(&gateway, "POST", "/admin/v1/keys", &json!({"id": "dev-bob", "team": "platform"}));
    let rotated = send(&gateway, "POST", "/admin/v1/keys/dev-bob/rotate", &json!({"grace": "1h"}));
    let raise = json!({"scope": "team:platform", "period": "monthly", "amount": "2.50"});
    send(&gateway, "POST", "/admin/v1/budgets/raise", &raise);
    send(&gateway, "DELETE", "/admin/v1/keys/dev-bob", &Value::Null);
    // Each stood in the chain before its answer came: nothing is waited for here, and a kill takes nothing away.
    let live = newest(&gateway, "");
    gateway.weir.kill9();
    let all = gateway.changes(&[]);
    assert_eq!(kinds(&all), ["start", "key.create", "key.rotate", "budget.raise", "key.revoke"]);
    assert_eq!(live, all.iter().rev().cloned().collect::<Vec<_>>(), "the admin API says what the chain says");

    let [start, create, rotate, raised, revoke] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&start["who"], &start["after"]["configured"]["key"]), (&json!("process"), &json!(1)));
    assert!(create["who"] == "admin" && create["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1:")));
    assert_eq!(
        (&create["subject"], &create["before"], &create["after"]["team"]),
        (&json!("dev-bob"), &Value::Null, &json!("platform"))
    );
    assert_eq!((&rotate["before"]["state"], &rotate["after"]["state"]), (&json!("active"), &json!("rotating")));
    assert_eq!((&revoke["before"]["state"], &revoke["after"]["state"]), (&json!("rotating"), &json!("revoked")));
    assert_eq!(raised["subject"], "team:platform monthly");
    assert_eq!(raised["before"]["amount_usd"], "5.000000000");
    assert_eq!(
        (&raised["after"]["amount_usd"], &raised["after"]["added_usd"]),
        (&json!("7.500000000"), &json!("2.500000000"))
    );
    let text = json!(all).to_string();
    for secret in [&made["secret"], &rotated["secret"]].map(|secret| secret.as_str().expect("a secret")) {
        assert!(!text.contains(secret) && secret.len() > 20);
    }
    for secret in [ADMIN_TOKEN, PROVIDER_KEY, ALICE_KEY] {
        assert!(!text.contains(secret));
    }
    assert_eq!(
        kinds(&gateway.changes(&["--kind", "key", "--who", "admin"])),
        ["key.create", "key.rotate", "key.revoke"]
    );
    assert_eq!(kinds(&gateway.changes(&["--subject", "dev-bob", "--limit", "1"])), ["key.revoke"]);
    assert!(gateway.audited(&["verify"]).contains("(0 requests closed, 5 changes)"));

    gateway.weir.restart();
    let live = newest(&gateway, "limit=2");
    assert_eq!(kinds(&live), ["start", "key.revoke"], "a restart forgets no change");
    assert_eq!(live[0]["before"]["ended_in_order"], false);
    assert_eq!(live[0]["before"]["config_sha256"], start["after"]["config_sha256"]);
    assert_eq!(kinds(&newest(&gateway, "kind=budget.raise&limit=1")), ["budget.raise"]);
}

#[test]
fn a_reload_or_an_end_leaves_no_account_or_one_with_a_secret() {
    let mut gateway = fixture::start("", &[("NEW_SECRET", "a-secret-that-nobody-may-read")]);
    let before = fixture::config(&gateway.provider, "");
    let more = "[[key]]\nid = \"dev-carol\"\nsecret = \"${NEW_SECRET}\"\n[[budget]]\nscope = \"org\"\namount = \"9\"\nperiod = \"total\"\n";
    let after =
        format!("{}{more}", before.replace("\"5.00\"", "\"6.00\"").replace("alice@example.com", "alice@example.org"));
    gateway.weir.write_config(&after);
    gateway.weir.sighup();
    eventually(DEADLINE, "the reload is in the audit", || (newest(&gateway, "kind=reload").len() == 1).then_some(()));
    gateway.weir.write_config("nonsense = true");
    assert_eq!(gateway.weir.admin_request("POST", "/admin/v1/reload", b"").status, 422);
    gateway.weir.write_config(&before);
    send(&gateway, "POST", "/admin/v1/reload", &Value::Null);
    assert_eq!(send(&gateway, "POST", "/admin/v1/drain", &Value::Null), json!({"draining": true, "recorded": true}));
    assert_eq!(gateway.weir.wait_for_exit(), Some(0));

    let all = gateway.changes(&[]);
    assert_eq!(kinds(&all), ["start", "reload", "reload", "drain", "stop"], "a refused reload changes nothing");
    let [start, first, second, drain, stop] = &all[..] else { panic!("{all:?}") };
    assert_eq!((&first["who"], &second["who"], &drain["who"]), (&json!("signal"), &json!("admin"), &json!("admin")));
    assert_eq!(first["before"]["config_sha256"], start["after"]["config_sha256"]);
    assert_eq!(first["after"]["config_sha256"], second["before"]["config_sha256"]);
    assert_eq!(second["after"]["config_sha256"], start["after"]["config_sha256"]);
    let changed = &first["after"]["changed"];
    assert_eq!(changed["key"]["added"], json!(["dev-carol"]));
    assert_eq!(changed["key"]["changed"], json!({"dev-alice": {"user": ["alice@example.com", "alice@example.org"]}}));
    assert_eq!(changed["budget"]["added"], json!(["org total"]));
    assert_eq!(changed["budget"]["changed"], json!({"team:platform monthly": {"amount": ["5.00", "6.00"]}}));
    assert_eq!(second["after"]["changed"]["key"]["removed"], json!(["dev-carol"]));
    assert_eq!(stop["after"]["every_stream_ended_by_itself"], true);
    assert!(!json!(all).to_string().contains("a-secret-that-nobody-may-read"));

    gateway.weir.restart();
    assert_eq!(newest(&gateway, "limit=1")[0]["before"]["ended_in_order"], true);
    gateway.weir.sigterm();
    gateway.weir.wait_for_exit();
    let last: Vec<_> =
        gateway.changes(&["--limit", "2"]).iter().map(|c| (c["kind"].clone(), c["who"].clone())).collect();
    assert_eq!(last, [(json!("drain"), json!("signal")), (json!("stop"), json!("process"))]);
}

#[test]
fn a_changed_change_passes_for_the_one_that_was_made() {
    let mut gateway = fixture::start("", &[]);
    send(&gateway, "POST", "/admin/v1/keys", &json!({"id": "dev-bob"}));
    gateway.weir.kill9();
    let segment = gateway.store().join("journal-0000000001.wal");
    let mut bytes = fs::read(&segment).expect("a segment");
    let at = bytes.windows(7).position(|window| window == b"dev-bob").expect("the change");
    bytes[at..at + 7].copy_from_slice(b"dev-eve");
    fs::write(&segment, bytes).expect("a segment");
    let refuted = gateway.audit(&["verify"]);
    assert!(!refuted.status.success() && String::from_utf8_lossy(&refuted.stderr).contains("NOT what weir wrote"));
}
