//! From claims to a caller.

use super::issued::{self, NOW, but, shared, verify};
use crate::kernel::identity::{
    ClaimMap, ClaimPath, GroupTeam, Issuer, IssuerTable, NAME_BYTES_MAX, Refusal, Verified, VerifyingKey,
    token::{Refused, TokenAlgorithm},
};
use serde_json::{Value, json};

const SECRET: &str = "a-secret";

/// Judges claims with an issuer that has been changed.
fn judged(change: impl FnOnce(&mut Issuer), claims: &Value) -> Result<Verified, Refused> {
    let keys = crate::kernel::identity::IssuerKeys::Shared(vec![VerifyingKey::shared(SECRET.as_bytes())]);
    let mut issuer = issued::issuer(keys, &[TokenAlgorithm::Hs256]);
    change(&mut issuer);
    verify(&IssuerTable::new(vec![issuer]), &shared(SECRET, claims))
}

fn why(change: impl FnOnce(&mut Issuer), claims: &Value) -> Refusal {
    judged(change, claims).unwrap_err().why
}

#[test]
fn a_claim_deep_inside_or_with_a_slash_in_its_name_is_not_found() {
    let mut claims = issued::claims(NOW + 300);
    claims["act"] = json!({"who": {"a/b": "deep", "n": 7, "list": ["zero", "one"]}});
    claims["https://corp.example/team"] = json!("namespaced");
    let path = |text: &str| ClaimPath::new(text).unwrap();
    let found = judged(
        |issuer| {
            issuer.claims.user = Some(path("/act/who/a~1b"));
            issuer.claims.team = Some(path("https://corp.example/team"));
            issuer.claims.project = Some(path("/act/who/n"));
            issuer.claims.key = Some(path("/act/who/list/1"));
        },
        &claims,
    );
    let caller = found.unwrap().caller;
    assert_eq!([caller.user, caller.team, caller.project, caller.key], ["deep", "namespaced", "7", "one"]);
    assert!(ClaimPath::new("").is_none() && ClaimPath::new("/a~2").is_none() && ClaimPath::new("/a~").is_none());
}

#[test]
fn a_caller_without_a_name_or_with_a_bad_one_is_booked_on_nobody() {
    for missing in [Value::Null, json!(null)] {
        assert_eq!(why(|_| {}, &but("user", missing)), Refusal::MissingClaim("user".into()));
    }
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    for bad in [json!(""), json!(" a"), json!("a\nb"), json!(long), json!(["a"]), json!({}), json!(true), json!(1.5)] {
        for claim in ["user", "team", "project"] {
            assert_eq!(why(|_| {}, &but(claim, bad.clone())), Refusal::BadClaim(claim.into()), "{bad}");
        }
    }
    let longest = "x".repeat(NAME_BYTES_MAX);
    assert_eq!(judged(|_| {}, &but("user", json!(longest))).unwrap().caller.user, longest);
    let nobodys = judged(|_| {}, &but("team", Value::Null)).unwrap().caller;
    assert_eq!((nobodys.team.as_str(), nobodys.key.as_str()), ("", ""));
}

#[test]
fn without_a_configured_claim_nobody_has_a_name() {
    let usual = |issuer: &mut Issuer| issuer.claims = ClaimMap::default();
    let mut claims = issued::claims(NOW + 300);
    assert_eq!(why(usual, &claims), Refusal::MissingClaim("sub or email or preferred_username or upn".into()));
    claims["upn"] = json!("alice@corp");
    assert_eq!(judged(usual, &claims).unwrap().caller.user, "alice@corp");
    claims["email"] = json!("alice@example.com");
    assert_eq!(judged(usual, &claims).unwrap().caller.user, "alice@example.com");
    claims["sub"] = json!("subject-1");
    let caller = judged(usual, &claims).unwrap().caller;
    assert_eq!((caller.user.as_str(), caller.team.as_str()), ("subject-1", ""), "no claim is a team by its name alone");
}

#[test]
fn groups_let_in_whom_they_should_not_or_give_the_wrong_team() {
    let grouped = |issuer: &mut Issuer| {
        issuer.claims.groups = ClaimPath::new("groups");
        issuer.claims.group_teams = [("eng-b", "b-team"), ("eng-a", "a-team")]
            .map(|(group, team)| GroupTeam { group: group.into(), team: team.into() })
            .into();
        issuer.allow_groups = ["eng-a".into(), "eng-b".into()].into();
    };
    let with = |groups: Value| {
        let mut claims = but("team", Value::Null);
        claims["groups"] = groups;
        claims
    };
    let team = |groups| judged(grouped, &with(groups)).map(|good| good.caller.team).map_err(|refused| refused.why);
    assert_eq!(team(json!(["x", "eng-a", "eng-b"])), Ok("b-team".into()), "the first in the configuration");
    assert_eq!(team(json!("eng-a")), Ok("a-team".into()));
    for nobody in [json!([]), json!(["eng"]), json!(["eng-ab"]), json!([7]), json!("eng-a,eng-b"), Value::Null] {
        assert_eq!(team(nobody.clone()), Err(Refusal::Group), "{nobody}");
    }
    assert_eq!(team(json!({"eng-a": 1})), Err(Refusal::BadClaim("groups".into())));
    let mut elsewhere = with(Value::Null);
    elsewhere["_claim_names"] = json!({"groups": "src1"});
    assert_eq!(why(grouped, &elsewhere), Refusal::GroupsElsewhere);
    let mut own = with(json!(["eng-a"]));
    own["team"] = json!("own");
    assert_eq!(judged(grouped, &own).unwrap().caller.team, "own", "the token's own word comes first");
}
