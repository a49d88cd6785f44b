//! Whole files: everything the language knows at once, and ten errors at once.

use super::*;
use crate::kernel::{
    account::Mode,
    money::Nanos,
    pricing::TokenPrice,
    snapshot::{OnAbort, OnRevoke, Reserve},
    window::Period,
};
use proptest::prelude::*;
use std::time::Duration;

const EVERYTHING: &str = r#"
[listen]
clients = "0.0.0.0:8080"
admin = "127.0.0.1:8081"
trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
allow_from = ["10.1.2.3/8"]
[shards]
count = 4
pin = false
driver = "epoll"
[limits]
body_max = "48MiB"
head_max = "32KiB"
head_timeout = "5s"
body_timeout = "2m"
keep_alive_timeout = "90s"
connect_timeout = "3s"
first_byte_timeout = "4m"
idle_timeout = "250ms"
stream_max_timeout = "2h"
connections = 1000
streams = 500
drain_timeout = "25s"
[store]
path = "data"
flush_interval = "20ms"
segment_max = "16MiB"
[admin]
token = "${TOKEN}"
[[upstream]]
name = "main"
provider = "anthropic"
auth = { api_key = "${KEY}" }
[[upstream]]
name = "second"
provider = "anthropic"
base_url = "http://10.0.0.9:9000/proxy/"
allow_plain_http = true
auth = { bearer = "${KEY}" }
connect_timeout = "500ms"
weight = 3
regional = true
on_abort = "drain"
drain_max = "5s"
[[model]]
id = "claude-sonnet-5-5"
aliases = ["sonnet", "us.anthropic.claude-sonnet-5-5"]
targets = [ { upstream = "main" }, { upstream = "second", model = "s55" } ]
strategy = "ordered"
[models]
passthrough = true
[keys]
on_revoke = "end"
[[key]]
id = "dev-alice"
secret = "${ALICE}"
user = "alice@example.com"
team = "platform"
project = "checkout"
models = ["claude-*"]
expires = 2027-01-01T00:00:00Z
trusted_peers = ["10.1.2.3"]
[[jwt]]
issuer = "https://idp.example.com"
audience = "weir"
jwks_url = "https://idp.example.com/keys"
claims = { user = "user", team = "team", project = "project" }
[[jwt]]
issuer = "https://second.example"
audience = ["weir"]
hs256_secret = "${BOB}"
[[key]]
id = "dev-bob"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
[[budget]]
scope = "team:platform"
amount = "500.00"
period = "monthly"
mode = "soft"
blocked_message = "ask in #llm-budget"
[budgets]
reserve = "strict"
on_store_error = "closed"
[pricing]
multiplier = "0.8"
unknown_model = { input = "6.00", output = "30.00" }
[[price]]
upstream = "second"
model = "s55"
input = "1.5"
output = "7.5"
cache_read = "0.05"
cache_write_5m = "1.875"
cache_write_1h = "3"
[audit]
bodies = "none"
retention = "30d"
"#;

#[test]
fn a_key_of_the_language_is_not_known_or_lands_in_the_wrong_place() {
    let config = parsed(EVERYTHING).unwrap_or_else(|errors| panic!("{errors:#?}"));
    assert_eq!(config.listen.clients.to_string(), "0.0.0.0:8080");
    let networks: Vec<String> = config.listen.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.7/32"]);
    assert_eq!(config.listen.allow_from[0].to_string(), "10.0.0.0/8");
    assert_eq!(config.shards, Shards { count: 4, pin: false, driver: Driver::Epoll });
    let limits = &config.limits;
    assert_eq!((limits.body_bytes_max, limits.head_bytes_max), (48 << 20, 32 << 10));
    let seconds = [limits.head_timeout, limits.body_timeout, limits.keep_alive_timeout, limits.connect_timeout];
    assert_eq!(seconds.map(|d| d.as_secs()), [5, 120, 90, 3]);
    let seconds = [limits.first_byte_timeout, limits.stream_max_timeout, limits.drain_timeout];
    assert_eq!(seconds.map(|d| d.as_secs()), [240, 7200, 25]);
    assert_eq!(limits.idle_timeout, Duration::from_millis(250));
    assert_eq!((limits.connections_max, limits.streams_max), (1000, 500));
    assert_eq!(config.store.path, PathBuf::from("/etc/weir/data"));
    assert_eq!(config.store.flush_interval, Duration::from_millis(20));
    assert_eq!(config.store.segment_bytes_max, 16 << 20);
    assert!(config.admin.token.expose() == "admin-token-value");
    assert_eq!(config.upstreams[0].base_url.authority, "api.anthropic.com");
    let second = &config.upstreams[1];
    assert_eq!((second.base_url.authority.as_str(), second.base_url.base_path.as_str()), ("10.0.0.9:9000", "/proxy"));
    assert_eq!((second.connect_timeout, second.weight), (Some(Duration::from_millis(500)), 3));
    assert_eq!((second.regional, second.on_abort), (true, OnAbort::Drain(Duration::from_secs(5))));
    assert_eq!((config.upstreams[0].regional, config.upstreams[0].on_abort), (false, OnAbort::Cancel));
    assert!(matches!(&second.auth, Some(UpstreamAuth::Bearer(token)) if token.expose() == "upstream-key-value"));
    assert_eq!(config.models[0].aliases, ["sonnet", "us.anthropic.claude-sonnet-5-5"]);
    assert_eq!(config.models[0].targets[1].model.as_deref(), Some("s55"));
    assert!(config.passthrough);
    assert_eq!((config.keys[0].expires, config.keys[1].expires), (Some(1_798_761_600), None));
    assert_eq!((config.keys[0].trusted_peers.len(), config.jwt.len(), config.mtls.is_none()), (1, 2, true));
    assert!(config.keys[1].digest.is_some_and(|digest| digest.0 == [0; 32]));
    assert_eq!(config.on_revoke, OnRevoke::End);
    let budget = &config.budgets[0];
    assert_eq!(budget.scope, Some(ScopePattern::One(ScopeKind::Team, "platform".into())));
    assert_eq!((budget.amount, budget.period, budget.mode), (Nanos(500_000_000_000), Period::Monthly, Mode::Soft));
    assert_eq!(budget.blocked_message, "ask in #llm-budget");
    assert_eq!((config.reserve, config.on_store_error), (Reserve::Strict, OnStoreError::Closed));
    assert_eq!(config.pricing.multiplier.millionths(), 800_000);
    assert_eq!(config.pricing.unknown.output, TokenPrice(30_000_000));
    assert_eq!(config.pricing.overrides[0].cache_write_5m, Some(TokenPrice(1_875_000)));
    assert_eq!(config.audit.retention, Duration::from_secs(30 * 86_400));
}

