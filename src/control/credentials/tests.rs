//! What an entry keeps over reloads, and what it shows.

use super::*;
use crate::control::config::parse;
use std::path::Path;

fn config(upstreams: &str) -> Config {
    let text = format!("[admin]\ntoken = \"${{T}}\"\n[models]\npassthrough = true\n{upstreams}");
    let read = parse(&text, Path::new("/"), &|_| Some("value-of-a-secret".to_owned()));
    read.unwrap_or_else(|errors| panic!("{errors:#?}"))
}

fn bedrock(region: &str, auth: &str) -> String {
    format!("[[upstream]]\nname = \"b\"\nprovider = \"bedrock\"\nregion = \"{region}\"\nauth = {auth}\n")
}

const KEYS: &str = "{ access_key_id = \"AKIAIOSFODNN7EXAMPLE\", secret_access_key = \"${S}\" }";

#[test]
fn a_reload_takes_a_good_credential_away_or_keeps_a_changed_one() {
    let keeper = CredentialKeeper::default();
    let first = config(&bedrock("us-east-1", KEYS));
    let minted = keeper.minted(&first.upstreams[0]).expect("it signs");
    assert_eq!(minted.slot.latest().map(|grant| (grant.version, grant.expires_at)), Some((1, None)));
    let scope = SigningScope { region: "us-east-1".into(), service: "bedrock" };
    assert_eq!(minted.signing, Some(scope));
    let again = keeper.minted(&config(&bedrock("us-east-1", KEYS)).upstreams[0]).expect("it signs");
    assert!(Arc::ptr_eq(&minted.slot, &again.slot));
    let moved = config(&bedrock("eu-west-1", KEYS));
    let other = keeper.minted(&moved.upstreams[0]).expect("it signs");
    assert!(!Arc::ptr_eq(&minted.slot, &other.slot));
    keeper.retain(&moved);
    assert_eq!(keeper.states().len(), 1);
}

#[test]
fn a_fixed_credential_is_minted_or_a_minted_one_fixed() {
    let keeper = CredentialKeeper::default();
    let bearer = config(&bedrock("us-east-1", "{ bearer = \"${S}\" }"));
    assert!(keeper.minted(&bearer.upstreams[0]).is_none());
    let vertex = "[[upstream]]\nname = \"v\"\nprovider = \"vertex\"\nregion = \"eu\"\nproject = \"p\"\nauth = {}\n";
    let minted = keeper.minted(&config(vertex).upstreams[0]).expect("it is minted");
    assert!(minted.signing.is_none() && minted.slot.latest().is_none());
}

#[test]
fn an_error_of_a_source_breaks_lines_or_fills_the_log() {
    let MintError(text) = MintError::new(format!("a\r\nb{}", "x".repeat(1000)));
    assert!(text.starts_with("a  b") && text.len() <= ERROR_BYTES_MAX + '…'.len_utf8(), "{text}");
}

#[test]
fn an_expired_credential_is_published() {
    let fresh = |expires_at| Fresh { shown: Shown::bearer("t"), expires_at };
    assert!(still_good(fresh(Some(10)), 10).is_err_and(|error| error.0.contains("clock")));
    assert!(still_good(fresh(Some(11)), 10).is_ok() && still_good(fresh(None), 10).is_ok());
}
