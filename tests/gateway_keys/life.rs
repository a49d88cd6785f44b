//! A key from its making to its end, over restarts and crashes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::json;

use crate::fixture::{self, ALICE_KEY, assert_refused};
use crate::support::{ADMIN_TOKEN, DEADLINE, PROVIDER_KEY, eventually, http};

#[test]
fn a_new_key_works_on_one_shard_only() {
    let gateway = fixture::start("");
    let secret = gateway.create(json!({"id": "made", "user": "bob@example.com", "team": "data", "project": "p"}));
    gateway.settle();
    let mut connections = gateway.kept(&secret);
    for connection in &mut connections {
        assert_eq!(gateway.probe(connection, &secret).status, 200);
    }
    assert_eq!(gateway.ask(&secret).status, 200);
    let records = gateway.records("made", connections.len() * 2 + 1);
    for record in records {
        let principal = ["key", "user", "team", "project"].map(|name| record[name].as_str().unwrap_or("nobody"));
        assert_eq!(principal, ["made", "bob@example.com", "data", "p"], "{record}");
    }
}

#[test]
fn a_key_does_not_survive_a_restart_or_a_crash_or_a_revoked_one_does() {
    let mut gateway = fixture::start("");
    let (kept, gone) = (gateway.create(json!({"id": "kept"})), gateway.create(json!({"id": "gone"})));
    let rotated = gateway.rotate("kept", "1h");
    gateway.revoke("gone");
    for crash in [false, true] {
        if crash {
            gateway.weir.kill9();
        }
        gateway.weir.restart();
        for secret in [&kept, &rotated] {
            assert_eq!(gateway.ask(secret).status, 200);
        }
        assert_refused(&gateway.ask(&gone), "not a valid key");
        assert_eq!((gateway.state("kept").as_str(), gateway.state("gone").as_str()), ("rotating", "revoked"));
    }
    // Made right before the crash: an answered change is on disk.
    let late = gateway.create(json!({"id": "late"}));
    gateway.weir.kill9();
    gateway.weir.restart();
    assert_eq!(gateway.ask(&late).status, 200);
}

#[test]
fn an_expired_key_goes_on_working() {
    let gateway = fixture::start("");
    let soon = jiff::Timestamp::now().as_second() + 8;
    let soon = jiff::Timestamp::from_second(soon).expect("a time").to_string();
    let secret = gateway.create(json!({"id": "short", "expires": soon}));
    gateway.settle();
    let mut connection = http::Connection::open(gateway.weir.clients());
    let mut worked = false;
    let refused = eventually(DEADLINE, "the key expires", || {
        let answer = gateway.probe(&mut connection, &secret);
        worked |= answer.status == 200;
        (answer.status != 200).then_some(answer)
    });
    assert!(worked, "it worked before");
    assert_refused(&refused, "expired");
    assert_eq!(gateway.state("short"), "expired");
    assert_eq!(gateway.admin("POST", "/short/rotate", "").status, 409);
}

#[test]
fn a_made_key_uses_any_model_or_no_budget() {
    let budget = "[[budget]]\nscope = \"user:*\"\namount = \"9\"\nperiod = \"daily\"\n";
    let gateway = fixture::start(budget);
    let haiku = gateway.create(json!({"id": "haiku", "models": ["claude-haiku-*"], "user": "carol"}));
    let all = gateway.create(json!({"id": "all", "user": "dave"}));
    gateway.settle();
    let denied = gateway.ask(&haiku);
    assert_eq!((denied.status, &denied.json()["error"]["type"]), (403, &"permission_error".into()));
    let answer = gateway.ask(&all);
    assert_eq!(answer.status, 200);
    assert!(answer.header("anthropic-ratelimit-unified-overage-utilization").is_some(), "{answer:?}");
    eventually(DEADLINE, "dave's budget shows what was spent", || {
        let budgets = gateway.weir.admin_get("/admin/v1/budgets");
        let scopes = budgets["data"].as_array().expect("budgets").iter();
        let dave = scopes.clone().find(|budget| budget["scope"] == "user:dave").expect("one for each user");
        assert!(scopes.clone().any(|budget| budget["scope"] == "user:carol"), "{budgets}");
        (dave["spent"] != "0.000000000").then_some(())
    });
}

