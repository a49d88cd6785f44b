//! From a configuration to the snapshot that shards serve by: hosts resolved, TLS loaded, names interned, accounts opened.

use super::{
    error::ConfigError,
    tls,
    types::{
        BaseUrl, BudgetConfig, Config, KeyConfig, ModelConfig, MtlsConfig, ProxyConfig, RateLimitConfig, ScopeKind,
        ScopePattern, UpstreamAuth, UpstreamConfig,
    },
};
use crate::{
    control::{addresses::Addresses, budget::AccountBook, credentials::CredentialKeeper},
    kernel::{
        account::Scope,
        credential::Credential,
        identity::{CertificateRule, IssuerTable},
        ids::{SnapshotVersion, UpstreamIx},
        keys::{Key, KeyDigest, KeyTable, Principal},
        limits::TARGETS_MAX,
        models::{Model, ModelTable, Target, Weight},
        money::Nanos,
        names::Names,
        platform,
        policy::AllowList,
        record::Format,
        rules::{BudgetRule, LimitRule, RuleSet, Rules},
        secret::Secret,
        snapshot::{Budget, BudgetIx, EdgePolicy, Provider, RateLimit, RateLimitIx, Snapshot, Upstream},
        tunnel::Tunnel,
        window::{Period, Window},
    },
};
use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// What is known of a host.
pub type AddressesOf<'a> = &'a dyn Fn(&str) -> Addresses;

/// What a snapshot takes from outside the configuration: certificates from files, addresses as the resolver knows them.
pub struct Surroundings {
    edge: EdgePolicy,
    upstreams: Vec<Upstream>,
}

impl Surroundings {
    /// Reads files, so only the control plane calls it; `addresses` says what is known of a host, and asks nobody. A host that
    /// does not resolve is an upstream without addresses; TLS files that have become unreadable since the configuration was
    /// checked are errors.
    pub fn look_up(
        config: &Config,
        names: &Names,
        keeper: &CredentialKeeper,
        addresses: AddressesOf<'_>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let edge = edge(config, &mut errors);
        let upstreams = config
            .upstreams
            .iter()
            .enumerate()
            .filter_map(|(at, u)| upstream(at, u, (names, keeper, addresses), &mut errors))
            .collect();
        if errors.is_empty() { Ok(Self { edge, upstreams }) } else { Err(errors) }
    }

    /// As a snapshot has them: a change of keys must not wait for a name service, nor fail for a file.
    pub fn of(snapshot: &Snapshot) -> Self {
        Self { edge: snapshot.edge.clone(), upstreams: snapshot.upstreams.clone() }
    }
}

/// Who may call besides the configured keys, and what budgets are reckoned with.
pub struct Callers<'a> {
    /// Keys made at run time.
    pub made: &'a [KeyConfig],
    /// What a scope has spent in a window so far; asked only for accounts that are not open yet.
    pub spent: &'a dyn Fn(&Scope, Window) -> Nanos,
    /// Everybody who has spent something, where the rules may be new: then those that no key stands for get their accounts
    /// too, since a shard that sees them first could not know what they have spent.
    pub spenders: Option<&'a [Arc<Principal>]>,
    /// The time, Unix seconds.
    pub now_seconds: i64,
    /// Issuers of tokens, with their keys as they are now.
    pub issuers: Arc<IssuerTable>,
}

