//! Published sets of keys.

use super::issued::{self, NOW, Pair, published, verify};
use crate::kernel::{
    identity::{IssuerKeys, IssuerTable, KeySet, Refusal, TokenAlgorithm},
    limits::{JWKS_KEYS_MAX, TOKEN_KEYS_FRESH},
};
use serde_json::{Value, json};
use std::sync::Arc;

#[test]
fn a_key_for_something_else_verifies_tokens() {
    let pair = Pair::ec();
    let good = serde_json::to_value(pair.public(Some("k"))).unwrap();
    let parsed = |key: Value| KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).map(|set| set.len());
    assert_eq!(parsed(good.clone()), Ok(1));
    for (field, value) in [
        ("use", json!("enc")),
        ("alg", json!("ES384")),
        ("alg", json!("ECDH-ES")),
        ("key_ops", json!(["deriveKey"])),
        ("crv", json!("P-384")),
        ("crv", json!("secp256k1")),
        ("kty", json!("oct")),
        ("kty", json!("AKP")),
        ("x", Value::Null),
        ("x", json!("not base64!")),
    ] {
        let mut key = good.clone();
        key[field] = value.clone();
        assert!(parsed(key).is_err(), "{field} {value}");
    }
    let rsa = serde_json::to_value(Pair::rsa().public(None)).unwrap();
    let mut short = rsa.clone();
    short["n"] = rsa["n"].as_str().unwrap()[..170].into();
    assert!(parsed(short).is_err(), "an RSA key of 1020 bits");
    assert!(
        parsed(json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256"})).is_err(),
        "a secret that everybody can read"
    );
    // A key of the future beside one of today takes nothing away.
    let mixed = json!({"keys": [{"kty": "AKP", "alg": "ML-DSA-65", "pub": "x"}, good, 7, "x"], "more": 1});
    assert_eq!(KeySet::parse(mixed.to_string().as_bytes()).map(|set| set.len()), Ok(1));
}

#[test]
fn a_set_that_is_none_replaces_a_good_one() {
    let many = json!({ "keys": vec![json!({}); JWKS_KEYS_MAX + 1] }).to_string();
    for text in ["", "<html>", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "null", &many] {
        assert!(KeySet::parse(text.as_bytes()).is_err(), "{text:.40}");
    }
}

#[test]
fn an_unknown_key_is_final_or_worth_another_try_at_the_wrong_time() {
    let (known, new) = (Pair::ec(), Pair::ec());
    let claims = issued::claims(NOW + 300);
    let at = |as_of: i64, token: &str| {
        let set = KeySet::parse(json!({"keys": [known.public(Some("k1"))]}).to_string().as_bytes()).unwrap();
        let keys = IssuerKeys::Published { set: Some(Arc::new(set)), as_of };
        let table = IssuerTable::new(vec![issued::issuer(keys, &TokenAlgorithm::PUBLIC)]);
        verify(&table, token).unwrap_err()
    };
    let fresh = TOKEN_KEYS_FRESH.as_secs() as i64;
    for (as_of, stale) in [(NOW, false), (NOW - fresh + 1, false), (NOW - fresh, true), (0, true)] {
        let refused = at(as_of, &new.token(Some("k2"), &claims));
        assert_eq!(refused.why, Refusal::UnknownKey { stale });
        assert_eq!((refused.why.may_pass(), refused.issuer), (stale, Some(0)));
        // Without a name nobody can tell a new key from a forged signature.
        assert_eq!(at(as_of, &new.token(None, &claims)).why, Refusal::UnknownKey { stale });
        // With a known name it is forged, and no key that comes later makes it good.
        assert_eq!(at(as_of, &new.token(Some("k1"), &claims)).why, Refusal::Signature);
    }
    let none = IssuerKeys::Published { set: None, as_of: 0 };
    let table = IssuerTable::new(vec![issued::issuer(none, &TokenAlgorithm::PUBLIC)]);
    let refused = verify(&table, &known.token(Some("k1"), &claims)).unwrap_err();
    assert!(refused.why == Refusal::NoKeys && refused.why.may_pass());
}

#[test]
fn keys_without_names_are_never_found() {
    let (one, two) = (Pair::ec(), Pair::ec());
    let table = published(&[one.public(None), two.public(None), Pair::rsa().public(None)]);
    let claims = issued::claims(NOW + 300);
    for kid in [None, Some("whatever")] {
        assert!(verify(&table, &two.token(kid, &claims)).is_ok(), "{kid:?}");
    }
}
