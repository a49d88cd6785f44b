//! `[[jwt]]`, `[mtls]` and `trusted_peers`.

use super::*;
use crate::kernel::identity::{CertificateName, TokenAlgorithm};
use std::time::Duration;

const SHARED: &str = "[[jwt]]\nissuer = \"https://idp\"\naudience = \"weir\"\nhs256_secret = \"${BOB}\"\n";
const PUBLISHED: &str = "[[jwt]]\nissuer = \"https://idp\"\naudience = \"weir\"\njwks_url = \"https://idp/keys\"\n";

#[test]
fn an_issuer_is_read_wrongly() {
    let config = good(
        "[[jwt]]\nissuer = \"https://idp\"\naudience = [\"weir\", \"weir-eu\"]\nrefresh = \"10m\"\nskew = \"5s\"\n\
         jwks_url = \"https://idp:8443/keys?appid=1\"\nalgorithms = [\"ES256\", \"EdDSA\"]\nmodels = [\"claude-*\"]\n\
         claims = { user = \"/act/sub\", team = \"https://corp/team\", key = \"azp\", groups = \"groups\" }\n\
         allow_groups = [\"a\"]\ngroup_teams = [{ group = \"a\", team = \"platform\" }]\n\
         [[jwt]]\nissuer = \"second\"\naudience = \"weir\"\nhs256_secret = [\"${BOB}\", \"${ALICE}\"]",
    );
    let [first, second] = &config.jwt[..] else { panic!("two issuers") };
    assert_eq!((first.audiences.len(), first.skew, first.allow_groups.len()), (2, Duration::from_secs(5), 1));
    assert_eq!(first.algorithms, [TokenAlgorithm::Es256, TokenAlgorithm::EdDsa]);
    assert_eq!(first.claims.team.as_ref().map(|claim| claim.as_str()), Some("https://corp/team"));
    assert_eq!(&*first.claims.group_teams[0].team, "platform");
    assert!(matches!(&first.source, Some(KeySource::Published { url, refresh, ca: None })
        if url == "https://idp:8443/keys?appid=1" && *refresh == Duration::from_secs(600)));
    assert!(matches!(&second.source, Some(KeySource::Shared(secrets)) if secrets[1].expose() == "alice-secret-value"));
    assert_eq!((&second.algorithms[..], second.skew), (&[TokenAlgorithm::Hs256][..], Duration::from_secs(60)));
    assert_eq!(good(PUBLISHED).jwt[0].algorithms, TokenAlgorithm::PUBLIC);
    let short = good(SHARED).short_secrets();
    assert!(short.len() == 1 && short[0].starts_with("jwt[0].hs256_secret is shorter than 32 bytes"), "{short:?}");
    assert!(!short[0].contains("bob-secret"));
}

