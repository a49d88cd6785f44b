//! What the language knows and this version does not do is refused, never ignored.

use super::*;

#[test]
fn a_limit_that_is_not_enforced_is_accepted() {
    for (section, start, part) in [
        ("[[rate_limit]]\nscope = \"session\"\nrequests_per_minute = 1", "rate_limit[0].scope: ", "single sessions"),
        ("[[budget]]\nscope = \"session\"\namount = \"1\"\nperiod = \"daily\"", "budget[0].scope: ", "single sessions"),
        ("[audit]\nbodies = \"hash\"", "audit.bodies: ", "in this version"),
        ("[audit]\nbodies = \"full\"", "audit.bodies: ", "in this version"),
        ("[audit.team.platform]\nbodies = \"full\"", "audit.team: ", "in this version"),
        ("[store]\nredis = \"redis://x\"", "store.redis: ", "not supported in this version"),
        ("[store]\npostgres = \"postgres://x\"", "store.postgres: ", "not supported in this version"),
    ] {
        let error = wrong(section);
        assert!(error.starts_with(start) && error.contains(part), "{error}");
    }
    for strategy in ["weighted", "affinity"] {
        let error = wrong_with("targets = ", &format!("strategy = \"{strategy}\"\ntargets = "));
        assert!(error.starts_with("model[0].strategy: only \"ordered\""), "{error}");
    }
}
