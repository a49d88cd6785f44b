//! A gateway in front of one upstream, and requests for it.

use std::net::SocketAddr;
use std::time::Duration;

use aws_lc_rs::digest;
use weir::loadtest::provider::{self, Books, Entry, ProviderHandle, ProviderOptions};

use crate::support::http::{Connection, Response, request_bytes};
use crate::support::{DEADLINE, LOOPBACK, PROVIDER_KEY, Weir};

/// The gateway key of the one caller.
pub const KEY: &str = "weir-key-of-the-wire-tests-0123456789";
pub const MODEL: &str = "claude-sonnet-4-6";

/// One shard, one upstream, one key; models pass through.
const BASE: &str = r#"
[shards]
count = SHARDS
pin = false

[[upstream]]
name = "simulated"
provider = "anthropic"
base_url = "UPSTREAM_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[models]
passthrough = true

[[key]]
id = "dev-alice"
secret = "${ALICE_KEY}"
user = "alice@example.com"
team = "platform"
"#;

/// A configuration with one shard for an upstream at `url`.
pub fn config(url: &str, more_toml: &str) -> String {
    config_of(1, url, more_toml)
}

/// A configuration with so many shards.
pub fn config_of(shards: usize, url: &str, more_toml: &str) -> String {
    let base = BASE.replace("SHARDS", &shards.to_string()).replace("UPSTREAM_URL", url);
    format!("{LOOPBACK}{base}{more_toml}")
}

/// A gateway for that upstream.
pub fn gateway(url: &str, more_toml: &str) -> Weir {
    Weir::start_with(&config(url, more_toml), &[("ALICE_KEY", KEY)])
}

/// A provider inside this process, with the gateway in front of it.
pub struct Bench {
    pub weir: Weir,
    pub provider: ProviderHandle,
}

pub fn provider() -> ProviderHandle {
    let options = ProviderOptions { api_keys: vec![PROVIDER_KEY.to_owned()], ..ProviderOptions::default() };
    provider::start(options).expect("the provider starts")
}

pub fn bench(more_toml: &str) -> Bench {
    let provider = provider();
    let weir = gateway(&format!("http://{}", provider.addr()), more_toml);
    Bench { weir, provider }
}

impl Bench {
    pub fn connect(&self) -> Connection {
        Connection::open(self.weir.clients())
    }

    /// One message on a connection of its own, with a script for the provider.
    pub fn ask(&self, script: &str, body: &[u8]) -> Response {
        let mut connection = self.connect();
        connection.send(&message(self.weir.clients(), script, body));
        connection.read_response()
    }

    /// The provider's books once so many exchanges have ended.
    pub fn books(&self, requests: u64) -> Books {
        let books = self.provider.books_when(DEADLINE, |sums| sums.requests >= requests && sums.open == 0);
        books.unwrap_or_else(|| panic!("{requests} exchanges never ended: {:?}", self.provider.books().totals))
    }

    /// The last entry of the books once so many exchanges have ended.
    pub fn entry(&self, requests: u64) -> Entry {
        self.books(requests).entries.pop().expect("an entry")
    }

    /// The provider sees its client leave, soon.
    pub fn sees_the_client_leave(&self, clients_gone: usize) {
        // A second is what contract.md §9.2 S7 gives; the books are asked for a little longer, and then by their own clock.
        self.provider
            .books_when(Duration::from_secs(20), |sums| sums.requests >= clients_gone as u64 && sums.open == 0)
            .expect("the exchange ends");
        let books = self.provider.books();
        let gone = books.entries.iter().filter(|entry| entry.outcome == provider::Outcome::ClientGone).count();
        assert_eq!(gone, clients_gone, "{:?}", books.entries);
    }

    /// The gateway still serves, and nobody's answer is mixed up with another's.
    pub fn still_serves(&self) {
        let answer = self.ask("", &prompt(false, "are you there"));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["type"], "message");
    }
}

/// A small request body.
pub fn prompt(stream: bool, text: &str) -> Vec<u8> {
    let text = serde_json::Value::from(text);
    format!(
        r#"{{"model":"{MODEL}","max_tokens":64,"stream":{stream},"messages":[{{"role":"user","content":{text}}}]}}"#
    )
    .into_bytes()
}

/// A request body of that many bytes.
pub fn long_prompt(bytes: usize) -> Vec<u8> {
    let empty = prompt(false, "").len();
    prompt(false, &"weir ".repeat(bytes / 5 + 1)[..bytes - empty])
}

/// A whole `POST /v1/messages` with content-length.
pub fn message(addr: SocketAddr, script: &str, body: &[u8]) -> Vec<u8> {
    message_with(addr, script, &[], body)
}

/// The same with more headers.
pub fn message_with(addr: SocketAddr, script: &str, more: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut headers =
        vec![("x-api-key", KEY), ("anthropic-version", "2023-06-01"), ("content-type", "application/json")];
    if !script.is_empty() {
        headers.push(("anthropic-sim", script));
    }
    headers.extend_from_slice(more);
    request_bytes(addr, "POST", "/v1/messages", &headers, body)
}

/// The head of a chunked `POST /v1/messages`.
pub fn chunked_head(addr: SocketAddr, script: &str) -> Vec<u8> {
    let script = if script.is_empty() { String::new() } else { format!("anthropic-sim: {script}\r\n") };
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: {addr}\r\nx-api-key: {KEY}\r\nanthropic-version: 2023-06-01\r\n\
         content-type: application/json\r\n{script}transfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes()
}

/// One chunk.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    digest::digest(&digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An answer that weir made itself, in the shape of format A.
pub fn assert_own_error(answer: &Response, status: u16, kind: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    assert_eq!(answer.header("x-weir-origin"), Some("gateway"), "{:?}", answer.headers);
    let id = answer.header("x-weir-request-id").expect("a request id").to_owned();
    let body = answer.json();
    assert_eq!(body["type"], "error", "{body}");
    assert_eq!(body["error"]["type"], kind, "{body}");
    assert_eq!(body["request_id"], id.as_str(), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|text| text.len() > 10), "{body}");
}