#[test]
fn a_configured_key_is_changed_behind_the_files_back_or_taken_for_a_made_one() {
    let gateway = fixture::start("");
    for (method, path) in [("DELETE", "/dev-alice"), ("POST", "/dev-alice/rotate")] {
        let answer = gateway.admin(method, path, "");
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(answer.text().contains("[[key]]"), "{}", answer.text());
    }
    assert_eq!(gateway.admin("POST", "", r#"{"id":"dev-alice"}"#).status, 409);
    let wrong = gateway.admin("POST", "", r#"{"id":"x","owner":"y","expires":"soon"}"#);
    assert_eq!(wrong.status, 400);
    for field in ["owner: ", "expires: "] {
        assert!(wrong.text().contains(field), "{}", wrong.text());
    }
    let list = gateway.weir.admin_get("/admin/v1/keys");
    assert_eq!((&list["data"][0]["id"], &list["data"][0]["source"]), (&"dev-alice".into(), &"configuration".into()));
    let secret = gateway.create(json!({"id": "made"}));
    let clash = "[[key]]\nid = \"made\"\nsecret = \"${PROVIDER_KEY}\"\n";
    gateway.weir.write_config(&fixture::config(&gateway.provider, clash));
    let reload = gateway.weir.admin_request("POST", "/admin/v1/reload", b"");
    assert!(reload.status == 422 && reload.text().contains("key[1].id"), "{}", reload.text());
    // A reload that is good keeps what was made.
    gateway.weir.write_config(&fixture::config(&gateway.provider, ""));
    assert_eq!(gateway.weir.admin_request("POST", "/admin/v1/reload", b"").status, 200);
    gateway.settle();
    assert_eq!((gateway.ask(&secret).status, gateway.ask(ALICE_KEY).status), (200, 200));
}

#[test]
fn weir_starts_without_the_keys_of_a_damaged_file() {
    let mut gateway = fixture::start("");
    gateway.create(json!({"id": "made"}));
    gateway.weir.kill9();
    let file = gateway.weir.dir().join("weir-data/keys.json");
    fs::write(&file, b"{\"version\":1,\"keys\":[{\"id\":\"ma").expect("the file is written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--config", "weir.toml"]).current_dir(gateway.weir.dir()).env_clear();
    command.envs([("ALICE_KEY", ALICE_KEY), ("PROVIDER_KEY", PROVIDER_KEY), ("WEIR_ADMIN_TOKEN", ADMIN_TOKEN)]);
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("keys.json") && said.contains("damaged"), "{said}");
}

#[test]
fn a_made_secret_shows_up_in_logs_lists_or_on_disk() {
    let gateway = fixture::start_with("", &[("WEIR_LOG", "trace")]);
    let first = gateway.create(json!({"id": "made", "user": "bob"}));
    let second = gateway.rotate("made", "1h");
    gateway.settle();
    let mut shown = String::new();
    for secret in [&first, &second, &format!("{second}x")] {
        shown += &format!("{:?}", gateway.ask(secret));
    }
    gateway.records("made", 2);
    gateway.revoke("made");
    shown += &format!("{:?}", gateway.ask(&second));
    for path in ["keys", "requests", "shards", "usage?group_by=key"] {
        shown += &gateway.weir.admin_get(&format!("/admin/v1/{path}")).to_string();
    }
    shown += &http::request(gateway.weir.admin(), "GET", "/metrics", &[], b"").text();
    shown += &gateway.weir.log();
    for file in fs::read_dir(gateway.weir.dir().join("weir-data")).expect("the store") {
        let path = file.expect("a file").path();
        let mode = fs::metadata(&path).expect("its mode").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} is for its owner alone", path.display());
        // The socket on which a successor would ask has no bytes.
        if path.is_file() {
            shown += &String::from_utf8_lossy(&fs::read(path).expect("its bytes"));
        }
    }
    assert!(shown.contains("key created") && shown.contains("\"sha256\""), "the log and the store were looked at");
    for secret in [&first, &second] {
        assert!(!shown.contains(&secret["weir_".len()..]), "a secret is shown");
    }
}