/// Builds a snapshot. It neither waits nor fails.
pub fn build_snapshot(
    config: &Config,
    surroundings: Surroundings,
    version: SnapshotVersion,
    callers: &Callers<'_>,
    accounts: &AccountBook,
) -> Snapshot {
    let keys: Vec<&KeyConfig> = config.keys.iter().chain(callers.made).collect();
    let ids = |kind: ScopeKind| keys.iter().map(move |key| kind.id_of(key));
    let scopes = expand(&config.budgets, |budget| (budget.scope.as_ref(), Some(budget.period)), ids);
    let mut budgets = Vec::with_capacity(scopes.len());
    let rules = rules(config);
    for (scope, budget) in &scopes {
        let opened = accounts.open(scope, budget.period, budget.amount, callers.spent, callers.now_seconds);
        budgets.push(Budget::new(&budget_rule(budget, &ScopePattern::Org), scope, opened));
    }
    for who in callers.spenders.unwrap_or_default() {
        accounts.open_for(who, &rules.budgets, callers.spent, callers.now_seconds);
    }
    accounts.open_raised(&rules.budgets, callers.spent, callers.now_seconds);
    accounts.keep(budgets.iter().flat_map(|budget| &budget.accounts), &rules.budgets, callers.now_seconds);
    let limited = expand(&config.rate_limits, |limit| (limit.scope.as_ref(), None), ids);
    let (rate_limits, limit_places) = rate_limits(&limited, accounts);
    accounts.keep_limiters(rate_limits.iter().map(|limit| &limit.limiter), &rules.limits);
    let mut places = Places { budgets: HashMap::new(), rate_limits: limit_places };
    for (place, (scope, _)) in scopes.iter().enumerate() {
        places.budgets.entry(scope.clone()).or_default().push(BudgetIx(place as u32));
    }
    Snapshot {
        version,
        edge: surroundings.edge,
        keys: key_table(&keys, &accounts.registry().names, &places),
        issuers: callers.issuers.clone(),
        certificates: config.mtls.as_ref().and_then(certificates),
        on_revoke: config.on_revoke,
        models: models(config),
        upstreams: surroundings.upstreams,
        prices: config.price_book(),
        budgets,
        rate_limits,
        bodies: config.audit.bodies.clone(),
        rules,
        registry: accounts.registry().clone(),
        reserve: config.reserve,
        unknown_objects: config.unknown_objects,
        repair: config.repair,
        limits: config.limits.clone(),
    }
}

fn certificates(config: &MtlsConfig) -> Option<Arc<CertificateRule>> {
    Some(Arc::new(CertificateRule {
        identity: config.identity?,
        rules: config.rules.clone().into(),
        models: config.models.clone().map_or_else(AllowList::everything, AllowList::of),
    }))
}

fn edge(config: &Config, errors: &mut Vec<ConfigError>) -> EdgePolicy {
    let tls = config.listen.tls.as_ref().and_then(|files| tls::server_config(files).map_err(|e| errors.extend(e)).ok());
    EdgePolicy {
        tls,
        trusted_proxies: config.listen.trusted_proxies.clone(),
        allow_from: config.listen.allow_from.clone(),
    }
}