#[test]
fn sections_left_out_have_no_defaults() {
    let config = good("");
    assert_eq!(config.listen.clients.to_string(), "127.0.0.1:8080");
    assert_eq!(config.listen.admin.to_string(), "127.0.0.1:8081");
    assert_eq!(config.shards, Shards { count: 0, pin: true, driver: Driver::IoUring });
    assert_eq!(config.limits, crate::kernel::limits::Limits::default());
    assert_eq!(config.store.flush_interval, Duration::from_millis(50));
    assert_eq!(config.store.path, PathBuf::from("/etc/weir/weir-data"));
    assert_eq!((config.reserve, config.on_store_error), (Reserve::Expected, OnStoreError::Open));
    assert_eq!(config.on_revoke, OnRevoke::Finish);
    assert_eq!(config.audit.retention, Duration::from_secs(400 * 86_400));
    good("[listen]\n[shards]\n[limits]\n[store]\n[models]\n[budgets]\n[keys]\n[pricing]\n[audit]");
}

const TEN_ERRORS: &str = r#"
[listen]
clients = "localhost:8080"
adnim = "127.0.0.1:8081"
[limits]
body_max = "1GiB"
idle_timeout = 30
[admin]
token = "plain-text-token"
[[upstream]]
name = "main"
provider = "anthropic"
base_url = "http://user:hunter2@example.com"
auth = { api_key = "${MISSING}" }
[[model]]
id = "claude-sonnet-5-5"
targets = [ { upstream = "mian" } ]
[[key]]
id = "dev-alice"
secret = "${EMPTY}"
team = "platform"
[[budget]]
scope = "tem:platform"
amount = "5e2"
period = "monthly"
"#;

#[test]
fn the_first_error_hides_the_others_or_one_shows_a_secret() {
    let secret = "write \"${NAME}\" and set NAME in the environment, or \"${file:/path}\"";
    let expected = [
        "listen.clients: is \"localhost:8080\"; write an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\""
            .to_string(),
        "listen.adnim: is not a known key; did you mean \"admin\"?".to_string(),
        "limits.body_max: is \"1GiB\"; write a size such as \"32MiB\", from \"1KiB\" to \"64MiB\"".to_string(),
        "limits.idle_timeout: is a whole number; write a duration such as \"5m\", from \"10ms\" to \"2h\"".to_string(),
        format!("admin.token: is a secret written out; {secret}; secrets do not belong here"),
        "upstream[0].base_url: has a user name or password in it; write \"https://HOST\", with :PORT and /PATH if need be"
            .to_string(),
        "upstream[0].auth.api_key: the environment variable MISSING is not set; export MISSING=… before the start".to_string(),
        "key[0].secret: the secret behind it is empty; correct the content of EMPTY".to_string(),
        "budget[0].amount: \"5e2\" is not a decimal number; write US dollars in quotes, such as \"500.00\""
            .to_string(),
        "model[0].targets[0].upstream: no upstream is called \"mian\"; did you mean \"main\"?".to_string(),
        "budget[0].scope: is \"tem:platform\"; write \"org\", \"session\", or team:, project:, user: or key: with an id or *, such as \"team:platform\""
            .to_string(),
    ];
    let mut found = errors_of(TEN_ERRORS);
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let all = found.join("\n");
    assert!(!all.contains("plain-text-token") && !all.contains("hunter2"));
}

