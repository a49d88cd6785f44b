//! The meant configuration: domain types, every default filled in, every secret wrapped.

use super::outline::Outline;
use crate::control::{
    addresses::Settings as DnsSettings,
    bodies::{BodyKey, BodySettings},
    export::ExportJob,
};
use crate::kernel::{
    account::Mode,
    bodies::BodyRules,
    identity::{CertificateName, ClaimMap, TokenAlgorithm, certificate::NameRule},
    keep_alive::KeepAlive,
    keys::{KeyDigest, Retiring},
    limiter::Measure,
    limits::Limits,
    models::Strategy,
    money::Nanos,
    objects::Unknown,
    policy::Pattern,
    pricing::{Multiplier, PriceOverride, UnknownPrice},
    repairs::RepairMode,
    secret::Secret,
    snapshot::{OnAbort, OnRevoke, Provider, Reserve},
    window::Period,
};
use ipnet::IpNet;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// The whole configuration.
pub struct Config {
    /// Where weir listens.
    pub listen: Listen,
    /// How the data plane is laid out.
    pub shards: Shards,
    /// How names of upstreams are resolved.
    pub dns: DnsSettings,
    /// Caps and timeouts.
    pub limits: Limits,
    /// Where the journal lives.
    pub store: Store,
    /// The admin listener's guard.
    pub admin: Admin,
    /// Provider accounts.
    pub upstreams: Vec<UpstreamConfig>,
    /// What clients may ask for.
    pub models: Vec<ModelConfig>,
    /// Serve ids that are not listed, by the first upstream.
    pub passthrough: bool,
    /// Who may call.
    pub keys: Vec<KeyConfig>,
    /// Who makes tokens for callers.
    pub jwt: Vec<JwtConfig>,
    /// How a client certificate says who calls.
    pub mtls: Option<MtlsConfig>,
    /// What becomes of running requests when their key is revoked.
    pub on_revoke: OnRevoke,
    /// What may be spent.
    pub budgets: Vec<BudgetConfig>,
    /// How much may be asked in a minute, or at once.
    pub rate_limits: Vec<RateLimitConfig>,
    /// How much an admission holds back.
    pub reserve: Reserve,
    /// What to do without a shared store.
    pub on_store_error: OnStoreError,
    /// Changes to the price list.
    pub pricing: Pricing,
    /// What is kept of requests.
    pub audit: Audit,
    /// What is done with names of batches and files that nobody here made.
    pub unknown_objects: Unknown,
    /// What is done about refusals that name what they refuse.
    pub repair: RepairMode,
    /// Where records are exported to, if anywhere.
    pub export: Option<ExportJob>,
    /// Reload when the file changes, or one that it names.
    pub watch: bool,
    /// Files that it names: secrets, certificates, keys; the store's directory, too.
    pub named: BTreeSet<PathBuf>,
    /// What the file says, item by item, so that a reload can tell what it changes.
    pub outline: Outline,
}

/// `[listen]`.
pub struct Listen {
    /// Fleet traffic.
    pub clients: SocketAddr,
    /// Admin API and metrics.
    pub admin: SocketAddr,
    /// TLS towards clients.
    pub tls: Option<TlsFiles>,
    /// Peers whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Who may connect at all; empty means everybody.
    pub allow_from: Vec<IpNet>,
}

/// PEM files of the client listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Roots of client certificates; turns on mutual TLS.
    pub client_ca: Option<PathBuf>,
}

/// Which kernel interface the shards use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// io_uring.
    #[default]
    IoUring,
    /// epoll, for hosts without io_uring.
    Epoll,
}

/// `[shards]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shards {
    /// How many; 0 means one per core this process may run on.
    pub count: usize,
    /// One core each.
    pub pin: bool,
    /// Kernel interface.
    pub driver: Driver,
}

/// `[store]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Directory of the journal.
    pub path: PathBuf,
    /// How long a record may wait for its fsync.
    pub flush_interval: Duration,
    /// Size at which a segment is closed. Bytes.
    pub segment_bytes_max: u64,
}

/// `[admin]`.
pub struct Admin {
    /// Bearer token.
    pub token: Secret<String>,
}