#[test]
fn an_issuer_that_would_let_in_strangers_is_accepted() {
    let with = |more: &str| format!("{SHARED}{more}");
    let of = |more: &str| format!("{PUBLISHED}{more}");
    for (section, start, part) in [
        (SHARED.replace("audience = \"weir\"\n", ""), "jwt[0].audience: is missing", "other services"),
        (SHARED.replace("\"weir\"", "[]"), "jwt[0].audience: has no text", "write audience"),
        (SHARED.replace("\"weir\"", "\" \""), "jwt[0].audience", "plain text"),
        (SHARED.replace("issuer = \"https://idp\"\n", ""), "jwt[0].issuer: is missing", "idp.example.com"),
        (SHARED.replace("${BOB}", "in-clear"), "jwt[0].hs256_secret: is a secret written out", "${NAME}"),
        (SHARED.replace("\"${BOB}\"", "[\"${BOB}\", \"clear\"]"), "jwt[0].hs256_secret[1]: is a secret", "${NAME}"),
        (SHARED.replace("\"${BOB}\"", "[]"), "jwt[0].hs256_secret: has no secret", "list"),
        (with("jwks_url = \"https://x\""), "jwt[0]: has both", "jwks_url = "),
        ("[[jwt]]\nissuer = \"i\"\naudience = \"a\"".to_owned(), "jwt[0]: has neither", "hs256_secret = "),
        (with("algorithms = [\"RS256\"]"), "jwt[0].algorithms[0]: is \"RS256\"", "never mix"),
        (of("algorithms = [\"HS256\"]"), "jwt[0].algorithms[0]: is \"HS256\"", "never mix"),
        (of("algorithms = [\"none\"]"), "jwt[0].algorithms[0]: is \"none\"", "RS256, ES256, EdDSA"),
        (of("algorithms = []"), "jwt[0].algorithms: allows none", "RS256"),
        (with("refresh = \"5m\""), "jwt[0].refresh: belongs to jwks_url", "remove"),
        (PUBLISHED.replace("https://idp/keys", "http://idp/keys"), "jwt[0].jwks_url: is plain HTTP", "https://"),
        (PUBLISHED.replace("https://idp/keys", "https://u:p@idp/keys"), "jwt[0].jwks_url: is no URL", "https://"),
        (PUBLISHED.replace("https://idp/keys", "file:///etc/passwd"), "jwt[0].jwks_url: is no URL", "https://"),
        (with("skew = \"1h\""), "jwt[0].skew: is \"1h\"", "5m"),
        (with("claims = { usr = \"sub\" }"), "jwt[0].claims.usr: is not a known key", "user"),
        (with("claims = { user = \"\" }"), "jwt[0].claims.user: is \"\"", "JSON Pointer"),
        (with("claims = { user = \"/a~b\" }"), "jwt[0].claims.user", "~0"),
        (with("allow_groups = [\"a\"]"), "jwt[0].allow_groups: needs to know", "groups = "),
        (with("claims = { groups = \"g\" }\nallow_groups = []"), "jwt[0].allow_groups: allows nobody", "remove"),
        (with("models = []"), "jwt[0].models: allows no model", "claude-*"),
        (with("models = [\"gpt-*\"]"), "jwt[0].models[0]: \"gpt-*\" matches no model", "known"),
        (format!("{SHARED}{PUBLISHED}"), "jwt[1].issuer: is the issuer of another table too (jwt[0].issuer)", "list"),
        (of("ca = \"/none.pem\""), "jwt[0].ca: ", "PEM"),
    ] {
        let error = wrong(&section);
        assert!(error.starts_with(start) && error.contains(part), "{section}\n{error}");
        assert!(!error.contains("u:p@"), "{error}");
    }
    // On this machine a set may be plain HTTP.
    good(&PUBLISHED.replace("https://idp/keys", "http://127.0.0.1:9/keys"));
}

#[test]
fn certificates_say_who_calls_though_nobody_asks_for_them() {
    let error = wrong("[mtls]\nidentity = \"san_uri\"");
    assert!(error.starts_with("mtls: no client certificate is asked for; write client_ca"), "{error}");
    let dir = tls_dir();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let (cert, key) = (file("tls.crt"), file("tls.key"));
    let listen = format!("[listen]\ntls = {{ cert = \"{cert}\", key = \"{key}\", client_ca = \"{cert}\" }}\n");
    let mtls = good(&format!(
        "{listen}[mtls]\nidentity = \"cn\"\nproject = \"p\"\nrules = [{{ match = \"ci-*\", team = \"ci\" }}]"
    ));
    let mtls = mtls.mtls.unwrap();
    assert_eq!(mtls.identity, Some(CertificateName::CommonName));
    let rules: Vec<_> = mtls.rules.iter().map(|r| (r.pattern.as_str(), r.team.as_str(), r.project.as_str())).collect();
    assert_eq!(rules, [("ci-*", "ci", ""), ("*", "", "p")]);
    for (section, start) in [
        ("", "mtls.identity: is missing"),
        ("identity = \"subject\"", "mtls.identity: is \"subject\""),
        ("identity = \"cn\"\nrules = [{ match = \"x\" }]", "mtls.rules[0]: gives neither team nor project"),
        ("identity = \"cn\"\nrules = [{ team = \"x\" }]", "mtls.rules[0].match: is missing"),
        ("identity = \"cn\"\nuser = \"x\"", "mtls.user: is not a known key"),
    ] {
        let error = wrong(&format!("{listen}[mtls]\n{section}"));
        assert!(error.starts_with(start), "{error}");
    }
}

#[test]
fn the_whole_internet_speaks_for_everybody() {
    let config =
        BASE.replace("team = \"platform\"", "team = \"platform\"\ntrusted_peers = [\"10.1.2.3\", \"fd00::/8\"]");
    let config = parsed(&config).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let peers: Vec<String> = config.keys[0].trusted_peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["10.1.2.3/32", "fd00::/8"]);
    for wide in ["0.0.0.0/0", "::/0"] {
        let error = wrong_with("team = \"platform\"", &format!("trusted_peers = [\"{wide}\"]"));
        assert!(error.starts_with("key[0].trusted_peers: trusts every address"), "{error}");
    }
}
