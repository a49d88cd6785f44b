//! What sections say about each other: names that must exist, rules that would apply to nobody, files that must be readable.

use super::{
    error::ConfigError,
    reader::Context,
    tls,
    types::{Config, KeyConfig, KeySource, ScopeKind, ScopePattern},
    units,
};
use crate::kernel::pricing::canonical;

/// The least a secret for HS256 should have. Bytes.
const HS256_SECRET_BYTES: usize = 32;

/// Checks a whole configuration, placeholders included.
pub(super) fn check(config: &Config, context: &Context<'_>) {
    let note = |path: String, message: String, mend: String| context.note(ConfigError::new(path, message, mend));
    presence(config, &note);
    targets(config, &note);
    prices(config, &note);
    allow_lists(config, &note);
    certificates(config, &note);
    files(config, context);
}

type Note<'a> = &'a dyn Fn(String, String, String);

fn presence(config: &Config, note: Note<'_>) {
    if config.upstreams.is_empty() {
        let mend = "add [[upstream]] with name, provider = \"anthropic\" and auth";
        note("upstream".into(), "there is none".into(), mend.into());
    }
    if config.models.is_empty() && !config.passthrough {
        let mend = "add [[model]] with id and targets, or write [models] and passthrough = true to serve every id";
        note("model".into(), "there is none, so no request could be served".into(), mend.into());
    }
}

/// Says that a name is not known, and which ones are.
fn unknown<'a>(written: &str, known: impl Iterator<Item = &'a str> + Clone, what: &str) -> (String, String) {
    let mend = match units::nearest(written, known.clone()) {
        Some(near) => format!("did you mean \"{near}\"?"),
        None if known.clone().next().is_none() => format!("there is no {what}"),
        None => format!("known: {}", units::listed(known)),
    };
    (format!("no {what} is called \"{written}\""), mend)
}

fn targets(config: &Config, note: Note<'_>) {
    let names = config.upstreams.iter().map(|u| u.name.as_str()).filter(|name| !name.is_empty());
    for (place, model) in config.models.iter().enumerate() {
        for (at, target) in model.targets.iter().enumerate() {
            if !target.upstream.is_empty() && !names.clone().any(|name| name == target.upstream) {
                let (message, mend) = unknown(&target.upstream, names.clone(), "upstream");
                note(format!("model[{place}].targets[{at}].upstream"), message, mend);
            }
        }
    }
}

fn prices(config: &Config, note: Note<'_>) {
    let names = config.upstreams.iter().map(|u| u.name.as_str()).filter(|name| !name.is_empty());
    for (place, price) in config.pricing.overrides.iter().enumerate() {
        if price.upstream.is_empty() || price.model.is_empty() {
            continue;
        }
        if !names.clone().any(|name| name == &*price.upstream) {
            let (message, mend) = unknown(&price.upstream, names.clone(), "upstream");
            note(format!("price[{place}].upstream"), message, mend);
        } else if !config.passthrough && !priced(config, &price.upstream, &price.model) {
            let message = format!("no model with a target at \"{}\" is called \"{}\"", price.upstream, price.model);
            let mend =
                "write the model's id, or the id it has at that upstream; a price that matches nothing changes nothing";
            note(format!("price[{place}].model"), message, mend.into());
        }
    }
}

fn priced(config: &Config, upstream: &str, written: &str) -> bool {
    let same = |id: &str| id == written || canonical(id) == written;
    config.models.iter().any(|model| {
        let mut here = model.targets.iter().filter(|target| target.upstream == upstream).peekable();
        let asked = std::iter::once(&model.id).chain(&model.aliases).any(|id| same(id));
        here.peek().is_some() && (asked || here.any(|target| target.model.as_deref().is_some_and(same)))
    })
}

fn allow_lists(config: &Config, note: Note<'_>) {
    if config.passthrough || config.models.is_empty() {
        return;
    }
    let ids = || config.models.iter().flat_map(|m| std::iter::once(&m.id).chain(&m.aliases)).map(String::as_str);
    let keys = config.keys.iter().enumerate().map(|(place, key)| (format!("key[{place}]"), &key.models));
    let jwt = config.jwt.iter().enumerate().map(|(place, issuer)| (format!("jwt[{place}]"), &issuer.models));
    let mtls = config.mtls.iter().map(|mtls| ("mtls".to_owned(), &mtls.models));
    for (table, models) in keys.chain(jwt).chain(mtls) {
        for (at, pattern) in models.iter().flatten().enumerate() {
            if !ids().any(|id| pattern.matches(id)) {
                let message = format!("\"{}\" matches no model", pattern.as_str());
                note(format!("{table}.models[{at}]"), message, format!("known: {}", units::listed(ids())));
            }
        }
    }
}

