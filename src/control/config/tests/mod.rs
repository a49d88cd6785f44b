//! One test per rule of the configuration language.

mod audit;
mod export;
mod golden;
mod handshakes;
mod identity;
mod providers;
mod proxies;
mod refusals;
mod rules;
mod snapshots;
mod values;

use super::*;
use std::path::PathBuf;

/// The smallest whole configuration; sections are put after it.
const BASE: &str = r#"
[admin]
token = "${TOKEN}"
[[upstream]]
name = "main"
provider = "anthropic"
auth = { api_key = "${KEY}" }
[[model]]
id = "claude-sonnet-5-5"
targets = [ { upstream = "main" } ]
[[key]]
id = "dev-alice"
secret = "${ALICE}"
user = "alice@example.com"
team = "platform"
project = "checkout"
"#;

fn env(name: &str) -> Option<String> {
    let value = match name {
        "TOKEN" => "admin-token-value",
        "KEY" => "upstream-key-value",
        "ALICE" => "alice-secret-value",
        "BOB" => "bob-secret-value",
        "BODY" => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "EMPTY" => "",
        "LINES" => "two\nlines",
        _ => return None,
    };
    Some(value.to_string())
}

fn parsed(text: &str) -> Result<Config, Vec<ConfigError>> {
    parse(text, &PathBuf::from("/etc/weir"), &env)
}

/// The base with more sections, which must be right.
fn good(more: &str) -> Config {
    parsed(&format!("{BASE}\n{more}")).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// The errors of a text, as `path: message; mend`.
fn errors_of(text: &str) -> Vec<String> {
    match parsed(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// The one error of the base with more sections.
fn wrong(more: &str) -> String {
    let errors = errors_of(&format!("{BASE}\n{more}"));
    assert_eq!(errors.len(), 1, "{more}\n{errors:#?}");
    errors[0].clone()
}

/// The one error of the base with a piece replaced.
fn wrong_with(old: &str, new: &str) -> String {
    assert!(BASE.contains(old), "{old}");
    let errors = errors_of(&BASE.replacen(old, new, 1));
    assert_eq!(errors.len(), 1, "{new}\n{errors:#?}");
    errors[0].clone()
}

/// Writes certificate, key and CA files; the certificate is for `localhost`.
fn tls_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["tls", "other"] {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(dir.path().join(format!("{name}.crt")), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    dir
}
