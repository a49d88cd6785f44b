//! The gateway that the clients meet: one simulated provider, as one upstream or as one of every platform, and two keys.

use std::env;
use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{DEADLINE, LOOPBACK, PROVIDER_KEY, Provider, Weir, eventually};

/// Key of alice, who may use every model.
pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
pub const ALICE: &str = "alice@example.com";
/// Key of bob, who may use Haiku alone.
pub const BOB_KEY: &str = "weir-key-of-bob-0123456789abcdef00";

pub const SONNET: &str = "claude-sonnet-4-6";
pub const OPUS: &str = "claude-opus-5-5";
pub const HAIKU: &str = "claude-haiku-4-5-20251001";

/// Models of [`start_everywhere`] that only one platform serves; Sonnet is Anthropic's there, and Haiku Vertex's.
pub const AT_BEDROCK: &str = "claude-opus-4-6";
pub const AT_FOUNDRY: &str = "claude-opus-4-8";
pub const AT_AWS: &str = "claude-opus-4-7";

/// What a caller without money is told.
pub const BLOCKED_MESSAGE: &str = "ask in #llm-budget for more";
/// A daily cap for each user that one answer of [`DEAR_ANSWER`] goes far beyond.
pub const TINY_BUDGET: &str = r##"
[[budget]]
scope = "user:*"
amount = "0.50"
period = "daily"
mode = "hard"
blocked_message = "ask in #llm-budget for more"
"##;
/// Behaviour of the provider: an answer of at least $1.50 at any model's price from $15 per million output tokens on.
pub const DEAR_ANSWER: &str = "events=2 event_bytes=120 output_tokens=100000";

/// An issuer of tokens that shares this secret.
pub const JWT_SECRET: &str = "a-shared-secret-of-0123456789abcdef";
pub const JWT: &str = r#"
[[jwt]]
issuer = "helper"
audience = "weir"
hs256_secret = "${JWT_SECRET}"
claims = { user = "user", team = "team" }
"#;

const SHARDS_AND_KEYS: &str = r#"
[shards]
count = 2
pin = false

[[key]]
id = "dev-alice"
secret = "${ALICE_KEY}"
user = "alice@example.com"
team = "platform"
project = "checkout"

[[key]]
id = "dev-bob"
secret = "${BOB_KEY}"
user = "bob@example.com"
team = "platform"
models = ["claude-haiku-*"]
"#;

const ONE_UPSTREAM: &str = r#"
[[upstream]]
name = "simulated"
provider = "anthropic"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[model]]
id = "claude-sonnet-4-6"
targets = [{ upstream = "simulated" }]

[[model]]
id = "claude-opus-5-5"
targets = [{ upstream = "simulated" }]

[[model]]
id = "claude-haiku-4-5-20251001"
targets = [{ upstream = "simulated" }]
"#;

const EVERY_UPSTREAM: &str = r#"
[[upstream]]
name = "anthropic"
provider = "anthropic"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[upstream]]
name = "bedrock"
provider = "bedrock"
region = "us-east-1"
base_url = "PROVIDER_URL"
auth = { bearer = "${PROVIDER_KEY}" }

[[upstream]]
name = "vertex"
provider = "vertex"
project = "of-the-gateway"
region = "us-east5"
base_url = "PROVIDER_URL"
auth = { access_token = "${PROVIDER_KEY}" }

[[upstream]]
name = "foundry"
provider = "foundry"
resource = "weir"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[upstream]]
name = "aws"
provider = "anthropic_aws"
region = "us-east-1"
workspace_id = "wrkspc_of_the_gateway"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[model]]
id = "claude-sonnet-4-6"
targets = [{ upstream = "anthropic" }]

[[model]]
id = "claude-opus-4-6"
targets = [{ upstream = "bedrock" }]

[[model]]
id = "claude-haiku-4-5-20251001"
targets = [{ upstream = "vertex" }]

[[model]]
id = "claude-opus-4-8"
targets = [{ upstream = "foundry" }]

