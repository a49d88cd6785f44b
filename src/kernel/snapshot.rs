//! The immutable configuration a shard works by. A request keeps the one it began with to its end.

use super::{
    account::{Account, Mode, Scope},
    bodies::BodyRules,
    credential::Credential,
    identity::{CertificateRule, IssuerTable},
    ids::SnapshotVersion,
    ids::UpstreamIx,
    keep_alive::KeepAlive,
    keys::KeyTable,
    limiter::Limiter,
    limits::Limits,
    models::ModelTable,
    names::NameId,
    objects::Unknown,
    pricing::PriceBook,
    record::Format,
    rules::{BudgetRule, Rules},
    standing::Registry,
    tunnel::Tunnel,
};
use ipnet::IpNet;
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// Position of a budget in one snapshot's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BudgetIx(pub u32);

/// How much an admission holds back (design.md §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// What such requests have cost.
    #[default]
    Expected,
    /// The most the request can cost.
    Strict,
}

/// What becomes of the running requests of a key that is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRevoke {
    /// They finish; only new ones are refused.
    #[default]
    Finish,
    /// They are ended, and booked with what they have used.
    End,
}

/// One budget of one scope.
pub struct Budget {
    /// What happens at the cap.
    pub mode: Mode,
    /// The operator's words at the cap.
    pub blocked_message: Arc<str>,
    /// A pool of several callers.
    pub pooled: bool,
    /// The accounts of this window and the next, so that a rollover needs no new snapshot at midnight sharp.
    pub accounts: Vec<Arc<Account>>,
}

impl Budget {
    /// The budget that a rule gives a scope.
    pub fn new(rule: &BudgetRule, scope: &Scope, accounts: Vec<Arc<Account>>) -> Self {
        Self { mode: rule.mode, blocked_message: rule.blocked_message.clone(), pooled: scope.is_pool(), accounts }
    }

    /// The account that counts at a moment.
    pub fn account_at(&self, unix_seconds: i64) -> Option<&Arc<Account>> {
        self.accounts.iter().find(|a| a.window.contains(unix_seconds))
    }
}

/// Position of a rate limit in one snapshot's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RateLimitIx(pub u32);

/// One rate limit of one scope.
pub struct RateLimit {
    /// The limit; the same object over reloads.
    pub limiter: Arc<Limiter>,
    /// How much of a token read from the prompt cache counts as input, thousandths.
    pub cache_read_permille: u16,
}

/// Which API a provider speaks, and how it wants to be authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// The Anthropic API, or anything that speaks it.
    Anthropic,
    /// Bedrock runtime, InvokeModel.
    Bedrock,
    /// Bedrock runtime, its native Messages endpoint (contract.md §5.1).
    BedrockMessages,
    /// Bedrock Mantle, native Messages on a host of its own (contract.md §5.1).
    BedrockMantle,
    /// Vertex AI, rawPredict.
    Vertex,
    /// Microsoft Foundry.
    Foundry,
    /// Claude Platform on AWS.
    AnthropicAws,
}

impl Provider {
    /// The API format it speaks.
    pub fn format(self) -> Format {
        match self {
            Self::Anthropic | Self::BedrockMessages | Self::BedrockMantle | Self::Foundry | Self::AnthropicAws => {
                Format::Anthropic
            }
            Self::Bedrock => Format::Bedrock,
            Self::Vertex => Format::Vertex,
        }
    }

    /// Are models named there as Bedrock names them?
    pub fn speaks_bedrock_ids(self) -> bool {
        matches!(self, Self::Bedrock | Self::BedrockMessages | Self::BedrockMantle)
    }

    /// Its name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Bedrock | Self::BedrockMessages | Self::BedrockMantle => "bedrock",
            Self::Vertex => "vertex",
            Self::Foundry => "foundry",
            Self::AnthropicAws => "anthropic_aws",
        }
    }

    /// The name that signatures for it carry; `None` where nothing is signed (contract.md §5.1).
    pub fn signing_service(self) -> Option<&'static str> {
        match self {
            Self::Bedrock | Self::BedrockMessages => Some("bedrock"),
            Self::BedrockMantle => Some("bedrock-mantle"),
            Self::AnthropicAws => Some("aws-external-anthropic"),
            Self::Anthropic | Self::Vertex | Self::Foundry => None,
        }
    }
}

/// What becomes of a stream whose client went away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnAbort {
    /// It is cancelled at once, so that the provider stops; its output is an estimate.
    #[default]
    Cancel,
    /// It is read on for at most so long, so that the provider's last counts are known; it costs what it costs.
    Drain(Duration),
}

