//! A gateway with an upstream of every provider, all of them the same simulated one, which tells them apart by their paths.

use aws_lc_rs::digest;
use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::{DEADLINE, LOOPBACK, Provider, Weir, eventually};

pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
pub const BEDROCK_ID: &str = "us.anthropic.claude-sonnet-4-5-20250929-v1:0";
pub const VERTEX_ID: &str = "claude-sonnet-4-5@20250929";
pub const VERTEX_TAIL: &str = "projects/of-the-client/locations/global/publishers/anthropic/models";

const CONFIG: &str = r#"
[shards]
count = 1
pin = false

[[upstream]]
name = "main"
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
workspace_id = "wrkspc_01"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[model]]
id = "claude-opus-4-8"
targets = [{ upstream = "foundry" }]

[[model]]
id = "claude-opus-4-7"
targets = [{ upstream = "aws" }]

[[model]]
id = "claude-opus-4-6"
aliases = ["opus"]
targets = [{ upstream = "bedrock" }, { upstream = "vertex" }]

[[model]]
id = "claude-sonnet-4-6"
targets = [{ upstream = "vertex", model = "claude-sonnet-mapped@20260101" }, { upstream = "bedrock", model = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mapped" }]

[[model]]
id = "claude-haiku-5-5"
targets = [{ upstream = "bedrock" }]

[[model]]
id = "claude-opus-5"
targets = [{ upstream = "vertex" }]

[[model]]
id = "claude-sonnet-5"
targets = [{ upstream = "main" }]

[[model]]
id = "acme-1"
targets = [{ upstream = "foundry" }]

[[model]]
id = "acme-2"
targets = [{ upstream = "bedrock", model = "us.anthropic.claude-haiku-5-5" }]

[models]
passthrough = true

[[key]]
id = "dev-alice"
secret = "${ALICE_KEY}"
user = "alice@example.com"
team = "platform"
"#;

pub struct Gateway {
    pub provider: Provider,
    pub weir: Weir,
}

/// A gateway; `more` stands behind the configuration of all.
pub fn start(more: &str) -> Gateway {
    let provider = Provider::start();
    let weir = start_at(&provider.url(), more);
    Gateway { provider, weir }
}

/// The gateway alone, all of its upstreams at one URL.
pub fn start_at(url: &str, more: &str) -> Weir {
    let config = format!("{LOOPBACK}{}{more}", CONFIG.replace("PROVIDER_URL", url));
    Weir::start_with(&config, &[("ALICE_KEY", ALICE_KEY)])
}

/// A body that no reprint would leave as it is: odd spaces, escapes, a large number, unknown fields. `sim` is the provider's script,
/// which cannot come as a header where such headers stay behind.
pub fn body(version: &str, sim: &str) -> Vec<u8> {
    format!(
        r#"{{ "anthropic_version" :"{version}","max_tokens":1000,"zeta":1.50e+2,"big":123456789012345678901234567890,
 "system":[{{"type":"text","text":"caf\u00e9 \u0000 \\p{{L}}","cache_control":{{"ttl":"1h","type":"ephemeral"}}}}],
 "messages":[{{"content":"How deep is the river? — tief [[sim {sim}]]","role":"user"}}]}}"#
    )
    .into_bytes()
}

impl Gateway {
    /// One request with Alice's key as a bearer.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let bearer = format!("Bearer {ALICE_KEY}");
        let own = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::request(self.weir.clients(), "POST", path, &[&own[..], headers].concat(), body)
    }

    pub fn get(&self, path: &str) -> Response {
        http::request(self.weir.clients(), "GET", path, &[("x-api-key", ALICE_KEY)], b"")
    }

    /// The provider's newest entry, once it has so many.
    pub fn entry(&self, requests: u64) -> Value {
        let books = self.provider.books_of(requests);
        let entries = books["entries"].as_array().expect("entries");
        entries.iter().max_by_key(|e| e["index"].as_u64()).expect("an entry").clone()
    }

    /// The newest record, once there are so many.
    pub fn record(&self, requests: usize) -> Value {
        let records = eventually(DEADLINE, &format!("{requests} records"), || {
            let answer = self.weir.admin_get("/admin/v1/requests?limit=1000");
            let records = answer["data"].as_array().expect("records").clone();
            (records.len() == requests).then_some(records)
        });
        records.iter().max_by_key(|r| r["request_id"].as_str().map(str::to_owned)).expect("a record").clone()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the provider billed, in the record's words.
pub fn billed(entry: &Value) -> Value {
    let usage = &entry["usage"];
    json!({
        "input": usage["input"], "output": usage["output"], "cache_read": usage["cache_read"],
        "cache_write_5m": usage["cache_write_5m"], "cache_write_1h": usage["cache_write_1h"],
        "web_search": usage["web_search"],
    })
}
