//! Tokens that must not be good, over the wire: refused in a moment, clearly, and without a trace of them anywhere.

use serde_json::{Value, json};

use crate::fixture::{self, SECRET, assert_refused, jwt, published};
use crate::idp::{Idp, Pair, but, claims, now, shared};
use crate::support::http::{self, Response};

#[test]
fn a_hostile_token_reaches_the_provider_or_is_repeated() {
    let (ours, theirs) = (Pair::ec("k1"), Pair::ec("k1"));
    let idp = Idp::start(&[&ours]);
    let second = jwt("hs256_secret = \"${JWT_SECRET}\"").replace("idp.example.com", "second.example");
    let gateway = fixture::start(&format!("{}{second}", published(&idp, "")));
    let good = ours.token(&claims("alice@example.com"));
    let [header, payload, signature]: [&str; 3] = good.split('.').collect::<Vec<_>>().try_into().expect("three parts");
    // {"alg":"none"} and {"alg":"none","typ":"JWT"}
    let none = ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"];
    let public = ours.public();
    let mut elsewhere = claims("alice@example.com");
    elsewhere["iss"] = json!("https://second.example");
    let hostile: Vec<(String, &str)> = vec![
        (format!("{}.{payload}.", none[0]), "names no signature algorithm"),
        (format!("{}.{payload}.{signature}", none[1]), "names no signature algorithm"),
        (format!("{header}.{payload}."), "signature"),
        (format!("{header}.{payload}.{}", parts(&theirs.token(&claims("alice@example.com")))[2]), "signature"),
        (format!("{header}.{payload}"), "not a signed JWT"),
        (format!("{good}.{signature}"), "not a signed JWT"),
        (theirs.token(&claims("alice@example.com")), "signature"),
        // The public key as a shared secret, in two spellings.
        (shared(public["x"].as_str().expect("x"), &claims("a")), "algorithm its issuer may use"),
        (shared(&public.to_string(), &claims("a")), "algorithm its issuer may use"),
        // The key of one issuer for the name of another.
        (ours.token(&elsewhere), "algorithm its issuer may use"),
        (shared(SECRET, &claims("a")), "algorithm its issuer may use"),
        (ours.token(&but("iss", json!("https://evil.example"))), "an issuer (`iss`) that this gateway does not accept"),
        (ours.token(&but("iss", Value::Null)), "has no issuer"),
        (ours.token(&but("aud", json!("billing"))), "not meant for this gateway"),
        (ours.token(&but("aud", json!(["billing", "x"]))), "not meant for this gateway"),
        (ours.token(&but("aud", Value::Null)), "not meant for this gateway"),
        (ours.token(&but("exp", Value::Null)), "no expiry"),
        (ours.token(&but("exp", json!(now() - 100))), "has expired"),
        (ours.token(&but("nbf", json!(now() + 1000))), "not valid yet (`nbf`"),
        (ours.token(&but("iat", json!(now() + 1000))), "not valid yet (`iat`"),
        (ours.token(&but("user", Value::Null)), "does not say who calls: it has no claim user"),
        (ours.token(&but("user", json!("x".repeat(300)))), "no usable name in claim user"),
        (ours.token(&but("team", json!("a\nb"))), "no usable name in claim team"),
        (ours.token(&but("pad", json!("x".repeat(20_000)))), "is too long"),
    ];
    let count = hostile.len() as f64;
    for (token, says) in &hostile {
        let answer = gateway.ask(token);
        assert_refused(&answer, says);
        assert!(answer.text().contains("the token in Authorization"), "{}", answer.text());
        assert_unseen(&answer, token);
        let record = gateway.record_of(&answer);
        let seen = (&record["refused_by"], &record["user"], &record["outcome"]);
        assert_eq!(seen, (&"unauthenticated".into(), &Value::Null, &"refused".into()), "{record}");
        assert!(!gateway.weir.log().contains(parts(token)[1]), "the log repeats a token: {says}");
    }
    assert_eq!(gateway.reached(), 0);
    assert_eq!(gateway.weir.metric("weir_refused_total", &["reason=\"unauthenticated\""]), count);
    assert_eq!(gateway.ask(&good).status, 200, "and the good one is good all the while");
    assert!(!gateway.weir.log().contains(signature), "nor is a good one anywhere");
}

/// Neither the payload nor the signature is in the answer.
fn assert_unseen(answer: &Response, token: &str) {
    for part in parts(token).iter().skip(1).filter(|part| part.len() > 8) {
        assert!(
            !answer.text().contains(*part) && !format!("{:?}", answer.headers).contains(*part),
            "{}",
            answer.text()
        );
    }
}

fn parts(token: &str) -> Vec<&str> {
    token.split('.').collect()
}

#[test]
fn without_an_issuer_a_token_is_more_than_a_wrong_key() {
    let gateway = fixture::start("");
    assert_refused(&gateway.ask(&shared(SECRET, &claims("a"))), "not a valid key of this gateway");
    let both = http::request(gateway.weir.clients(), "GET", "/v1/models", &[("x-api-key", "eyJ.eyJ.x")], b"");
    assert_refused(&both, "the key in x-api-key");
}
