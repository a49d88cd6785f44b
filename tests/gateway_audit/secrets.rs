//! No secret and no prompt text in any log, the journal or the metrics, at the most talkative log level and on every kind of failure.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use crate::fixture::{self, ALICE_KEY, Gateway};
use crate::support::http::{self, Connection};
use crate::support::{ADMIN_TOKEN, DEADLINE, PROVIDER_KEY, eventually};

const PROMPT: &str = "xyzzy-prompt-mark-plugh";
const STRANGER: &str = "weir-key-of-a-stranger-0123456789";
const BODY_KEY: &str = "6b657920206f662074686520746573747320206b657920206f66207468652074";

fn files(directory: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for file in fs::read_dir(directory).expect("a directory") {
        let path = file.expect("a file").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).expect("a file")));
        }
    }
}

/// Asks, and reads whatever comes: some are answered by a reset in the middle of their answer.
fn ask(gateway: &Gateway, key: &str, sim: &str, body: &str) {
    let headers = [
        ("x-api-key", key),
        ("content-type", "application/json"),
        ("anthropic-sim", sim),
        ("connection", "close"),
        ("x-own", PROMPT),
    ];
    let mut connection = Connection::open(gateway.weir.clients());
    connection.send(&http::request_bytes(gateway.weir.clients(), "POST", "/v1/messages", &headers, body.as_bytes()));
    let _reset = connection.stream().try_clone().expect("a socket").read_to_end(&mut Vec::new());
}

#[test]
fn a_prompt_or_a_credential_stands_in_a_log_the_journal_or_the_metrics() {
    let audit = "[audit]\nbodies = \"full\"\nbody_key = \"${BODY_KEY}\"\n";
    let mut gateway = fixture::start(audit, &[("BODY_KEY", BODY_KEY), ("WEIR_LOG", "trace")]);
    let admin = |method: &str, path: &str, body: &str| gateway.weir.admin_request(method, path, body.as_bytes());
    let made = admin("POST", "/admin/v1/keys", r#"{"id":"dev-bob","team":"platform"}"#).json();
    let made = made["secret"].as_str().expect("a secret").to_owned();
    let message = |stream: bool| {
        json!({"model": "claude-sonnet-4-6", "max_tokens": 1000, "stream": stream,
            "messages": [{"role": "user", "content": PROMPT}]})
        .to_string()
    };
    let broken = format!("{{\"model\":\"claude-sonnet-4-6\",\"messages\":[\"{PROMPT}\",}}");
    let twice = format!("{{\"model\":\"a\",\"model\":\"b\",\"messages\":[\"{PROMPT}\"]}}");
    let asked = [
        (ALICE_KEY, "events=3", message(false)),
        (ALICE_KEY, "events=30", message(true)),
        (made.as_str(), "events=3 reset_at=2", message(true)),
        (ALICE_KEY, "status=500", message(false)),
        (ALICE_KEY, "status=401", message(false)),
        (ALICE_KEY, "reset_before=1", message(false)),
        (ALICE_KEY, "events=3", broken),
        (ALICE_KEY, "events=3", twice),
        (STRANGER, "events=3", message(false)),
    ];
    asked.iter().for_each(|(key, sim, body)| ask(&gateway, key, sim, body));
    eventually(DEADLINE, "every request has its record", || {
        let records = gateway.weir.admin_get("/admin/v1/requests")["data"].as_array().map(Vec::len);
        (records == Some(asked.len())).then_some(())
    });
    admin("POST", "/admin/v1/keys/dev-bob/rotate", "{}");
    admin("POST", "/admin/v1/reload", "");
    let wrong = [("authorization", "Bearer a-wrong-admin-token")];
    http::request(gateway.weir.admin(), "GET", "/admin/v1/usage", &wrong, b"");
    let mut texts = vec![
        ("/metrics".to_owned(), http::request(gateway.weir.admin(), "GET", "/metrics", &[], b"").body),
        ("/admin/v1/requests".to_owned(), admin("GET", "/admin/v1/requests", "").body),
        ("/admin/v1/changes".to_owned(), admin("GET", "/admin/v1/changes", "").body),
    ];
    gateway.weir.sigterm();
    assert_eq!(gateway.weir.wait_for_exit(), Some(0));
    assert!(gateway.weir.log().contains("refused"), "the log says something");
    texts.push(("the log".to_owned(), gateway.weir.log().into_bytes()));
    files(&gateway.store(), &mut texts);
    assert!(
        texts.iter().any(|(name, _)| name.ends_with(".seg")) && texts.iter().any(|(name, _)| name.ends_with(".wal"))
    );
    let marks =
        [PROMPT, ALICE_KEY, PROVIDER_KEY, ADMIN_TOKEN, STRANGER, BODY_KEY, made.as_str(), "a-wrong-admin-token"];
    for (name, bytes) in &texts {
        for mark in marks {
            assert!(!bytes.windows(mark.len()).any(|window| window == mark.as_bytes()), "{mark} stands in {name}");
        }
    }
}
