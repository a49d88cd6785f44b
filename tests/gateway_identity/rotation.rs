//! The issuer changes its keys, loses them, or cannot be reached, while the gateway serves.

use std::time::Instant;

use weir::kernel::limits::{JWKS_WANTED_BURST, JWKS_WANTED_EVERY};

use crate::fixture::{self, assert_not_yet, assert_refused, published};
use crate::idp::{Idp, Pair, claims};
use crate::support::{DEADLINE, eventually};

#[test]
fn a_new_key_is_not_found_until_the_next_regular_fetch_and_an_old_one_never_goes() {
    let (old, new) = (Pair::rsa("2026-10"), Pair::rsa("2026-11"));
    let idp = Idp::start(&[&old]);
    let gateway = fixture::start(&published(&idp, "refresh = \"1h\""));
    let (before, after) = (old.token(&claims("alice@example.com")), new.token(&claims("alice@example.com")));
    assert_eq!(gateway.ask(&before).status, 200);
    // Both for a while, as issuers do it; the first token with the new key is what makes weir ask.
    idp.publish(&[&old, &new]);
    gateway.let_in(&after);
    assert_eq!(idp.asked(), 2, "one token, one fetch");
    assert_eq!(gateway.ask(&before).status, 200);
    // The old key is gone: tokens that were verified with it and are remembered end with it.
    idp.publish(&[&new]);
    let third = Pair::rsa("2026-12");
    eventually(DEADLINE, "the old key counts no more", || {
        assert_eq!(gateway.ask(&third.token(&claims("a"))).status, 401);
        (gateway.ask(&before).status == 401).then_some(())
    });
    assert_eq!(gateway.ask(&after).status, 200);
}

#[test]
fn a_set_is_fetched_only_when_somebody_asks() {
    let (old, new) = (Pair::ec("k1"), Pair::ec("k2"));
    let idp = Idp::start(&[&old]);
    let gateway = fixture::start(&published(&idp, "refresh = \"1s\""));
    let before = old.token(&claims("alice@example.com"));
    assert_eq!(gateway.ask(&before).status, 200);
    idp.publish(&[&new]);
    idp.asked_more(2);
    gateway.settle();
    eventually(DEADLINE, "the old key counts no more", || (gateway.ask(&before).status == 401).then_some(()));
    assert_eq!(gateway.ask(&new.token(&claims("alice@example.com"))).status, 200);
}

#[test]
fn unknown_keys_make_weir_hammer_the_identity_provider() {
    let (known, unknown) = (Pair::ec("k1"), Pair::ec("k2"));
    let idp = Idp::start(&[&known]);
    let gateway = fixture::start(&published(&idp, ""));
    let began = Instant::now();
    let good = known.token(&claims("alice@example.com"));
    let mut turn = 0;
    let mut ask = || {
        turn += 1;
        let refused = gateway.ask(&unknown.token(&claims(&format!("user-{turn}"))));
        assert_eq!(refused.status, 401, "{}", refused.text());
    };
    eventually(DEADLINE, "the cap is reached", || {
        ask();
        (idp.asked() > JWKS_WANTED_BURST as usize).then_some(())
    });
    (0..200).for_each(|_| ask());
    let later = began.elapsed().as_secs() / JWKS_WANTED_EVERY.as_secs();
    let most = 1 + JWKS_WANTED_BURST as usize + later as usize;
    assert!(idp.asked() <= most, "{} fetches, at most {most}", idp.asked());
    assert_eq!(gateway.ask(&good).status, 200);
    assert_eq!(gateway.reached(), 1);
}

#[test]
fn a_failing_identity_provider_locks_everybody_out() {
    let pair = Pair::ec("k1");
    let idp = Idp::start(&[&pair]);
    let gateway = fixture::start(&published(&idp, "refresh = \"1s\""));
    let token = |user: &str| pair.token(&claims(user));
    assert_eq!(gateway.ask(&token("a")).status, 200);
    for (break_it, told) in [
        (Box::new(|idp: &Idp| idp.fail(500)) as Box<dyn Fn(&Idp)>, "the answer is 500"),
        (Box::new(|idp: &Idp| idp.fail(302)), "the answer is 302"),
        (Box::new(|idp: &Idp| idp.fail(200)), "no usable set of keys"),
        (Box::new(|idp: &Idp| idp.flood()), "larger than 256 KiB"),
    ] {
        break_it(&idp);
        idp.asked_more(2);
        assert_eq!(gateway.ask(&token(told)).status, 200, "{told}");
        eventually(DEADLINE, told, || gateway.weir.log().contains(told).then_some(()));
    }
    assert!(gateway.weir.log().contains("the last good ones stay in force"), "{}", gateway.weir.log());
    // An operator's alarm: the keys grow old.
    let age = || gateway.weir.metric("weir_token_keys_age_seconds", &["issuer=\"https://idp.example.com\""]);
    eventually(DEADLINE, "old keys show", || (age() >= 2.0 && age() < 1e6).then_some(()));
    // It comes back with another key, and is believed.
    let next = Pair::ec("k2");
    idp.publish(&[&next]);
    gateway.let_in(&next.token(&claims("b")));
    eventually(DEADLINE, "fresh keys show", || (age() <= 2.0).then_some(()));
}

#[test]
fn an_identity_provider_that_is_away_keeps_weir_from_starting() {
    let pair = Pair::ec("k1");
    let idp = Idp::start(&[&pair]);
    idp.fail(503);
    let gateway = fixture::start(&published(&idp, ""));
    assert!(gateway.weir.log().contains("the issuer's keys cannot be fetched"), "{}", gateway.weir.log());
    let token = pair.token(&claims("alice@example.com"));
    let refused = gateway.ask(&token);
    assert_not_yet(&refused);
    assert_eq!(gateway.record_of(&refused)["refused_by"], "token_key_unknown");
    assert_eq!(gateway.ask(fixture::ALICE_KEY).status, 200, "keys do not need it");
    idp.publish(&[&pair]);
    gateway.let_in(&token);
}

#[test]
fn a_silent_identity_provider_holds_up_the_start_or_a_request() {
    let pair = Pair::ec("k1");
    let idp = Idp::start(&[&pair]);
    idp.hang();
    // The start waits for one fetch at most, which has its own end.
    let gateway = fixture::start(&published(&idp, ""));
    assert_not_yet(&gateway.ask(&pair.token(&claims("alice@example.com"))));
    assert_eq!(gateway.ask(fixture::ALICE_KEY).status, 200);
    assert!(gateway.weir.log().contains("no answer in time"), "{}", gateway.weir.log());
    idp.publish(&[&pair]);
    gateway.let_in(&pair.token(&claims("alice@example.com")));
}

#[test]
fn a_key_that_is_published_and_unknown_is_called_forged() {
    let (known, unknown) = (Pair::ec("k1"), Pair::ec("k2"));
    let idp = Idp::start(&[&known]);
    let gateway = fixture::start(&published(&idp, ""));
    // Just fetched: the issuer does not have it, and trying again for minutes helps nobody.
    assert_refused(&gateway.ask(&unknown.token(&claims("a"))), "its issuer does not publish");
}
