//! `weir key`, as a person and as a script use it.

use std::process::{Command, Output};

use serde_json::Value;

use crate::fixture::{self, Gateway, assert_refused};
use crate::support::ADMIN_TOKEN;

fn weir(gateway: &Gateway, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.arg("key").args(words).args(["--admin", &format!("http://{}", gateway.weir.admin())]);
    command.env_clear().env("WEIR_ADMIN_TOKEN", ADMIN_TOKEN).output().expect("the binary runs")
}

/// What the command prints when it succeeds.
fn said(gateway: &Gateway, words: &[&str]) -> String {
    let output = weir(gateway, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_script_cannot_take_the_secret_from_stdout() {
    let gateway = fixture::start("");
    let made = said(
        &gateway,
        &[
            "create",
            "--id",
            "ci",
            "--team",
            "data",
            "--models",
            "claude-*,x",
            "--expires",
            "2999-01-01T00:00:00Z",
            "--quiet",
        ],
    );
    let secret = made.strip_suffix('\n').expect("one line");
    assert!(secret.starts_with("weir_") && secret.len() == 48, "{made}");
    gateway.settle();
    assert_eq!(gateway.ask(secret).status, 200);
    let list = said(&gateway, &["list"]);
    for word in ["ci", "active", "data", "claude-*, x", "2999-01-01", "dev-alice", "configuration"] {
        assert!(list.contains(word), "{word}: {list}");
    }
    let rotated: Value =
        serde_json::from_str(&said(&gateway, &["rotate", "ci", "--grace", "1h", "--format", "json"])).expect("JSON");
    assert_eq!(rotated["state"], "rotating");
    let new = rotated["secret"].as_str().expect("a secret");
    gateway.settle();
    assert_eq!((gateway.ask(secret).status, gateway.ask(new).status), (200, 200));
    assert!(said(&gateway, &["revoke", "ci"]).contains("ci is revoked"));
    gateway.settle();
    assert_refused(&gateway.ask(new), "not a valid key");
    let listed = said(&gateway, &["list", "--format", "json"]);
    assert!(listed.contains("\"revoked\"") && !listed.contains("weir_"), "{listed}");
}

#[test]
fn a_refused_command_succeeds_or_does_not_say_why() {
    let gateway = fixture::start("");
    for (words, why) in [
        (&["create", "--id", "a b"][..], "id: must be"),
        (&["create", "--id", "dev-alice"], "configuration file"),
        (&["create", "--id", "x", "--expires", "soon"], "expires: must be"),
        (&["rotate", "nobody"], "no key of this id"),
        (&["rotate", "dev-alice"], "[[key]]"),
        (&["revoke", "../usage"], "can be no id"),
        (&["revoke", "dev-alice"], "[[key]]"),
        (&["list", "--token", "wrong"], "does not accept this admin token"),
    ] {
        let output = weir(&gateway, words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {said}");
        assert!(said.contains(why) && output.stdout.is_empty(), "{words:?}: {said}");
    }
}
