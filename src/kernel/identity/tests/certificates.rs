//! From a client certificate to a caller.

use crate::kernel::{
    identity::{CertificateName, CertificateNames, CertificateRule, NAME_BYTES_MAX, certificate::NameRule},
    policy::{AllowList, Pattern},
};
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

const KINDS: [CertificateName; 4] =
    [CertificateName::SanUri, CertificateName::SanDns, CertificateName::SanEmail, CertificateName::CommonName];

fn names(common: Option<&str>, alternative: Vec<SanType>) -> CertificateNames {
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternative;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(common) = common {
        params.distinguished_name.push(DnType::CommonName, common);
    }
    let key = KeyPair::generate().unwrap();
    CertificateNames::of(params.self_signed(&key).unwrap().der())
}

fn rule(identity: CertificateName, rules: &[(&str, &str, &str)]) -> CertificateRule {
    let rules = rules.iter().map(|(pattern, team, project)| NameRule {
        pattern: Pattern::new(pattern),
        team: (*team).to_owned(),
        project: (*project).to_owned(),
    });
    CertificateRule { identity, rules: rules.collect(), models: AllowList::everything() }
}

fn users(of: &CertificateNames) -> [Option<String>; 4] {
    KINDS.map(|kind| rule(kind, &[]).caller(of).map(|caller| caller.user))
}

#[test]
fn one_kind_of_name_is_taken_for_another() {
    let text = |text: &str| text.to_owned().try_into().unwrap();
    let all = names(
        Some("common"),
        vec![
            SanType::DnsName(text("build-1.corp.example")),
            SanType::DnsName(text("second.corp.example")),
            SanType::Rfc822Name(text("ci@corp.example")),
            SanType::URI(text("spiffe://corp.example/ci/build-1")),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ],
    );
    let expected = ["spiffe://corp.example/ci/build-1", "build-1.corp.example", "ci@corp.example", "common"];
    assert_eq!(users(&all), expected.map(|name| Some(name.to_owned())));
    assert_eq!(users(&names(Some("only"), vec![])), [None, None, None, Some("only".into())]);
    assert_eq!(users(&names(None, vec![])), [None, None, None, None]);
}

#[test]
fn a_name_that_is_none_or_a_certificate_that_is_none_makes_a_caller() {
    for bad in ["", " x", "a\u{7}b", &"x".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(users(&names(Some(bad), vec![]))[3], None, "{bad:?}");
    }
    for rubbish in [&b""[..], b"0", &[0x30; 400], b"-----BEGIN CERTIFICATE-----"] {
        assert_eq!(CertificateNames::of(rubbish), CertificateNames::default());
    }
}

#[test]
fn a_rule_gives_the_wrong_team() {
    let rules = [("spiffe://corp.example/ci/*", "ci", "builds"), ("spiffe://*", "others", ""), ("*", "", "")];
    let of = |uri: &str| {
        let caller = rule(CertificateName::SanUri, &rules)
            .caller(&names(None, vec![SanType::URI(uri.to_owned().try_into().unwrap())]))
            .unwrap();
        assert_eq!((caller.user.as_str(), caller.key.as_str()), (uri, ""));
        (caller.team, caller.project)
    };
    assert_eq!(of("spiffe://corp.example/ci/build-1"), ("ci".into(), "builds".into()));
    assert_eq!(of("spiffe://corp.example/cix"), ("others".into(), String::new()));
    assert_eq!(of("https://corp.example"), (String::new(), String::new()));
}
