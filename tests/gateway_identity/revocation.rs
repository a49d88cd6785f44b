//! Tokens end: by their own time, with their issuer, with their secret.

use serde_json::json;

use crate::fixture::{self, OLD_SECRET, SECRET, assert_refused, published, shared_secret};
use crate::idp::{Idp, Pair, but, claims, now, shared};
use crate::support::{DEADLINE, eventually};

#[test]
fn a_token_that_is_remembered_outlives_its_expiry() {
    let pair = Pair::ec("k1");
    let idp = Idp::start(&[&pair]);
    let gateway = fixture::start(&published(&idp, "skew = \"0s\""));
    let ends = now() + 4;
    let token = pair.token(&but("exp", json!(ends)));
    let mut good = 0;
    // Asked all the while, so that every shard remembers it.
    let last = loop {
        let answer = gateway.ask(&token);
        if answer.status != 200 {
            break answer;
        }
        good += 1;
        assert!(now() <= ends + 1, "it is good {} s after its end", now() - ends);
    };
    assert!(good > 0 && now() >= ends, "{good} answers, ended {} s early", ends - now());
    assert_refused(&last, "has expired");
}

#[test]
fn a_removed_issuer_goes_on_or_ends_what_others_run() {
    let pair = Pair::ec("k1");
    let idp = Idp::start(&[&pair]);
    let end = "[keys]\non_revoke = \"end\"\n";
    let other = fixture::jwt("hs256_secret = \"${JWT_SECRET}\"").replace("idp.example.com", "second.example");
    let gateway = fixture::start(&format!("{end}{}{other}", published(&idp, "")));
    let token = pair.token(&claims("alice@example.com"));
    let mut others = claims("bob@example.com");
    others["iss"] = json!("https://second.example");
    let others = shared(SECRET, &others);
    let mut ending = gateway.stream(&token, "events=3000,gap_ms=20");
    let mut staying = gateway.stream(&others, "events=150,gap_ms=20");
    let mut of_key = gateway.stream(fixture::ALICE_KEY, "events=150,gap_ms=20");
    // A change that has nothing to do with it ends nothing.
    gateway.reload(&format!("{end}{}{other}", published(&idp, "skew = \"5s\"")));
    ending.read_chunk().expect("it runs on");
    gateway.reload(&format!("{end}{other}"));
    assert_refused(&gateway.ask(&token), "an issuer (`iss`) that this gateway does not accept");
    assert_eq!(gateway.ask(&others).status, 200);
    let mut text = Vec::new();
    while let Some(chunk) = ending.read_chunk() {
        text.extend(chunk);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("has been revoked") && !text.contains("message_stop"), "{text}");
    for stream in [&mut staying, &mut of_key] {
        let mut text = Vec::new();
        while let Some(chunk) = stream.read_chunk() {
            text.extend(chunk);
        }
        assert!(String::from_utf8_lossy(&text).contains("message_stop"));
    }
    // Back again, with its keys: they are fetched anew.
    gateway.reload(&format!("{end}{}{other}", published(&idp, "")));
    gateway.let_in(&token);
}

#[test]
fn a_secret_cannot_be_rotated_or_never_goes() {
    let both = shared_secret("").replace("\"${JWT_SECRET}\"", "[\"${JWT_SECRET}\", \"${OLD_SECRET}\"]");
    let gateway = fixture::start(&both);
    let (new, old) = (shared(SECRET, &claims("a@example.com")), shared(OLD_SECRET, &claims("a@example.com")));
    assert_eq!((gateway.ask(&new).status, gateway.ask(&old).status), (200, 200));
    gateway.reload(&shared_secret(""));
    assert_refused(&gateway.ask(&old), "signature");
    assert_eq!(gateway.ask(&new).status, 200);
    eventually(DEADLINE, "on every connection", || (gateway.ask(&old).status == 401).then_some(()));
}