fn certificates(config: &Config, note: Note<'_>) {
    let asked_for = config.listen.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
    if config.mtls.is_some() && !asked_for {
        let mend = "write client_ca in listen.tls, so that clients show certificates, or remove [mtls]";
        note("mtls".into(), "no client certificate is asked for".into(), mend.into());
    }
}

impl ScopeKind {
    /// The id a key has under this kind; empty for none.
    pub(super) fn id_of(self, key: &KeyConfig) -> &str {
        match self {
            Self::Org | Self::Session => "",
            Self::Team => &key.team,
            Self::Project => &key.project,
            Self::User => &key.user,
            Self::Key => &key.id,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Org => "org",
            Self::Team => "team",
            Self::Project => "project",
            Self::User => "user",
            Self::Key => "key",
            Self::Session => "session",
        }
    }
}

impl Config {
    /// Budgets and rate limits that limit nobody, each in a sentence: no key has their id, neither a configured one nor one of
    /// `made`. They are no errors, since keys come and go at run time, but may well be misspelt.
    pub fn idle_scopes(&self, made: &[KeyConfig]) -> Vec<String> {
        // A token, a certificate or a trusted peer may name anybody.
        let speaks = |key: &KeyConfig| !key.trusted_peers.is_empty();
        if !self.jwt.is_empty() || self.mtls.is_some() || self.keys.iter().any(speaks) {
            return Vec::new();
        }
        let budgets = self.budgets.iter().enumerate().map(|(place, budget)| ("budget", place, &budget.scope));
        let limits = self.rate_limits.iter().enumerate().map(|(place, limit)| ("rate_limit", place, &limit.scope));
        let mut idle = Vec::new();
        for (table, place, scope) in budgets.chain(limits) {
            let Some(ScopePattern::One(kind, id)) = scope else { continue };
            let ids = || self.keys.iter().chain(made).map(|key| kind.id_of(key)).filter(|id| !id.is_empty());
            if !ids().any(|known| known == id) {
                let hint = match units::nearest(id, ids()) {
                    Some(near) => format!("; did you mean \"{near}\"?"),
                    None => String::new(),
                };
                idle.push(format!("{table}[{place}] limits nobody: no key has {} \"{id}\"{hint}", kind.as_str()));
            }
        }
        idle
    }
}

impl Config {
    /// Shared secrets of issuers that are shorter than their hash (RFC 7518 §3.2), each in a sentence.
    pub fn short_secrets(&self) -> Vec<String> {
        let mut short = Vec::new();
        for (place, issuer) in self.jwt.iter().enumerate() {
            let Some(KeySource::Shared(secrets)) = &issuer.source else { continue };
            if secrets.iter().any(|secret| secret.expose().len() < HS256_SECRET_BYTES) {
                short.push(format!(
                    "jwt[{place}].hs256_secret is shorter than {HS256_SECRET_BYTES} bytes and can be guessed from a token; \
                     make one with `openssl rand -hex 32`"
                ));
            }
        }
        short
    }
}

fn files(config: &Config, context: &Context<'_>) {
    for (place, issuer) in config.jwt.iter().enumerate() {
        if let Some(KeySource::Published { ca: Some(ca), .. }) = &issuer.source
            && let Err(message) = tls::certificates(ca)
        {
            let mend = "name a readable PEM file with CA certificates";
            context.note(ConfigError::new(format!("jwt[{place}].ca"), message, mend));
        }
    }
    if let Some(files) = &config.listen.tls
        && let Err(errors) = tls::server_config(files)
    {
        errors.into_iter().for_each(|error| context.note(error));
    }
    for (place, upstream) in config.upstreams.iter().enumerate() {
        if let Some(ca) = &upstream.ca
            && let Err(error) = tls::certificates(ca)
        {
            context.note(tls::ca_error(place, error));
        }
    }
}
