//! A gateway on two shards with one configured key, and what tests ask of it.

use serde_json::{Value, json};

use crate::support::http::{self, Connection, Response};
use crate::support::{DEADLINE, LOOPBACK, Provider, Weir, eventually};

pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
/// Shards of every gateway here.
pub const SHARDS: usize = 2;

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

/// A gateway; `more` stands behind the configuration of all.
pub fn start(more: &str) -> Gateway {
    start_with(more, &[])
}

pub fn start_with(more: &str, variables: &[(&str, &str)]) -> Gateway {
    let provider = Provider::start();
    let variables = [&[("ALICE_KEY", ALICE_KEY)], variables].concat();
    let weir = Weir::start_with(&config(&provider, more), &variables);
    Gateway { provider, weir }
}

pub fn config(provider: &Provider, more: &str) -> String {
    format!("{LOOPBACK}{}{more}", CONFIG.replace("PROVIDER_URL", &provider.url()))
}

/// The bytes of a request for a message.
pub fn message(gateway: &Gateway, key: &str, sim: &str, stream: bool) -> Vec<u8> {
    let body = json!({"model": "claude-sonnet-4-6", "max_tokens": 1000, "stream": stream,
        "messages": [{"role": "user", "content": "How deep is the river?"}]});
    let bearer = format!("Bearer {key}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-sim", sim),
    ];
    http::request_bytes(gateway.weir.clients(), "POST", "/v1/messages", &headers, body.to_string().as_bytes())
}

impl Gateway {
    pub fn admin(&self, method: &str, path: &str, body: &str) -> Response {
        self.weir.admin_request(method, &format!("/admin/v1/keys{path}"), body.as_bytes())
    }

    /// Makes a key and answers with its secret.
    pub fn create(&self, body: Value) -> String {
        let answer = self.admin("POST", "", &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        answer.json()["secret"].as_str().expect("a secret").to_owned()
    }

    pub fn revoke(&self, id: &str) {
        let answer = self.admin("DELETE", &format!("/{id}"), "");
        assert_eq!((answer.status, &answer.json()["state"]), (200, &"revoked".into()), "{}", answer.text());
    }

    /// Gives a key a new secret.
    pub fn rotate(&self, id: &str, grace: &str) -> String {
        let answer = self.admin("POST", &format!("/{id}/rotate"), &json!({ "grace": grace }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["secret"].as_str().expect("a secret").to_owned()
    }

    /// How a key stands, by the list of all keys.
    pub fn state(&self, id: &str) -> String {
        let list = self.weir.admin_get("/admin/v1/keys");
        let key = list["data"].as_array().expect("keys").iter().find(|key| key["id"] == id);
        key.unwrap_or_else(|| panic!("no {id} in {list}"))["state"].as_str().expect("a state").to_owned()
    }

    /// One message on a connection of its own.
    pub fn ask(&self, key: &str) -> Response {
        let mut connection = Connection::open(self.weir.clients());
        connection.send(&message(self, key, "events=2", false));
        connection.read_response()
    }

    /// Waits until every shard serves what was published last.
    pub fn settle(&self) {
        eventually(DEADLINE, "every shard serves the newest snapshot", || {
            (self.weir.admin_get("/admin/v1/shards")["settled"] == true).then_some(())
        });
    }

    /// A figure of each shard.
    pub fn shard_figures(&self, name: &str) -> Vec<u64> {
        let shards = self.weir.admin_get("/admin/v1/shards");
        shards["data"].as_array().expect("shards").iter().map(|shard| shard[name].as_u64().expect("a figure")).collect()
    }

    /// Connections for which `begin` has been done, so many that every shard has got one more of the figure.
    pub fn on_every_shard(&self, figure: &str, mut begin: impl FnMut(&mut Connection)) -> Vec<Connection> {
        let before = self.shard_figures(figure);
        assert_eq!(before.len(), SHARDS);
        let mut connections = Vec::new();
        let reached = |figures: Vec<u64>| figures.iter().zip(&before).all(|(now, before)| now > before);
        while !reached(self.shard_figures(figure)) {
            assert!(connections.len() < 200, "the kernel gives all connections to one shard");
            let mut connection = Connection::open(self.weir.clients());
            begin(&mut connection);
            connections.push(connection);
        }
        connections
    }

    /// Streams that run on every shard; their heads have been read.
    pub fn streams(&self, key: &str, sim: &str) -> Vec<Connection> {
        self.on_every_shard("streams", |connection| {
            connection.send(&message(self, key, sim, true));
            assert_eq!(connection.read_head().status, 200);
            connection.read_chunk().expect("an event");
        })
    }

    /// Kept connections on every shard, each of which has been answered once.
    pub fn kept(&self, key: &str) -> Vec<Connection> {
        self.on_every_shard("connections", |connection| assert_eq!(self.probe(connection, key).status, 200))
    }

    /// The cheapest question that wants a key, on a kept connection.
    pub fn probe(&self, connection: &mut Connection, key: &str) -> Response {
        connection.send(&http::request_bytes(self.weir.clients(), "GET", "/v1/models", &[("x-api-key", key)], b""));
        connection.read_response()
    }

    /// The records of a key, as soon as there are so many.
    pub fn records(&self, key: &str, count: usize) -> Vec<Value> {
        eventually(DEADLINE, &format!("{count} records of {key}"), || {
            let answer = self.weir.admin_get(&format!("/admin/v1/requests?limit=1000&key={key}"));
            let records = answer["data"].as_array().expect("records").clone();
            (records.len() == count).then_some(records)
        })
    }
}

/// What is left of a chunked answer, up to its last chunk.
pub fn rest_of(connection: &mut Connection) -> String {
    let mut text = Vec::new();
    while let Some(chunk) = connection.read_chunk() {
        text.extend(chunk);
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A refusal of ours that no client tries again.
pub fn assert_refused(response: &Response, says: &str) {
    assert_eq!(response.status, 401, "{}", response.text());
    assert_eq!(response.json()["error"]["type"], "authentication_error");
    assert_eq!(response.header("x-should-retry"), Some("false"));
    assert!(response.text().contains(says), "{says}: {}", response.text());
}