fn upstream(
    at: usize,
    config: &UpstreamConfig,
    (names, keeper, addresses): (&Names, &CredentialKeeper, AddressesOf<'_>),
    errors: &mut Vec<ConfigError>,
) -> Option<Upstream> {
    let url = &config.base_url;
    let tls_roots = match url.tls.then(|| tls::roots(config.ca.as_deref())).transpose() {
        Ok(roots) => roots,
        Err(message) => {
            errors.push(tls::ca_error(at, message));
            return None;
        }
    };
    let found = addresses(config.dialled_host());
    let at_port = |ips: Vec<IpAddr>| ips.into_iter().map(|ip| SocketAddr::new(ip, config.dialled_port())).collect();
    Some(Upstream {
        name_id: names.name(&config.name),
        name: config.name.as_str().into(),
        provider: config.provider,
        authority: url.authority.as_str().into(),
        host: url.host.as_str().into(),
        base_path: url.base_path.as_str().into(),
        addresses: at_port(found.now),
        old_addresses: at_port(found.before),
        tunnel: config.proxy.as_ref().map(|proxy| Arc::new(tunnel(proxy, url))),
        tls_roots,
        credential: Credential { minted: keeper.minted(config), ..credential(config) },
        region: config.region.as_str().into(),
        project: config.project.as_str().into(),
        connect_timeout: config.connect_timeout,
        keep_alive: config.keep_alive,
        streams_max: config.streams_max,
        on_abort: config.on_abort,
    })
}

fn tunnel(proxy: &ProxyConfig, url: &BaseUrl) -> Tunnel {
    let host = if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
    Tunnel::new(&proxy.authority, &format!("{host}:{}", url.port), proxy.credential.as_ref())
}

/// The headers that never change, in one piece.
fn credential(config: &UpstreamConfig) -> Credential {
    let bearer;
    let workspace = Secret::new(config.workspace_id.clone());
    let mut headers: Vec<(&str, &Secret<String>)> = Vec::new();
    match &config.auth {
        Some(UpstreamAuth::ApiKey(key)) => headers.push(("x-api-key", key)),
        Some(UpstreamAuth::Bearer(token)) => {
            bearer = Secret::new(format!("Bearer {}", token.expose()));
            headers.push(("authorization", &bearer));
        }
        _ => {}
    }
    if !config.workspace_id.is_empty() {
        headers.push(("anthropic-workspace-id", &workspace));
    }
    headers.extend(config.headers.iter().map(|(name, value)| (name.as_str(), value)));
    Credential::fixed(&headers)
}

fn models(config: &Config) -> ModelTable {
    let models = config.models.iter().map(|model| Model {
        id: model.id.as_str().into(),
        aliases: model.aliases.iter().map(|alias| alias.as_str().into()).collect(),
        targets: targets(config, model),
        strategy: model.strategy,
    });
    ModelTable::new(models.collect(), passthrough(config)).with_accounts(accounts(config))
}

/// Accounts that keep batches and files: those of the first party, directly and on AWS.
fn accounts(config: &Config) -> Vec<Target> {
    let keeps = |u: &UpstreamConfig| matches!(u.provider, Provider::Anthropic | Provider::AnthropicAws);
    let all = config.upstreams.iter().enumerate().filter(|(_, u)| keeps(u)).take(TARGETS_MAX);
    all.filter_map(|(at, u)| Some(Target::new(UpstreamIx(u16::try_from(at).ok()?), &u.name, "", None, 0))).collect()
}

/// Who serves ids that nobody listed: of each format the first upstream, since a client's own format comes before any other.
fn passthrough(config: &Config) -> Vec<Target> {
    let first = |format| {
        let place = config.upstreams.iter().position(|u| config.passthrough && u.provider.format() == format)?;
        let ix = UpstreamIx(u16::try_from(place).ok()?);
        Some(Target::new(ix, &config.upstreams[place].name, "", None, 0))
    };
    [Format::Anthropic, Format::Bedrock, Format::Vertex].into_iter().filter_map(first).collect()
}

/// A model's targets in the order of their ranks; within a rank they keep the order they are written in.
fn targets(config: &Config, model: &ModelConfig) -> Vec<Target> {
    let mut targets = Vec::with_capacity(model.targets.len());
    for (at, written) in model.targets.iter().enumerate() {
        let place = config.upstreams.iter().position(|u| u.name == written.upstream);
        let Some((place, ix)) = place.and_then(|place| Some((place, u16::try_from(place).ok()?))) else { continue };
        let before = model.targets[..at].iter().filter(|other| other.upstream == written.upstream).count();
        let asked_for = asked(model, written.model.as_deref(), &config.upstreams[place]);
        let mut target = Target::new(UpstreamIx(ix), &written.upstream, &model.id, asked_for.as_deref(), before);
        target.weight = Weight::new(written.weight.unwrap_or(config.upstreams[place].weight));
        target.rank = written.rank;
        targets.push(target);
    }
    targets.sort_by_key(|target| target.rank);
    targets
}

/// The id an upstream is asked for. An alias is a name of ours, so an upstream without an id of its own is asked for the
/// model's id, whatever the client wrote, by the name that its platform has for it; without aliases nothing needs to be changed.
fn asked(model: &ModelConfig, own: Option<&str>, upstream: &UpstreamConfig) -> Option<String> {
    match own {
        Some(id) if upstream.provider == Provider::Anthropic => {
            Some(id.to_owned()).filter(|id| *id != model.id || !model.aliases.is_empty())
        }
        Some(id) => Some(id.to_owned()),
        None if model.aliases.is_empty() => None,
        None if upstream.provider == Provider::Anthropic => Some(model.id.clone()),
        None if upstream.provider.speaks_bedrock_ids() && platform::is_bedrock(&model.id) => Some(model.id.clone()),
        None => platform::id_at(upstream.provider, &upstream.region, &model.id).or_else(|| Some(model.id.clone())),
    }
}

/// One rule for each scope: `*` becomes one for each id among the keys that has no rule of its own (for the period, where
/// there is one).
fn expand<'a, T, I: Iterator<Item = &'a str>>(
    rules: &'a [T],
    of: impl Fn(&'a T) -> (Option<&'a ScopePattern>, Option<Period>),
    ids: impl Fn(ScopeKind) -> I,
) -> Vec<(Scope, &'a T)> {
    let own: HashSet<(ScopeKind, &str, Option<Period>)> = rules
        .iter()
        .filter_map(|rule| match of(rule) {
            (Some(ScopePattern::One(kind, id)), period) => Some((*kind, id.as_str(), period)),
            _ => None,
        })
        .collect();
    let mut scopes = Vec::new();
    for rule in rules {
        let (scope, period) = of(rule);
        match scope {
            None => {}
            Some(ScopePattern::Org) => scopes.push((Scope::Org, rule)),
            Some(ScopePattern::One(kind, id)) => scopes.push((Scope::of(*kind, id), rule)),
            Some(ScopePattern::Each(kind)) => {
                let mut seen = HashSet::new();
                let each = ids(*kind).filter(|id| !id.is_empty() && !own.contains(&(*kind, *id, period)));
                scopes.extend(each.filter(|id| seen.insert(*id)).map(|id| (Scope::of(*kind, id), rule)));
            }
        }
    }
    scopes
}

/// Where the rules of a scope stand.
struct Places {
    budgets: HashMap<Scope, Vec<BudgetIx>>,
    rate_limits: HashMap<Scope, Vec<RateLimitIx>>,
}

/// One rate limit for each scope and measure.
fn rate_limits(
    scopes: &[(Scope, &RateLimitConfig)],
    accounts: &AccountBook,
) -> (Vec<RateLimit>, HashMap<Scope, Vec<RateLimitIx>>) {
    let mut all = Vec::new();
    let mut places: HashMap<Scope, Vec<RateLimitIx>> = HashMap::new();
    for (scope, rule) in scopes {
        for (measure, limit) in &rule.limits {
            places.entry(scope.clone()).or_default().push(RateLimitIx(all.len() as u32));
            let limiter = accounts.open_limiter(scope, *measure, *limit);
            all.push(RateLimit { limiter, cache_read_permille: rule.cache_read_permille });
        }
    }
    (all, places)
}

/// The rules as they apply to callers that no key stands for, and to sessions.
fn rules(config: &Config) -> Rules {
    let budgets = config.budgets.iter().filter_map(|budget| Some(budget_rule(budget, budget.scope.as_ref()?)));
    let limits = config.rate_limits.iter().filter_map(|limit| {
        let (whom, limits) = (limit.scope.clone()?, limit.limits.clone());
        Some(LimitRule { whom, limits, cache_read_permille: limit.cache_read_permille })
    });
    Rules { budgets: RuleSet::new(budgets.collect()), limits: RuleSet::new(limits.collect()) }
}

fn budget_rule(budget: &BudgetConfig, whom: &ScopePattern) -> BudgetRule {
    BudgetRule {
        whom: whom.clone(),
        amount: budget.amount,
        period: budget.period,
        mode: budget.mode,
        blocked_message: budget.blocked_message.as_str().into(),
    }
}

fn key_table(keys: &[&KeyConfig], names: &Names, places: &Places) -> KeyTable {
    let keys = keys.iter().filter_map(|key| Some(key_of(key, key.digest?, names, places)));
    KeyTable::new(keys.collect())
}

fn key_of(key: &KeyConfig, digest: KeyDigest, names: &Names, places: &Places) -> Key {
    let principal =
        Principal { key: key.id.clone(), user: key.user.clone(), team: key.team.clone(), project: key.project.clone() };
    let own: Vec<Scope> = Scope::all_of(&principal).collect();
    Key {
        principal: names.principal(&principal),
        id: key.id.as_str().into(),
        digest,
        retiring: key.retiring,
        models: key.models.clone().map_or_else(AllowList::everything, AllowList::of),
        expires: key.expires,
        trusted_peers: key.trusted_peers.as_slice().into(),
        budgets: own.iter().filter_map(|scope| places.budgets.get(scope)).flatten().copied().collect(),
        rate_limits: own.iter().filter_map(|scope| places.rate_limits.get(scope)).flatten().copied().collect(),
    }
}
