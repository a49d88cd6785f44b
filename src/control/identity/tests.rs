//! What the book keeps, and for how long.

use super::*;
use crate::{
    control::config,
    kernel::identity::{Refusal, tests::issued},
};
use std::path::Path;

const ISSUER: &str =
    "[[jwt]]\nissuer = \"https://idp.example.com\"\naudience = \"weir\"\nclaims = { user = \"user\" }\n";

fn config(more: &str) -> Arc<Config> {
    let base = "[admin]\ntoken = \"${T}\"\n[[upstream]]\nname = \"main\"\nprovider = \"anthropic\"\n\
                auth = { api_key = \"${T}\" }\n[models]\npassthrough = true\n";
    let env = |_: &str| Some("a-value".to_owned());
    let parsed = config::parse(&format!("{base}{more}"), Path::new("/etc/weir"), &env);
    Arc::new(parsed.unwrap_or_else(|errors| panic!("{errors:#?}")))
}

fn set(pair: &issued::Pair) -> KeySet {
    KeySet::parse(serde_json::json!({ "keys": [pair.public(None)] }).to_string().as_bytes()).unwrap()
}

#[test]
fn keys_are_lost_by_a_reload_or_kept_for_an_issuer_that_is_gone() {
    let url = "jwks_url = \"https://idp.example.com/keys\"\n";
    let first = config(&format!("{ISSUER}{url}"));
    let pair = issued::Pair::ec();
    let token = pair.token(None, &issued::claims(issued::NOW + 300));
    let judged = |table: &IssuerTable| table.verify(token.as_bytes(), issued::NOW).map_err(|refused| refused.why);
    let mut book = IssuerBook::default();
    assert_eq!(judged(&book.table(&first)), Err(Refusal::NoKeys));
    book.keep(Source::of(&first.jwt[0]).unwrap(), set(&pair), issued::NOW);
    let table = book.table(&first);
    assert!(judged(&table).is_ok());
    assert!(Arc::ptr_eq(&table, &book.table(&first)), "nothing has changed, so shards forget nothing");
    // Another reload with the same source keeps the keys; what tokens are for may have changed all the same.
    let again = config(&format!("{ISSUER}{url}skew = \"1s\"\n"));
    let after = book.table(&again);
    assert!(!Arc::ptr_eq(&table, &after) && judged(&after).is_ok());
    // Gone and back: what was fetched for it then says nothing now.
    assert_eq!(judged(&book.table(&config(""))), Err(Refusal::UnknownIssuer));
    assert_eq!(judged(&book.table(&first)), Err(Refusal::NoKeys));
    // Another place is another set.
    book.keep(Source::of(&first.jwt[0]).unwrap(), set(&pair), issued::NOW);
    let moved = config(&format!("{ISSUER}{}", url.replace("/keys", "/other")));
    assert_eq!(judged(&book.table(&moved)), Err(Refusal::NoKeys));
}