#[test]
fn a_syntax_error_is_reported_without_its_place_or_with_the_source() {
    let errors = errors_of("[admin]\ntoken = \"tüte\" oops-a-secret\n");
    assert_eq!(errors.len(), 1);
    assert!(errors[0].starts_with("line 2, column 16: "), "{}", errors[0]);
    assert!(!errors[0].contains("oops-a-secret"));
    let twice = errors_of("[admin]\n[admin]\n");
    assert!(twice[0].starts_with("line 2, column "), "{}", twice[0]);
}

#[test]
fn a_file_that_is_not_there_panics() {
    let errors = load(Path::new("/nonexistent/weir.toml")).err().unwrap_or_default();
    assert!(errors[0].message.starts_with("cannot be read"), "{errors:?}");
}

/// The example of interface.md §2, as far as this version goes, and what it refuses.
const INTERFACE: &str = r#"
[listen]
clients = "0.0.0.0:8080"
admin   = "127.0.0.1:8081"
tls     = { cert = "tls.crt", key = "tls.key", client_ca = "ca.pem" }
trusted_proxies = ["10.0.0.0/8"]
allow_from = ["10.0.0.0/8"]
[shards]
count = 0
pin   = true
[limits]
body_max = "32MiB"
head_max = "64KiB"
[store]
path = "weir-data"
[admin]
token = "${TOKEN}"
[[upstream]]
name     = "anthropic-main"
provider = "anthropic"
base_url = "https://api.anthropic.com"
auth     = { api_key = "${KEY}" }
[[upstream]]
name     = "bedrock-use1"
provider = "bedrock"
region   = "us-east-1"
auth     = { access_key_id = "${KEY}", secret_access_key = "${KEY}" }
[[model]]
id       = "claude-sonnet-4-6"
targets  = [ { upstream = "anthropic-main" },
             { upstream = "bedrock-use1", model = "us.anthropic.claude-sonnet-4-6" } ]
strategy = "ordered"
[[key]]
id      = "dev-alice"
secret  = "${ALICE}"
user    = "alice@example.com"
team    = "platform"
project = "checkout"
models  = ["claude-*"]
expires = "2027-01-01T00:00:00Z"
[[jwt]]
issuer   = "https://idp.example.com"
audience = "weir"
jwks_url = "https://idp.example.com/keys"
claims   = { user = "user", team = "team", project = "project" }
[[budget]]
scope  = "team:platform"
amount = "500.00"
period = "monthly"
mode   = "hard"
blocked_message = "ask in #llm-budget"
[budgets]
reserve = "expected"
on_store_error = "open"
[[rate_limit]]
scope = "user:*"
requests_per_minute = 60
[pricing]
multiplier = "1.0"
unknown_model = { input = "5.00", output = "25.00" }
[[price]]
upstream = "bedrock-use1"
model = "claude-sonnet-4-6"
input = "3.30"
output = "16.50"
cache_read = "0.33"
cache_write_5m = "4.125"
cache_write_1h = "6.60"
[audit]
bodies = "none"
retention = "400d"
"#;

#[test]
fn the_documented_example_has_errors() {
    let dir = tls_dir();
    std::fs::copy(dir.path().join("other.crt"), dir.path().join("ca.pem")).unwrap();
    let errors = parse(INTERFACE, dir.path(), &env).err().unwrap_or_default();
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert!(paths.is_empty(), "{errors:#?}");
}

/// Any TOML value, with keys of the language more often than others.
fn value() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(toml::Value::String),
        proptest::sample::select(vec![
            "${KEY}",
            "${file:/}",
            "main",
            "*",
            "team:*",
            "10s",
            "1MiB",
            "0.5",
            "http://[::1]:1/"
        ])
        .prop_map(|text| toml::Value::String(text.into())),
        any::<i64>().prop_map(toml::Value::Integer),
        any::<f64>().prop_map(toml::Value::Float),
        any::<bool>().prop_map(toml::Value::Boolean),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        let key = prop_oneof![
            4 => proptest::sample::select(vec![
                "listen", "clients", "tls", "cert", "limits", "body_max", "streams", "store", "path", "admin", "token",
                "upstream", "name", "provider", "base_url", "auth", "headers", "region", "endpoint", "entra", "bearer", "api_key", "model", "id", "aliases", "targets",
                "models", "key", "secret", "sha256", "expires", "budget", "scope", "amount", "period", "pricing",
                "multiplier", "unknown_model", "price", "input", "output", "audit", "retention", "jwt",
                "rate_limit", "requests_per_minute", "input_tokens_per_minute", "concurrent_requests", "cache_read_weight",
            ]).prop_map(String::from),
            1 => any::<String>(),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
            prop::collection::btree_map(key, inner, 0..8).prop_map(|map| toml::Value::Table(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_text_that_is_no_toml_panics(text in any::<String>()) {
        prop_assert!(parsed(&text).is_err());
    }

    #[test]
    fn a_table_of_the_wrong_shape_panics(table in value()) {
        let text = match &table {
            toml::Value::Table(table) => toml::to_string(table).unwrap_or_default(),
            other => format!("listen = {other}"),
        };
        prop_assert!(parsed(&text).is_err());
    }
}
