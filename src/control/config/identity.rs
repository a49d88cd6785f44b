//! `[[jwt]]` and `[mtls]`: callers that the configuration does not list one by one.

use super::{
    base_url,
    reader::{Reader, shown},
    types::{JwtConfig, KeySource, MtlsConfig},
};
use crate::kernel::{
    identity::{CertificateName, ClaimMap, ClaimPath, GroupTeam, TokenAlgorithm, certificate::NameRule, is_name},
    limits::ISSUERS_MAX,
    policy::Pattern,
};
use std::{collections::HashMap, time::Duration};

/// How far clocks may be apart unless the operator says otherwise (contract.md §2.1).
const SKEW: Duration = Duration::from_secs(60);
/// The most that can be set: a longer one would make expiry mean little.
const SKEW_MAX: Duration = Duration::from_secs(300);
/// How often published keys are fetched unless the operator says otherwise.
const REFRESH: Duration = Duration::from_secs(300);
/// Secrets that can be in force at once.
const SECRETS_MAX: usize = 8;

/// Reads all issuers; each has one table.
pub(super) fn jwt(root: &Reader<'_>) -> Vec<JwtConfig> {
    let mut names: HashMap<String, String> = HashMap::new();
    let mut issuers = Vec::new();
    for reader in root.tables("jwt") {
        let issuer = issuer(&reader);
        if !issuer.issuer.is_empty()
            && let Some(first) = names.insert(issuer.issuer.clone(), reader.path_of("issuer"))
        {
            let mend = "write one table for each issuer; audience may be a list";
            reader.error("issuer", format!("is the issuer of another table too ({first})"), mend);
        }
        issuers.push(issuer);
    }
    if issuers.len() > ISSUERS_MAX {
        root.error("jwt", format!("there are {}", issuers.len()), format!("write at most {ISSUERS_MAX}"));
    }
    issuers
}

fn issuer(reader: &Reader<'_>) -> JwtConfig {
    let written = reader.need_text("issuer", "https://idp.example.com");
    let source = source(reader);
    let algorithms = algorithms(reader, source.as_ref());
    let mut claims = claims(reader);
    let group_teams = group_teams(reader);
    let allow_groups: Vec<String> = plain_texts(reader, "allow_groups");
    for (key, used) in [("allow_groups", !allow_groups.is_empty()), ("group_teams", !group_teams.is_empty())] {
        if used && claims.groups.is_none() {
            reader.error(key, "needs to know where the groups stand", "write claims = { …, groups = \"groups\" }");
        }
    }
    if is_empty_list(reader, "allow_groups") {
        reader.error("allow_groups", "allows nobody or means everybody", "name groups, or remove it");
    }
    claims.group_teams = group_teams.into();
    let config = JwtConfig {
        issuer: reader.label("issuer", written),
        audiences: audiences(reader),
        source,
        algorithms,
        skew: reader.duration("skew", SKEW, Duration::ZERO..=SKEW_MAX),
        claims,
        allow_groups,
        models: models(reader),
    };
    reader.finish();
    config
}

fn audiences(reader: &Reader<'_>) -> Vec<String> {
    if !reader.has("audience") {
        let mend = "write audience = \"weir\", the `aud` that the issuer puts into tokens for this gateway";
        reader.error("audience", "is missing, and tokens meant for other services would be good here", mend);
        return Vec::new();
    }
    if is_empty_list(reader, "audience") {
        reader.error("audience", "has no text in it", "write audience = \"weir\", or a list of such names");
    }
    plain_texts(reader, "audience")
}

fn is_empty_list(reader: &Reader<'_>, key: &'static str) -> bool {
    reader.has(key) && reader.one_or_more_texts(key).is_some_and(|texts| texts.is_empty())
}

/// One text or a list of them, each neither empty nor absurdly long.
fn plain_texts(reader: &Reader<'_>, key: &'static str) -> Vec<String> {
    let mut texts = Vec::new();
    for (item, text) in reader.one_or_more_texts(key).unwrap_or_default() {
        if is_name(text) {
            texts.push(text.to_owned());
        } else {
            reader.error(&item, format!("is {}", shown(text)), "write 1 to 256 bytes of plain text");
        }
    }
    texts
}

fn source(reader: &Reader<'_>) -> Option<KeySource> {
    const MEND: &str =
        "write jwks_url = \"https://…\" for published keys, or hs256_secret = \"${NAME}\" for a shared secret";
    match (reader.has("jwks_url"), reader.has("hs256_secret")) {
        (true, false) => published(reader),
        (false, true) => {
            for key in ["refresh", "ca"] {
                if reader.has(key) {
                    reader.error(key, "belongs to jwks_url", "remove it");
                }
            }
            let secrets = reader.secrets("hs256_secret");
            if secrets.len() > SECRETS_MAX {
                reader.error("hs256_secret", format!("has {} secrets", secrets.len()), "write at most 8");
            }
            (!secrets.is_empty()).then_some(KeySource::Shared(secrets))
        }
        (both, _) => {
            // Told once, here: what else belongs to either is not worth a second error.
            let [_, _] = [reader.has("refresh"), reader.has("ca")];
            let message =
                if both { "has both jwks_url and hs256_secret" } else { "has neither jwks_url nor hs256_secret" };
            reader.error_here(message, MEND);
            None
        }
    }
}

