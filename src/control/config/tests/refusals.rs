//! What the language knows and this version does not do is refused, never ignored.

use super::*;

#[test]
fn a_limit_that_is_not_enforced_is_accepted() {
    for (section, start, part) in [
        ("[[rate_limit]]\nscope = \"session:s\"\nrequests_per_minute = 1", "rate_limit[0].scope: ", "each session"),
        ("[[budget]]\nscope = \"session:s\"\namount = \"1\"\nperiod = \"daily\"", "budget[0].scope: ", "each session"),
        ("[store]\nredis = \"redis://x\"", "store.redis: ", "not supported in this version"),
        ("[store]\npostgres = \"postgres://x\"", "store.postgres: ", "not supported in this version"),
    ] {
        let error = wrong(section);
        assert!(error.starts_with(start) && error.contains(part), "{error}");
    }
}

#[test]
fn a_mode_of_repair_that_nobody_knows_is_taken_for_off() {
    for mode in ["off", "observe", "repair"] {
        assert_eq!(errors_of(&format!("{BASE}\n[repair]\nmode = \"{mode}\"\n")), Vec::<String>::new());
    }
    let error = wrong("[repair]\nmode = \"on\"");
    assert!(error.starts_with("repair.mode: ") && error.contains("observe"), "{error}");
    let error = wrong("[repair]\nmodes = \"off\"");
    assert!(error.starts_with("repair.modes: "), "{error}");
}
