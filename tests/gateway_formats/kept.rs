//! Two teams, two accounts: what is needed to see who reaches which batch or file, and what it costs whom.

use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::{LOOPBACK, Provider, Weir};

pub const ANN: &str = "weir-key-of-ann-0123456789abcdef0123";
pub const AL: &str = "weir-key-of-al-0123456789abcdef01234";
/// May use one model alone.
pub const EVE: &str = "weir-key-of-eve-0123456789abcdef0123";
pub const BOB: &str = "weir-key-of-bob-0123456789abcdef0123";

const CONFIG: &str = r#"
[shards]
count = 2
pin = false

[[upstream]]
name = "first"
provider = "anthropic"
base_url = "FIRST_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[upstream]]
name = "second"
provider = "anthropic"
base_url = "SECOND_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[model]]
id = "claude-sonnet-4-6"
targets = [{ upstream = "first" }]

[[model]]
id = "claude-opus-4-6"
targets = [{ upstream = "second" }]

[[key]]
id = "ann"
secret = "${ANN}"
team = "blue"

[[key]]
id = "al"
secret = "${AL}"
team = "blue"

[[key]]
id = "bob"
secret = "${BOB}"
team = "red"

[[key]]
id = "eve"
secret = "${EVE}"
models = ["claude-opus-*"]
"#;

pub struct House {
    pub first: Provider,
    pub second: Provider,
    pub weir: Weir,
}

impl House {
    pub fn start(more: &str) -> House {
        let (first, second) = (Provider::start(), Provider::start());
        let weir = weir(&first, &second, more);
        House { first, second, weir }
    }

    pub fn ask(&self, key: &str, method: &str, path: &str, body: &[u8]) -> Response {
        ask(&self.weir, key, method, path, body)
    }

    /// What is booked for a team, tokens and money.
    pub fn usage(&self, team: &str) -> Value {
        let all = self.weir.admin_get("/admin/v1/usage?group_by=team");
        let rows = all["data"].as_array().expect("rows").clone();
        rows.into_iter().find(|row| row["team"] == team).unwrap_or_default()
    }
}

/// A gateway to both accounts.
pub fn weir(first: &Provider, second: &Provider, more: &str) -> Weir {
    let config = CONFIG.replace("FIRST_URL", &first.url()).replace("SECOND_URL", &second.url());
    Weir::start_with(&format!("{LOOPBACK}{config}{more}"), &[("ANN", ANN), ("AL", AL), ("BOB", BOB), ("EVE", EVE)])
}

pub fn ask(weir: &Weir, key: &str, method: &str, path: &str, body: &[u8]) -> Response {
    let headers = [("x-api-key", key), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    http::request(weir.clients(), method, path, &headers, body)
}

/// A batch of so many requests for a model; every fifth fails.
pub fn batch(model: &str, requests: usize) -> Vec<u8> {
    let one = |n: usize| {
        let name = if n % 5 == 4 { "fail" } else { "ok" };
        json!({
            "custom_id": format!("{name}-{n}"),
            "params": { "model": model, "max_tokens": 200, "messages": [{ "role": "user", "content": "x".repeat(40 * (n + 1)) }] },
        })
    };
    json!({ "requests": (0..requests).map(one).collect::<Vec<_>>() }).to_string().into_bytes()
}

/// The id in an answer.
pub fn id(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["id"].as_str().expect("an id").to_owned()
}