[[model]]
id = "claude-opus-4-7"
targets = [{ upstream = "aws" }]
"#;

/// A provider and a gateway in front of it, with more configuration appended.
pub fn start(more_toml: &str) -> (Provider, Weir) {
    start_with(more_toml, &[])
}

/// As [`start`], with more variables for the secrets that the configuration names.
pub fn start_with(more_toml: &str, variables: &[(&str, &str)]) -> (Provider, Weir) {
    let provider = Provider::start();
    let config =
        format!("{LOOPBACK}{SHARDS_AND_KEYS}{ONE_UPSTREAM}{more_toml}").replace("PROVIDER_URL", &provider.url());
    let weir = Weir::start_with(&config, &[&KEYS, variables].concat());
    (provider, weir)
}

const KEYS: [(&str, &str); 2] = [("ALICE_KEY", ALICE_KEY), ("BOB_KEY", BOB_KEY)];

/// A gateway with an upstream of every platform, all of them one provider, which tells them apart by their paths and keeps the bodies
/// it got.
pub fn start_everywhere(more_toml: &str) -> (Provider, Weir) {
    start_everywhere_on(LOOPBACK, more_toml)
}

/// As [`start_everywhere`], with TLS on the clients' listener, and the file of the certificate to trust.
pub fn start_everywhere_tls(more_toml: &str) -> (Provider, Weir, PathBuf) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (cert, key) = (home().join("tls.crt"), home().join("tls.key"));
    fs::write(&cert, made.cert.pem()).expect("the certificate is written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("the key is written");
    let tls = format!("admin = \"127.0.0.1:0\"\ntls = {{ cert = {cert:?}, key = {key:?} }}");
    let (provider, weir) = start_everywhere_on(&LOOPBACK.replace("admin = \"127.0.0.1:0\"", &tls), more_toml);
    (provider, weir, cert)
}

fn start_everywhere_on(listen: &str, more_toml: &str) -> (Provider, Weir) {
    let provider = Provider::start_with(&["--api-key", PROVIDER_KEY, "--keep-bodies"]);
    let config =
        format!("{listen}{SHARDS_AND_KEYS}{EVERY_UPSTREAM}{more_toml}").replace("PROVIDER_URL", &provider.url());
    let weir = Weir::start_with(&config, &KEYS);
    (provider, weir)
}

/// The provider's exchanges in their order, once there are so many.
pub fn entries(provider: &Provider, requests: u64) -> Vec<Value> {
    let books = provider.books_of(requests);
    let mut entries = books["entries"].as_array().expect("entries").clone();
    entries.sort_by_key(|entry| entry["index"].as_u64());
    entries
}

/// The records that `wanted` picks, in the order in which their requests came, once there are so many.
pub fn records(weir: &Weir, count: usize, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut records = eventually(DEADLINE, &format!("{count} records"), || {
        let answer = weir.admin_get("/admin/v1/requests?limit=1000");
        let picked: Vec<Value> = answer["data"].as_array()?.iter().filter(|record| wanted(record)).cloned().collect();
        (picked.len() >= count).then_some(picked)
    });
    assert_eq!(records.len(), count, "{records:#?}");
    records.sort_by_key(|record| record["started_at"].as_str().map(str::to_owned));
    records
}

/// What the provider billed, in the record's words.
pub fn billed(entry: &Value) -> Value {
    let usage = &entry["usage"];
    serde_json::json!({
        "input": usage["input"], "output": usage["output"], "cache_read": usage["cache_read"],
        "cache_write_5m": usage["cache_write_5m"], "cache_write_1h": usage["cache_write_1h"],
        "web_search": usage["web_search"],
    })
}

/// Dollars of a field like `"1.234567890"`.
pub fn dollars(cost: &Value) -> f64 {
    cost.as_str().and_then(|cost| cost.parse().ok()).expect("a cost")
}

/// The isolated test's own folder.
pub fn home() -> PathBuf {
    PathBuf::from(env::var_os("HOME").expect("set for the isolated test"))
}