/// How weir shows itself to an upstream.
#[derive(Clone, PartialEq, Eq)]
pub enum UpstreamAuth {
    /// By its configured headers alone.
    Headers,
    /// `x-api-key`.
    ApiKey(Secret<String>),
    /// `authorization: Bearer`, a token that stays as it is.
    Bearer(Secret<String>),
    /// Signatures with keys that stay as they are.
    AwsKeys {
        /// Travels in the open.
        access_key_id: String,
        /// Never travels.
        secret_access_key: Secret<String>,
        /// Of temporary keys.
        session_token: Option<Secret<String>>,
    },
    /// Signatures with what the AWS credential chain finds (contract.md §5.3).
    AwsChain {
        /// A profile by name, instead of `AWS_PROFILE`.
        profile: Option<String>,
    },
    /// Tokens for a service account, from its key file.
    GoogleServiceAccount(PathBuf),
    /// Tokens from Google's application default credentials.
    GoogleDefault,
    /// Tokens of Microsoft Entra ID, for what the environment says of this workload.
    Entra,
}

impl UpstreamAuth {
    /// Is it minted at run time?
    pub fn is_minted(&self) -> bool {
        !matches!(self, Self::Headers | Self::ApiKey(_) | Self::Bearer(_))
    }

    /// Does it sign requests?
    pub fn signs(&self) -> bool {
        matches!(self, Self::AwsKeys { .. } | Self::AwsChain { .. })
    }

    /// Where it comes from, for operators.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::ApiKey(_) => "api_key",
            Self::Bearer(_) => "bearer",
            Self::AwsKeys { .. } => "aws_keys",
            Self::AwsChain { .. } => "aws_chain",
            Self::GoogleServiceAccount(_) => "google_service_account",
            Self::GoogleDefault => "google_default",
            Self::Entra => "entra",
        }
    }
}

/// `[[upstream]]`.
pub struct UpstreamConfig {
    /// Its name.
    pub name: String,
    /// Which API.
    pub provider: Provider,
    /// Where it is.
    pub base_url: BaseUrl,
    /// What we show it; only absent in a configuration that has errors.
    pub auth: Option<UpstreamAuth>,
    /// Headers that every request gets, names in lower case.
    pub headers: Vec<(String, Secret<String>)>,
    /// Region or location; empty where the provider has none.
    pub region: String,
    /// Google Cloud project; empty for the others.
    pub project: String,
    /// Workspace of Claude Platform on AWS; empty for the others.
    pub workspace_id: String,
    /// PEM file of additional roots.
    pub ca: Option<PathBuf>,
    /// The proxy it is reached through.
    pub proxy: Option<ProxyConfig>,
    /// Instead of the general limit.
    pub connect_timeout: Option<Duration>,
    /// How long its connections are used again.
    pub keep_alive: KeepAlive,
    /// Requests it takes at once, over all shards.
    pub streams_max: Option<u32>,
    /// Share of the traffic under `weighted`.
    pub weight: u32,
    /// It fronts a regional endpoint, which charges a tenth more.
    pub regional: bool,
    /// What becomes of a stream whose client went away.
    pub on_abort: OnAbort,
}

impl UpstreamConfig {
    /// The host that connections are made to.
    pub fn dialled_host(&self) -> &str {
        self.proxy.as_ref().map_or(&self.base_url.host, |proxy| &proxy.host)
    }

    /// The port there.
    pub fn dialled_port(&self) -> u16 {
        self.proxy.as_ref().map_or(self.base_url.port, |proxy| proxy.port)
    }
}

/// The HTTP proxy that connections to an upstream go through.
#[derive(Clone)]
pub struct ProxyConfig {
    /// Host alone; an IPv6 address without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Host and port, for people to read.
    pub authority: String,
    /// What `proxy-authorization` says.
    pub credential: Option<Secret<String>>,
}

/// A base URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    /// https rather than http.
    pub tls: bool,
    /// Host alone; an IPv6 address without brackets.
    pub host: String,
    /// Port, the scheme's own if none was written.
    pub port: u16,
    /// `Host` header: host, and port where it is not the scheme's.
    pub authority: String,
    /// Path in front of ours, without a slash at the end.
    pub base_path: String,
}

/// One upstream that serves a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Name of the upstream.
    pub upstream: String,
    /// The id to ask it for, where it differs from the model's.
    pub model: Option<String>,
    /// Share of the traffic among targets of its rank; `None` for the upstream's own.
    pub weight: Option<u32>,
    /// Later ranks are asked when earlier ones take nothing.
    pub rank: u16,
}

/// `[[model]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// Its id.
    pub id: String,
    /// Other ids that mean it.
    pub aliases: Vec<String>,
    /// Who serves it, as written.
    pub targets: Vec<TargetConfig>,
    /// How one of them is chosen.
    pub strategy: Strategy,
}

