//! A gateway on two shards with one key and whatever else a test configures.

use serde_json::{Value, json};

use crate::idp::{ISSUER, Idp};
use crate::support::http::{self, Connection, Response};
use crate::support::{DEADLINE, LOOPBACK, Provider, Weir, eventually};

pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
pub const SECRET: &str = "a-shared-secret-of-0123456789abcdef";
pub const OLD_SECRET: &str = "the-secret-before-of-0123456789abcdef";
pub const SONNET: &str = "claude-sonnet-4-6";

const CONFIG: &str = r#"
[shards]
count = 2
pin = false

[[upstream]]
name = "main"
provider = "anthropic"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

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

/// `[[jwt]]` with a published set; `more` are further keys of the table.
pub fn published(idp: &Idp, more: &str) -> String {
    jwt(&format!("jwks_url = \"{}\"\n{more}", idp.url()))
}

/// `[[jwt]]` with a shared secret.
pub fn shared_secret(more: &str) -> String {
    jwt(&format!("hs256_secret = \"${{JWT_SECRET}}\"\n{more}"))
}

pub fn jwt(source: &str) -> String {
    format!(
        "[[jwt]]\nissuer = \"{ISSUER}\"\naudience = \"weir\"\n\
         claims = {{ user = \"user\", team = \"team\", project = \"project\" }}\n{source}\n"
    )
}

/// A gateway; `more` stands behind the configuration of all.
pub fn start(more: &str) -> Gateway {
    start_as(|provider| config(provider, more))
}

pub fn start_as(config: impl FnOnce(&Provider) -> String) -> Gateway {
    let provider = Provider::start();
    let variables =
        [("ALICE_KEY", ALICE_KEY), ("JWT_SECRET", SECRET), ("OLD_SECRET", OLD_SECRET), ("WEIR_LOG", "debug")];
    let weir = Weir::start_with(&config(&provider), &variables);
    Gateway { provider, weir }
}

pub fn config(provider: &Provider, more: &str) -> String {
    format!("{LOOPBACK}{}{more}", CONFIG.replace("PROVIDER_URL", &provider.url()))
}

/// The body of a question.
pub fn question(model: &str, stream: bool) -> Vec<u8> {
    let body = json!({"model": model, "max_tokens": 1000, "stream": stream,
        "messages": [{"role": "user", "content": "How deep is the river?"}]});
    body.to_string().into_bytes()
}

/// Headers of a question with these credentials.
pub fn headers<'a>(credentials: &[(&'a str, &'a str)], sim: &'a str) -> Vec<(&'a str, &'a str)> {
    let usual = [("content-type", "application/json"), ("anthropic-version", "2023-06-01"), ("anthropic-sim", sim)];
    [credentials, &usual].concat()
}

impl Gateway {
    /// One message with these headers.
    pub fn ask_with(&self, credentials: &[(&str, &str)]) -> Response {
        self.ask_for(SONNET, credentials)
    }

    pub fn ask_for(&self, model: &str, credentials: &[(&str, &str)]) -> Response {
        let headers = headers(credentials, "events=2");
        http::request(self.weir.clients(), "POST", "/v1/messages", &headers, &question(model, false))
    }

    /// One message with a bearer.
    pub fn ask(&self, token: &str) -> Response {
        self.ask_with(&[("authorization", &format!("Bearer {token}"))])
    }

    /// A stream that runs; its head has been read.
    pub fn stream(&self, token: &str, sim: &str) -> Connection {
        let bearer = format!("Bearer {token}");
        let headers = headers(&[("authorization", &bearer)], sim);
        let mut connection = Connection::open(self.weir.clients());
        let body = question(SONNET, true);
        connection.send(&http::request_bytes(self.weir.clients(), "POST", "/v1/messages", &headers, &body));
        assert_eq!(connection.read_head().status, 200);
        connection.read_chunk().expect("an event");
        connection
    }

    /// The record of an answer.
    pub fn record_of(&self, answer: &Response) -> Value {
        let id = answer.header("x-weir-request-id").expect("every answer has its id").to_owned();
        eventually(DEADLINE, "the record", || {
            let answer = self.weir.admin_get("/admin/v1/requests?limit=1000");
            answer["data"]
                .as_array()
                .expect("records")
                .iter()
                .find(|record| record["request_id"] == id.as_str())
                .cloned()
        })
    }

    /// Key, user, team and project as the record of an answer has them.
    pub fn caller_of(&self, answer: &Response) -> [String; 4] {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let record = self.record_of(answer);
        ["key", "user", "team", "project"].map(|name| record[name].as_str().unwrap_or("").to_owned())
    }

    /// Takes a new configuration.
    pub fn reload(&self, more: &str) {
        self.weir.write_config(&config(&self.provider, more));
        let answer = self.weir.admin_request("POST", "/admin/v1/reload", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.settle();
    }

    /// Waits until every shard serves what was published last.
    pub fn settle(&self) {
        eventually(DEADLINE, "every shard serves the newest snapshot", || {
            (self.weir.admin_get("/admin/v1/shards")["settled"] == true).then_some(())
        });
    }

    /// Waits until a token is good.
    pub fn let_in(&self, token: &str) {
        eventually(DEADLINE, "the token is let in", || (self.ask(token).status == 200).then_some(()));
    }

    /// How many requests the provider has seen.
    pub fn reached(&self) -> u64 {
        self.provider.books()["totals"]["requests"].as_u64().expect("a number")
    }
}

/// A refusal of ours, that nothing but another credential changes.
pub fn assert_refused(response: &Response, says: &str) {
    assert_eq!(response.status, 401, "{}", response.text());
    assert_eq!(response.json()["error"]["type"], "authentication_error");
    assert_eq!(response.header("x-weir-origin"), Some("gateway"));
    assert_eq!(response.header("x-should-retry"), Some("false"), "{}", response.text());
    assert!(response.text().contains(says), "{says}: {}", response.text());
}

/// A refusal that the same token can outlive.
pub fn assert_not_yet(response: &Response) {
    assert_eq!(response.status, 401, "{}", response.text());
    assert_eq!((response.header("x-should-retry"), response.header("retry-after")), (Some("true"), Some("1")));
    assert!(response.text().contains("try again"), "{}", response.text());
}
