//! Credentials that stay as they are: each provider takes what it wants, and nothing of the caller's goes up.

use serde_json::Value;

use crate::fixture::{ALICE_KEY, Gateway, body, start};
use crate::support::PROVIDER_KEY;

/// Every provider with a key or token that stays, and the header it goes in.
const FIXED: [(&str, &str, &str); 7] = [
    ("anthropic", "auth = { api_key = \"${PROVIDER_KEY}\" }", "x-api-key"),
    ("anthropic", "auth = { bearer = \"${PROVIDER_KEY}\" }", "authorization"),
    ("anthropic", "headers = { api-key = \"${PROVIDER_KEY}\", x-tenant = \"weir\" }", "api-key"),
    (
        "bedrock",
        "endpoint = \"messages\"\nregion = \"us-east-1\"\nauth = { bearer = \"${PROVIDER_KEY}\" }",
        "authorization",
    ),
    (
        "vertex",
        "region = \"us-east5\"\nproject = \"p\"\nauth = { access_token = \"${PROVIDER_KEY}\" }",
        "authorization",
    ),
    ("foundry", "resource = \"r\"\nauth = { api_key = \"${PROVIDER_KEY}\" }", "x-api-key"),
    (
        "anthropic_aws",
        "region = \"us-west-2\"\nworkspace_id = \"wrkspc_01\"\nauth = { api_key = \"${PROVIDER_KEY}\" }",
        "x-api-key",
    ),
];

/// What clients may send and no provider may see (contract.md §3.1).
const CALLERS: [(&str, &str); 16] = [
    ("x-api-key", ALICE_KEY),
    ("api-key", "callers-own"),
    ("cookie", "callers-own"),
    ("x-amz-security-token", "callers-own"),
    ("x-amz-date", "20261121T000000Z"),
    ("x-amz-content-sha256", "callers-own"),
    ("x-goog-api-key", "callers-own"),
    ("x-goog-user-project", "callers-own"),
    ("proxy-authorization", "callers-own"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-host", "callers-own"),
    ("forwarded", "for=10.0.0.1"),
    ("via", "1.1 callers-own"),
    ("x-claude-code-session-id", "callers-own"),
    ("x-tenant", "callers-own"),
    ("keep-alive", "timeout=5"),
];

fn upstream(provider: &str, more: &str) -> String {
    format!("provider = \"{provider}\"\n{more}")
}

fn names(entry: &Value) -> Vec<String> {
    let names = entry["header_names"].as_array().expect("names").iter();
    names.filter_map(|name| name.as_str().map(str::to_ascii_lowercase)).collect()
}

#[test]
fn a_provider_does_not_get_its_credential_or_gets_the_callers() {
    for (provider, more, carrier) in FIXED {
        let gateway = start(&["--api-key", PROVIDER_KEY], &upstream(provider, more), &[]);
        let answer = gateway.ask_with(&CALLERS, &body("claude-sonnet-4-6", "Hello"));
        assert_eq!(answer.status, 200, "{provider}: {}", answer.text());
        let books = gateway.provider.books_of(1);
        let entry = &books["entries"][0];
        let seen = names(entry);
        assert_eq!(seen.iter().filter(|name| *name == carrier).count(), 1, "{provider}: {seen:?}");
        let own: &[&str] = if more.contains("x-tenant") { &["x-tenant", "api-key"] } else { &[] };
        for name in CALLERS.iter().map(|(name, _)| *name).chain(["authorization"]) {
            let allowed = name == carrier || own.contains(&name);
            assert!(allowed || !seen.iter().any(|seen| seen == name), "{provider}: {name} went up: {seen:?}");
        }
        let shown = entry["headers"].to_string();
        assert!(!shown.contains("callers-own") && !shown.contains(ALICE_KEY), "{provider}: {shown}");
        if provider == "anthropic_aws" {
            assert_eq!(entry["headers"]["anthropic-workspace-id"], "wrkspc_01");
        }
    }
}

#[test]
fn a_clients_workspace_stands_beside_the_configured_one() {
    let (provider, more, _) = FIXED[6];
    let gateway = start(&["--api-key", PROVIDER_KEY], &upstream(provider, more), &[]);
    let answer =
        gateway.ask_with(&[("anthropic-workspace-id", "wrkspc_of_a_stranger")], &body("claude-sonnet-4-6", "Hi"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let books = gateway.provider.books_of(1);
    assert_eq!(books["entries"][0]["headers"]["anthropic-workspace-id"], "wrkspc_01");
}

#[test]
fn a_providers_own_refusal_of_our_credential_reaches_the_client() {
    let signs = ["--sigv4", "us-east-1/bedrock"];
    for (provider, more, _) in FIXED {
        let arguments: &[&str] = if provider == "bedrock" { &signs } else { &["--api-key", "another-key"] };
        let gateway = start(arguments, &upstream(provider, more), &[]);
        refused(&gateway, provider);
    }
}

/// 502, of our own making, and nothing that would send a client to its credential helper.
pub fn refused(gateway: &Gateway, what: &str) {
    let answer = gateway.ask();
    assert_eq!(answer.status, 502, "{what}: {}", answer.text());
    assert_eq!(answer.json()["error"]["type"], "api_error", "{what}");
    assert!(answer.text().contains("credential"), "{what}: {}", answer.text());
    let record = gateway.newest_record();
    assert_eq!(record["refused_by"], "upstream_credential", "{what}: {record}");
}
