//! The gateway that the clients meet: one simulated provider, three models, two keys.

use crate::support::{LOOPBACK, Provider, Weir};

/// Key of alice, who may use every model.
pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
pub const ALICE: &str = "alice@example.com";
/// Key of bob, who may use Haiku alone.
pub const BOB_KEY: &str = "weir-key-of-bob-0123456789abcdef00";

pub const SONNET: &str = "claude-sonnet-4-6";
pub const OPUS: &str = "claude-opus-5-5";
pub const HAIKU: &str = "claude-haiku-4-5-20251001";

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

const UPSTREAM_AND_KEYS: &str = r#"
[shards]
count = 2
pin = false

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

/// A provider and a gateway in front of it, with more configuration appended.
pub fn start(more_toml: &str) -> (Provider, Weir) {
    start_with(more_toml, &[])
}

/// As [`start`], with more variables for the secrets that the configuration names.
pub fn start_with(more_toml: &str, variables: &[(&str, &str)]) -> (Provider, Weir) {
    let provider = Provider::start();
    let config = format!("{LOOPBACK}{}{more_toml}", UPSTREAM_AND_KEYS.replace("PROVIDER_URL", &provider.url()));
    let variables = [&[("ALICE_KEY", ALICE_KEY), ("BOB_KEY", BOB_KEY)], variables].concat();
    let weir = Weir::start_with(&config, &variables);
    (provider, weir)
}
