//! A gateway before one provider that wants a proof of its own.

use serde_json::json;

use crate::support::http::{self, Response};
use crate::support::{DEADLINE, LOOPBACK, Provider, Weir, eventually};

pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
/// Key of AWS that the provider knows.
pub const AWS_ID: &str = "AKIAIOSFODNN7EXAMPLE";
pub const AWS_SECRET: &str = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY";

pub const REST: &str = r#"
[shards]
count = 2
pin = false

[models]
passthrough = true

[[key]]
id = "dev-alice"
secret = "${ALICE_KEY}"
"#;

pub struct Gateway {
    pub provider: Provider,
    pub weir: Weir,
}

/// A gateway with one upstream: `upstream` is what its table holds besides name and base URL, `environment` what the process
/// finds; `SIM_ADDRESS` in either is the provider's host and port.
pub fn start(provider: &[&str], upstream: &str, environment: &[(&str, &str)]) -> Gateway {
    let provider = Provider::start_with(provider);
    start_before(provider, upstream, environment)
}

pub fn start_before(provider: Provider, upstream: &str, environment: &[(&str, &str)]) -> Gateway {
    let base = format!("[[upstream]]\nname = \"main\"\nbase_url = \"{}\"\n{upstream}\n", provider.url());
    start_whole(provider, &format!("{base}{REST}"), environment)
}

/// A gateway whose configuration is given but for the listeners.
pub fn start_whole(provider: Provider, config: &str, environment: &[(&str, &str)]) -> Gateway {
    let address = provider.addr().to_string();
    let mut variables: Vec<(&str, String)> =
        environment.iter().map(|(name, value)| (*name, value.replace("SIM_ADDRESS", &address))).collect();
    variables.push(("ALICE_KEY", ALICE_KEY.to_owned()));
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let weir = Weir::start_with(&format!("{LOOPBACK}{}", config.replace("SIM_ADDRESS", &address)), &variables);
    Gateway { provider, weir }
}

pub fn body(model: &str, text: &str) -> Vec<u8> {
    json!({"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}).to_string().into_bytes()
}

impl Gateway {
    /// A message, with more headers.
    pub fn ask_with(&self, more: &[(&str, &str)], body: &[u8]) -> Response {
        let bearer = format!("Bearer {ALICE_KEY}");
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
        ];
        headers.extend(more);
        http::request(self.weir.clients(), "POST", "/v1/messages", &headers, body)
    }

    pub fn ask(&self) -> Response {
        self.ask_with(&[], &body("claude-sonnet-4-6", "How deep is the river?"))
    }

    /// A message that must be answered.
    pub fn served(&self) {
        let answer = self.ask();
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["type"], "message");
    }

    /// An endpoint of the provider's own.
    pub fn issuer(&self, method: &str, path: &str) -> serde_json::Value {
        let answer = http::request(self.provider.addr(), method, path, &[], b"");
        assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        answer.json()
    }

    /// How many credentials the provider has issued.
    pub fn issued(&self) -> u64 {
        self.issuer("GET", "/sim/issuer")["issued"].as_u64().expect("a number")
    }

    /// The record of the last request, once the ledger has it.
    pub fn newest_record(&self) -> serde_json::Value {
        eventually(DEADLINE, "there is a record", || {
            let records = self.weir.admin_get("/admin/v1/requests");
            records["data"].get(0).cloned()
        })
    }

    /// What the admin API says of the upstream's credential.
    pub fn credential(&self) -> serde_json::Value {
        let upstreams = self.weir.admin_get("/admin/v1/upstreams");
        let found = upstreams["data"].as_array().and_then(|all| all.iter().find(|u| u["upstream"] == "main"));
        found.expect("the upstream").clone()
    }
}
