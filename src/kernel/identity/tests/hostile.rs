//! Tokens that must not be good, each made by somebody who wants it to be.

use super::issued::{self, AUDIENCE, ISSUER, NOW, Pair, SKEW, but, published, shared, sign, verify};
use crate::kernel::{
    identity::{IssuerKeys, IssuerTable, Refusal, TokenAlgorithm, VerifyingKey},
    limits::TOKEN_BYTES_MAX,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";

fn why(claims: &Value) -> Refusal {
    verify(&issued::table(&[SECRET]), &shared(SECRET, claims)).unwrap_err().why
}

/// The three parts of a good token.
fn parts() -> [String; 3] {
    let token = shared(SECRET, &issued::claims(NOW + 300));
    let parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

/// base64url of a text, by way of a token's own claims.
fn encoded(text: &Value) -> String {
    let token = encode(&Header::default(), text, &EncodingKey::from_secret(b"x")).unwrap();
    token.split('.').nth(1).unwrap().to_owned()
}

#[test]
fn a_good_token_of_any_algorithm_is_refused() {
    let claims = issued::claims(NOW + 300);
    let good = verify(&issued::table(&["other", SECRET]), &shared(SECRET, &claims)).unwrap();
    assert_eq!((good.until, good.caller.user.as_str()), (NOW + 300 + SKEW, "alice"));
    assert_eq!((good.caller.team.as_str(), good.caller.project.as_str()), ("platform", "checkout"));
    let pairs = [Pair::rsa(), &Pair::ec(), &Pair::ed()];
    let table = published(&pairs.map(|pair| pair.public(Some(&format!("{:?}", pair.algorithm)))));
    for pair in pairs {
        let kid = format!("{:?}", pair.algorithm);
        assert_eq!(verify(&table, &pair.token(Some(&kid), &claims)).unwrap().caller, good.caller, "{kid}");
        assert_eq!(verify(&table, &pair.token(None, &claims)).unwrap().caller, good.caller, "{kid} without a kid");
    }
}

#[test]
fn a_token_without_a_signature_is_good() {
    let [header, payload, signature] = parts();
    let table = issued::table(&[SECRET]);
    let refused = |token: &str| verify(&table, token).unwrap_err().why;
    for none in ["none", "None", "NONE", "nOnE", "HS257", ""] {
        let bare = encoded(&json!({"alg": none, "typ": "JWT"}));
        assert_eq!(refused(&format!("{bare}.{payload}.")), Refusal::Unsigned, "{none}");
        assert_eq!(refused(&format!("{bare}.{payload}.{signature}")), Refusal::Unsigned, "{none}");
    }
    let silent = encoded(&json!({"typ": "JWT"}));
    assert_eq!(refused(&format!("{silent}.{payload}.{signature}")), Refusal::Malformed);
    assert_eq!(refused(&format!("{header}.{payload}.")), Refusal::Signature);
    for torn in ["eyJ.", &format!("{header}.{payload}"), &format!("{header}.{payload}.{signature}.x"), "eyJ..", "....."]
    {
        assert!(verify(&table, torn).is_err(), "{torn}");
    }
}

#[test]
fn a_public_key_is_taken_for_a_shared_secret() {
    let pair = Pair::rsa();
    let jwk = pair.public(Some("k1"));
    let table = published(std::slice::from_ref(&jwk));
    let claims = issued::claims(NOW + 300);
    // Everything a stranger can know of the key, as the secret of an HMAC.
    let shown = serde_json::to_value(&jwk).unwrap();
    let secrets = [shown["n"].as_str().unwrap().to_owned(), shown.to_string(), "k1".to_owned(), String::new()];
    for secret in secrets {
        let key = EncodingKey::from_secret(secret.as_bytes());
        for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let forged = sign(algorithm, Some("k1"), &claims, &key);
            assert!(matches!(verify(&table, &forged).unwrap_err().why, Refusal::Algorithm(_)), "{algorithm:?}");
        }
    }
    // And the other way round: a secret never verifies what a key pair has signed, even where both are configured.
    let mut issuer = issued::issuer(
        IssuerKeys::Shared(vec![VerifyingKey::shared(SECRET.as_bytes())]),
        &[TokenAlgorithm::Hs256, TokenAlgorithm::Rs256],
    );
    issuer.name = ISSUER.into();
    let both = IssuerTable::new(vec![issuer]);
    assert_eq!(verify(&both, &pair.token(None, &claims)).unwrap_err().why, Refusal::Signature);
    // One key's name over another key's signature, of another kind or the same.
    let table = published(&[jwk, Pair::ec().public(Some("k2"))]);
    for (pair, kid) in [(pair, "k2"), (&Pair::ec(), "k1"), (&Pair::ec(), "k2")] {
        let crossed = verify(&table, &pair.token(Some(kid), &claims)).unwrap_err().why;
        assert!(matches!(crossed, Refusal::Signature | Refusal::UnknownKey { .. }), "{kid}: {crossed:?}");
    }
}

#[test]
fn a_token_brings_its_own_key() {
    let (theirs, ours) = (Pair::ec(), Pair::ec());
    let table = published(&[ours.public(Some("k1"))]);
    let header = Header {
        jwk: Some(theirs.public(Some("k1"))),
        jku: Some("https://evil.example/keys".into()),
        kid: Some("k1".into()),
        ..Header::new(Algorithm::ES256)
    };
    let forged = encode(&header, &issued::claims(NOW + 300), &theirs.private).unwrap();
    assert_eq!(verify(&table, &forged).unwrap_err().why, Refusal::Signature);
    let critical = Header { crit: Some(vec!["b64".into()]), ..Header::new(Algorithm::ES256) };
    let critical = encode(&critical, &issued::claims(NOW + 300), &ours.private).unwrap();
    assert_eq!(verify(&table, &critical).unwrap_err().why, Refusal::Critical);
}

#[test]
fn a_token_of_another_issuer_or_for_another_service_is_good() {
    for (claim, value, expected) in [
        ("iss", Value::Null, Refusal::NoIssuer),
        ("iss", json!("https://evil.example"), Refusal::UnknownIssuer),
        ("iss", json!("https://idp.example.com/"), Refusal::UnknownIssuer),
        ("iss", json!([ISSUER]), Refusal::NoIssuer),
        ("iss", json!(7), Refusal::NoIssuer),
    ] {
        assert_eq!(why(&but(claim, value.clone())), expected, "{claim} {value}");
    }
    for bad in
        [Value::Null, json!("billing"), json!([]), json!(["a", "weird"]), json!({"weir": 1}), json!(7), json!("")]
    {
        assert_eq!(why(&but("aud", bad.clone())), Refusal::Audience("\"weir\"".into()), "{bad}");
    }
    for good in [json!(AUDIENCE), json!(["billing", AUDIENCE]), json!([7, AUDIENCE])] {
        assert!(verify(&issued::table(&[SECRET]), &shared(SECRET, &but("aud", good))).is_ok());
    }
    // Two issuers: the one that is named decides, and another's secret is no help.
    let mut second =
        issued::issuer(IssuerKeys::Shared(vec![VerifyingKey::shared(b"second-secret")]), &[TokenAlgorithm::Hs256]);
    second.name = "https://second.example".into();
    let first =
        issued::issuer(IssuerKeys::Shared(vec![VerifyingKey::shared(SECRET.as_bytes())]), &[TokenAlgorithm::Hs256]);
    let table = IssuerTable::new(vec![first, second]);
    let named = but("iss", json!("https://second.example"));
    assert_eq!(verify(&table, &shared(SECRET, &named)).unwrap_err().why, Refusal::Signature);
    assert_eq!(verify(&table, &shared("second-secret", &named)).unwrap().issuer, 1);
}

#[test]
fn a_token_is_good_before_its_time_or_after_it() {
    assert_eq!(why(&but("exp", Value::Null)), Refusal::NoExpiry);
    for bad in [json!("1900000000"), json!(true), json!([1]), json!({})] {
        assert_eq!(why(&but("exp", bad)), Refusal::NoExpiry);
    }
    for (exp, good) in
        [(NOW - SKEW + 1, true), (NOW - SKEW, false), (0, false), (-1, false), (i64::MIN, false), (i64::MAX, true)]
    {
        assert_eq!(verify(&issued::table(&[SECRET]), &shared(SECRET, &issued::claims(exp))).is_ok(), good, "{exp}");
    }
    assert_eq!(why(&issued::claims(NOW - 100)), Refusal::Expired { ago: 100 });
    assert_eq!(why(&but("exp", json!(1.5))), Refusal::Expired { ago: NOW - 1 });
    for claim in ["nbf", "iat"] {
        for (begins, good) in [(NOW + SKEW, true), (NOW + SKEW + 1, false), (i64::MAX, false), (0, true)] {
            let token = shared(SECRET, &but(claim, json!(begins)));
            assert_eq!(verify(&issued::table(&[SECRET]), &token).is_ok(), good, "{claim} {begins}");
        }
        assert_eq!(why(&but(claim, json!("soon"))), Refusal::BadTime(if claim == "nbf" { "nbf" } else { "iat" }));
    }
    let whole = shared(SECRET, &but("exp", json!(1e300)));
    assert!(verify(&issued::table(&[SECRET]), &whole).is_ok(), "a time without an end in sight is still a time");
}

#[test]
fn a_huge_or_deeply_nested_token_is_worked_on() {
    let mut claims = issued::claims(NOW + 300);
    claims["pad"] = "x".repeat(TOKEN_BYTES_MAX).into();
    assert_eq!(why(&claims), Refusal::TooLong);
    let header = &parts()[0];
    let mut deep = json!(1);
    for _ in 0..120 {
        deep = json!([deep]);
    }
    assert!(verify(&issued::table(&[SECRET]), &format!("{header}.{}.x", encoded(&deep))).is_err());
}

#[test]
fn a_refusal_repeats_what_the_token_says() {
    let canary = "canary-7f3a";
    for claim in ["iss", "aud", "user", "team"] {
        let text = format!("{canary}\u{7}");
        let refused = verify(&issued::table(&[SECRET]), &shared(SECRET, &but(claim, json!(text)))).unwrap_err();
        assert!(!refused.why.to_string().contains(canary), "{claim}: {}", refused.why);
    }
}

proptest! {
    /// One bit flipped anywhere, and it is another token.
    #[test]
    fn a_token_that_was_tampered_with_is_good(at in 0usize..2000, bit in 0u8..7) {
        let table = issued::table(&[SECRET]);
        let good = shared(SECRET, &issued::claims(NOW + 300));
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        // The last digit of base64 has bits that nobody reads; every decoder must agree that they are zero, or refuse.
        prop_assert!(table.verify(&bytes, NOW).is_err(), "byte {at} of {good}");
    }

    /// Whatever comes, it is refused and nothing falls over.
    #[test]
    fn rubbish_is_good_or_fatal(text in "eyJ[A-Za-z0-9_.-]{0,200}") {
        prop_assert!(issued::table(&[SECRET]).verify(text.as_bytes(), NOW).is_err());
    }
}