/// A key, from `[[key]]` or made at run time. The secret itself is not kept.
#[derive(Clone)]
pub struct KeyConfig {
    /// Its id.
    pub id: String,
    /// SHA-256 of the secret; only absent in a configuration that has errors.
    pub digest: Option<KeyDigest>,
    /// The secret that a rotation has replaced; `[[key]]` has none.
    pub retiring: Option<Retiring>,
    /// Person or service; empty for none.
    pub user: String,
    /// Team; empty for none.
    pub team: String,
    /// Project; empty for none.
    pub project: String,
    /// Models it may use; `None` for all.
    pub models: Option<Vec<Pattern>>,
    /// Unix second from which it is no longer valid.
    pub expires: Option<i64>,
    /// From these addresses its holder may say whom it speaks for; only `[[key]]` has any.
    pub trusted_peers: Vec<IpNet>,
}

/// Where the keys of an issuer come from.
#[derive(Clone)]
pub enum KeySource {
    /// Secrets shared with it; any of them is good.
    Shared(Vec<Secret<String>>),
    /// A set that it publishes.
    Published {
        /// Where.
        url: String,
        /// How often it is fetched.
        refresh: Duration,
        /// PEM file of additional roots.
        ca: Option<PathBuf>,
    },
}

/// `[[jwt]]`.
pub struct JwtConfig {
    /// What its tokens have as `iss`.
    pub issuer: String,
    /// One of these must be in `aud`.
    pub audiences: Vec<String>,
    /// Its keys; only absent in a configuration that has errors.
    pub source: Option<KeySource>,
    /// What its tokens may be signed with.
    pub algorithms: Vec<TokenAlgorithm>,
    /// How far its clock and ours may be apart.
    pub skew: Duration,
    /// Which claim says what.
    pub claims: ClaimMap,
    /// Callers must be in one of these groups; empty for no such rule.
    pub allow_groups: Vec<String>,
    /// Models its callers may use; `None` for all.
    pub models: Option<Vec<Pattern>>,
}

/// `[mtls]`.
pub struct MtlsConfig {
    /// Which name says who calls; only absent in a configuration that has errors.
    pub identity: Option<CertificateName>,
    /// The first that fits says team and project.
    pub rules: Vec<NameRule>,
    /// Models such callers may use; `None` for all.
    pub models: Option<Vec<Pattern>>,
}

pub use crate::kernel::{account::ScopeKind, rules::ScopePattern};

/// `[[budget]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetConfig {
    /// Whom it limits; only absent in a configuration that has errors.
    pub scope: Option<ScopePattern>,
    /// The cap.
    pub amount: Nanos,
    /// How often it starts anew.
    pub period: Period,
    /// What happens at the cap.
    pub mode: Mode,
    /// The operator's words at the cap.
    pub blocked_message: String,
}

/// `[[rate_limit]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitConfig {
    /// Whom it limits; only absent in a configuration that has errors.
    pub scope: Option<ScopePattern>,
    /// What is limited, and to how much.
    pub limits: Vec<(Measure, i64)>,
    /// How much of a token read from the prompt cache counts as input, thousandths.
    pub cache_read_permille: u16,
}

/// `[budgets] on_store_error`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStoreError {
    /// Go on serving.
    #[default]
    Open,
    /// Refuse.
    Closed,
}

/// `[pricing]` and `[[price]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pricing {
    /// On all token prices.
    pub multiplier: Multiplier,
    /// What a model costs that no table knows.
    pub unknown: UnknownPrice,
    /// Own prices.
    pub overrides: Vec<PriceOverride>,
}

/// `[audit]`.
pub struct Audit {
    /// How long records are kept.
    pub retention: Duration,
    /// What is kept of bodies, and of whose.
    pub bodies: BodyRules,
    /// What stored bodies are encrypted with.
    pub body_key: Option<BodyKey>,
    /// How long stored bodies are kept.
    pub body_retention: Duration,
    /// Size at which a segment of bodies is closed. Bytes.
    pub body_segment_bytes_max: u64,
}

impl Audit {
    /// How bodies are stored; none if nobody's are.
    pub fn body_settings(&self) -> Option<BodySettings> {
        let key = self.body_key.clone().filter(|_| self.bodies.stores_any())?;
        Some(BodySettings { key, segment_bytes_max: self.body_segment_bytes_max, retention: self.body_retention })
    }
}