fn published(reader: &Reader<'_>) -> Option<KeySource> {
    let refresh = reader.duration("refresh", REFRESH, Duration::from_secs(1)..=Duration::from_secs(86_400));
    let ca = reader.file("ca");
    let text = reader.text("jwks_url")?;
    let mend = "write \"https://HOST/PATH\", where the issuer publishes its keys";
    let url = reqwest::Url::parse(text).ok().filter(|url| url.fragment().is_none());
    // The same judgement as for upstreams: scheme, host, no password. A query is allowed; some issuers have one.
    let place = base_url::parse(text.split(['?', '/']).take(3).collect::<Vec<_>>().join("/").as_str());
    let (Some(_), Ok(place)) = (url, place) else {
        reader.error("jwks_url", "is no URL of a key set", mend);
        return None;
    };
    if !place.tls && !place.is_loopback() {
        let what = "is plain HTTP: who answers in its place makes keys, and so callers";
        reader.error("jwks_url", what, mend);
        return None;
    }
    Some(KeySource::Published { url: text.to_owned(), refresh, ca })
}

fn algorithms(reader: &Reader<'_>, source: Option<&KeySource>) -> Vec<TokenAlgorithm> {
    let possible: &[TokenAlgorithm] = match source {
        Some(KeySource::Shared(_)) => &[TokenAlgorithm::Hs256],
        _ => &TokenAlgorithm::PUBLIC,
    };
    let Some(texts) = reader.texts("algorithms") else { return possible.to_vec() };
    let names: Vec<&str> = possible.iter().map(|algorithm| algorithm.as_str()).collect();
    if texts.is_empty() {
        reader.error("algorithms", "allows none", format!("write some of {}, or remove it", names.join(", ")));
    }
    let mut chosen = Vec::new();
    for (item, text) in texts {
        match possible.iter().find(|algorithm| algorithm.as_str() == text) {
            Some(algorithm) => chosen.push(*algorithm),
            None => {
                let mend = format!("write one of {}; published keys and shared secrets never mix", names.join(", "));
                reader.error(&item, format!("is {}", shown(text)), mend);
            }
        }
    }
    chosen
}

fn claims(reader: &Reader<'_>) -> ClaimMap {
    let Some(claims) = reader.table("claims") else { return ClaimMap::default() };
    let path = |key: &'static str| {
        let text = claims.text(key)?;
        let path = ClaimPath::new(text);
        if path.is_none() {
            let mend = "write the claim's name, or a JSON Pointer such as \"/org/team\" (~ is ~0, / is ~1)";
            claims.error(key, format!("is {}", shown(text)), mend);
        }
        path
    };
    let map = ClaimMap {
        user: path("user"),
        team: path("team"),
        project: path("project"),
        key: path("key"),
        groups: path("groups"),
        group_teams: Box::default(),
    };
    claims.finish();
    map
}

fn group_teams(reader: &Reader<'_>) -> Vec<GroupTeam> {
    let mut mapped = Vec::new();
    for entry in reader.tables("group_teams") {
        let (group, team) = (entry.need_text("group", "eng-platform"), entry.need_text("team", "platform"));
        let (group, team) = (entry.label("group", group), entry.label("team", team));
        entry.finish();
        mapped.push(GroupTeam { group: group.into(), team: team.into() });
    }
    mapped
}

fn models(reader: &Reader<'_>) -> Option<Vec<Pattern>> {
    let texts = reader.texts("models")?;
    if texts.is_empty() {
        reader.error("models", "allows no model at all", "name models such as \"claude-*\", or remove it to allow all");
    }
    Some(texts.into_iter().map(|(_, text)| Pattern::new(text)).collect())
}

/// Reads `[mtls]`.
pub(super) fn mtls(root: &Reader<'_>) -> Option<MtlsConfig> {
    const NAMES: [(&str, CertificateName); 4] = [
        ("san_uri", CertificateName::SanUri),
        ("san_dns", CertificateName::SanDns),
        ("san_email", CertificateName::SanEmail),
        ("cn", CertificateName::CommonName),
    ];
    let reader = root.table("mtls")?;
    let identity = match reader.need_text("identity", "san_uri") {
        Some(_) => reader.choice("identity", &NAMES),
        None => None,
    };
    let mut rules = Vec::new();
    for rule in reader.tables("rules") {
        let pattern = rule.need_text("match", "spiffe://example.com/ci/*").unwrap_or_default();
        let (team, project) = (rule.optional_label("team"), rule.optional_label("project"));
        if team.is_empty() && project.is_empty() {
            rule.error_here("gives neither team nor project", "write team = \"…\", project = \"…\" or both");
        }
        rule.finish();
        rules.push(NameRule { pattern: Pattern::new(pattern), team, project });
    }
    // What stands beside the rules is for everybody whom no rule fits.
    let (team, project) = (reader.optional_label("team"), reader.optional_label("project"));
    rules.push(NameRule { pattern: Pattern::new("*"), team, project });
    let config = MtlsConfig { identity, rules, models: models(&reader) };
    reader.finish();
    Some(config)
}
