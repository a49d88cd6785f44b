//! `[audit]`: what is kept of bodies, of whose, and under which key.

use super::*;
use crate::kernel::bodies::{Bodies, OnOverflow};
use std::time::Duration;

#[test]
fn a_rule_for_bodies_lands_in_the_wrong_place() {
    let config = good(
        "[audit]\nbodies = \"hash\"\non_body_overflow = \"drop\"\nbody_retention = \"7d\"\nbody_segment_max = \"1MiB\"\n\
         body_key = \"${BODY}\"\n[audit.team.legal]\nbodies = \"full\"\n[audit.team.\"a team\"]\nbodies = \"none\"",
    );
    let rules = &config.audit.bodies;
    assert_eq!([rules.of("legal"), rules.of("a team"), rules.of("")], [Bodies::Full, Bodies::None, Bodies::Hash]);
    assert_eq!((rules.on_overflow, rules.is_off(), rules.stores_any()), (OnOverflow::Drop, false, true));
    let settings = config.audit.body_settings().unwrap();
    assert_eq!((settings.retention, settings.segment_bytes_max), (Duration::from_secs(7 * 86_400), 1 << 20));
    let config = good("[audit]\nbody_key = \"${BODY}\"");
    assert!(config.audit.bodies.is_off() && config.audit.body_settings().is_none(), "a key alone stores nothing");
    assert_eq!(config.audit.bodies.on_overflow, OnOverflow::Refuse);
}

#[test]
fn bodies_are_stored_without_a_key_or_an_error_shows_one() {
    for text in ["[audit]\nbodies = \"full\"", "[audit.team.legal]\nbodies = \"full\""] {
        let error = wrong(text);
        assert!(error.starts_with("audit.body_key: is missing") && error.contains("openssl rand -hex 32"), "{error}");
    }
    let error = wrong("[audit]\nbodies = \"full\"\nbody_key = \"${ALICE}\"");
    assert!(error.starts_with("audit.body_key: is no key") && !error.contains("alice-secret-value"), "{error}");
    let error = wrong("[audit]\nbody_key = \"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"");
    assert!(error.starts_with("audit.body_key: is a secret written out") && !error.contains("0b0c0d"), "{error}");
}

#[test]
fn a_mistake_about_bodies_is_ignored() {
    for (text, start) in [
        ("[audit]\nbodies = \"all\"", "audit.bodies: "),
        ("[audit.team.legal]\nbodys = \"full\"\nbodies = \"none\"", "audit.team.legal.bodys: is not a known key"),
        ("[audit.team.legal]", "audit.team.legal.bodies: is missing"),
        ("[audit]\nteam = { legal = \"full\" }", "audit.team.legal: is a text"),
        ("[audit]\non_body_overflow = \"wait\"", "audit.on_body_overflow: "),
        ("[audit]\nbody_retention = \"1h\"", "audit.body_retention: "),
    ] {
        let error = wrong(text);
        assert!(error.starts_with(start), "{error}");
    }
}