/// One upstream account.
#[derive(Clone)]
pub struct Upstream {
    /// Its number in records.
    pub name_id: NameId,
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Which API.
    pub provider: Provider,
    /// `Host` header: host, and port where it is not the scheme's.
    pub authority: Box<str>,
    /// Host alone, for TLS server names.
    pub host: Box<str>,
    /// Path in front of ours, without a slash at the end; usually empty.
    pub base_path: Box<str>,
    /// Where connections to it are made, the proxy's if there is one; empty while the name does not resolve.
    pub addresses: Vec<SocketAddr>,
    /// Where they were made until lately: kept ones may go on for a while.
    pub old_addresses: Vec<SocketAddr>,
    /// The proxy in between.
    pub tunnel: Option<Arc<Tunnel>>,
    /// Trusted roots if TLS is spoken; `None` for plain HTTP.
    pub tls_roots: Option<Arc<rustls::RootCertStore>>,
    /// What we show it.
    pub credential: Credential,
    /// Region or location; empty where the provider has none.
    pub region: Box<str>,
    /// Google Cloud project; empty for the others.
    pub project: Box<str>,
    /// Instead of the general limit.
    pub connect_timeout: Option<Duration>,
    /// How long its connections are used again.
    pub keep_alive: KeepAlive,
    /// Requests it takes at once, over all shards; each has its part (`part()` in `data::gate::queue`).
    pub streams_max: Option<u32>,
    /// What becomes of a stream whose client went away.
    pub on_abort: OnAbort,
}

/// How the client listener is guarded.
#[derive(Clone, Default)]
pub struct EdgePolicy {
    /// TLS towards clients.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may connect at all; empty means everybody.
    pub allow_from: Vec<IpNet>,
}

/// Everything a shard needs to serve.
pub struct Snapshot {
    /// Grows with every publication.
    pub version: SnapshotVersion,
    /// The listener's policy.
    pub edge: EdgePolicy,
    /// Who may call.
    pub keys: KeyTable,
    /// Whose tokens are accepted; the same object as long as neither they nor their keys have changed.
    pub issuers: Arc<IssuerTable>,
    /// How a client certificate says who calls, if it does.
    pub certificates: Option<Arc<CertificateRule>>,
    /// What becomes of running requests when their key is revoked.
    pub on_revoke: OnRevoke,
    /// What they may ask for.
    pub models: ModelTable,
    /// Who serves it.
    pub upstreams: Vec<Upstream>,
    /// What it costs.
    pub prices: PriceBook,
    /// What may be spent.
    pub budgets: Vec<Budget>,
    /// How much may be asked in a minute, or at once.
    pub rate_limits: Vec<RateLimit>,
    /// What is kept of bodies.
    pub bodies: BodyRules,
    /// Both as rules, for callers and sessions that are not known yet.
    pub rules: Rules,
    /// Names, accounts and limiters, known and to come; the same over reloads.
    pub registry: Arc<Registry>,
    /// How much an admission holds back.
    pub reserve: Reserve,
    /// What is done with names of batches and files that nobody here made.
    pub unknown_objects: Unknown,
    /// The operator's limits.
    pub limits: Limits,
}

impl Snapshot {
    /// The upstream at a place.
    pub fn upstream(&self, ix: UpstreamIx) -> Option<&Upstream> {
        self.upstreams.get(usize::from(ix.0))
    }

    /// The budget at a place.
    pub fn budget(&self, ix: BudgetIx) -> Option<&Budget> {
        self.budgets.get(ix.0 as usize)
    }

    /// The rate limit at a place.
    pub fn rate_limit(&self, ix: RateLimitIx) -> Option<&RateLimit> {
        self.rate_limits.get(ix.0 as usize)
    }
}

impl Snapshot {
    /// A snapshot of nothing but rules: nobody is known, nothing is served. For tests and measurements.
    pub fn of_rules(version: u64, rules: Rules, registry: Arc<Registry>) -> Self {
        Self {
            version: SnapshotVersion(version),
            edge: EdgePolicy::default(),
            keys: KeyTable::new(Vec::new()),
            issuers: Arc::default(),
            certificates: None,
            on_revoke: OnRevoke::Finish,
            models: ModelTable::default(),
            upstreams: Vec::new(),
            prices: PriceBook::built_in(),
            budgets: Vec::new(),
            rate_limits: Vec::new(),
            rules,
            registry,
            bodies: BodyRules::default(),
            reserve: Reserve::Expected,
            unknown_objects: Unknown::Refuse,
            limits: Limits::default(),
        }
    }
}
