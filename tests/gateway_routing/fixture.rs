//! A gateway in front of several accounts, each with a will of its own.

use std::net::SocketAddr;

use serde_json::Value;
use weir::loadtest::provider::{self, BilledUsage, ProviderHandle, ProviderOptions};

use crate::support::http::{Connection, Response, request_bytes};
use crate::support::{DEADLINE, LOOPBACK, PROVIDER_KEY, Weir, eventually};

/// The gateway key of the one caller.
pub const KEY: &str = "weir-key-of-the-routing-tests-0123456789";
pub const MODEL: &str = "claude-sonnet-4-6";

const CALLER: &str = r#"
[[key]]
id = "dev-alice"
secret = "${ALICE_KEY}"
user = "alice@example.com"
team = "platform"
"#;

/// One upstream of a configuration.
pub fn upstream(name: &str, addr: SocketAddr) -> String {
    format!(
        "[[upstream]]\nname = \"{name}\"\nprovider = \"anthropic\"\nbase_url = \"http://{addr}\"\n\
         auth = {{ api_key = \"${{PROVIDER_KEY}}\" }}\n"
    )
}

/// The one model, with these targets as they stand in its list.
pub fn model(strategy: &str, targets: &[String]) -> String {
    let strategy = if strategy.is_empty() { String::new() } else { format!("strategy = \"{strategy}\"\n") };
    format!("[[model]]\nid = \"{MODEL}\"\n{strategy}targets = [{}]\n", targets.join(", "))
}

/// A target without more words than it needs.
pub fn target(name: &str) -> String {
    format!("{{ upstream = \"{name}\" }}")
}

/// A configuration with so many shards.
pub fn config(shards: usize, more_toml: &str) -> String {
    format!("{LOOPBACK}[shards]\ncount = {shards}\npin = false\n{CALLER}{more_toml}")
}

/// A gateway with that configuration.
pub fn gateway(shards: usize, more_toml: &str) -> Weir {
    Weir::start_with(&config(shards, more_toml), &[("ALICE_KEY", KEY)])
}

/// A provider inside this process that is like these words by itself.
pub fn account(script: &str) -> ProviderHandle {
    account_of(0, script)
}

/// The same, with a seed of its own, so that its ids are its own too.
pub fn account_of(seed: u64, script: &str) -> ProviderHandle {
    let options = ProviderOptions {
        api_keys: vec![PROVIDER_KEY.to_owned()],
        script: script.to_owned(),
        seed,
        ..ProviderOptions::default()
    };
    provider::start(options).expect("the provider starts")
}

/// A gateway on one shard in front of accounts that are like these words.
pub struct Fleet {
    pub weir: Weir,
    pub accounts: Vec<ProviderHandle>,
}

/// The name of an account in the configuration.
pub fn name(place: usize) -> String {
    format!("account-{place}")
}

impl Fleet {
    /// One shard, one model with all of them as targets.
    pub fn start(strategy: &str, scripts: &[&str], more_toml: &str) -> Fleet {
        let accounts: Vec<ProviderHandle> = scripts.iter().map(|script| account(script)).collect();
        let upstreams: String = accounts.iter().enumerate().map(|(at, a)| upstream(&name(at), a.addr())).collect();
        let targets: Vec<String> = (0..accounts.len()).map(|at| target(&name(at))).collect();
        let weir = gateway(1, &format!("{more_toml}{upstreams}{}", model(strategy, &targets)));
        Fleet { weir, accounts }
    }

    /// Requests that an account has been asked, once it is idle.
    pub fn asked(&self, place: usize) -> u64 {
        let idle = self.accounts[place].books_when(DEADLINE, |totals| totals.open == 0);
        idle.expect("the account comes to rest").totals.requests
    }

    /// The records of all requests, once there are so many and nothing runs any more.
    pub fn records(&self, count: usize) -> Vec<Value> {
        records(&self.weir, count)
    }
}

/// The records of all requests, once there are so many and nothing runs any more.
pub fn records(weir: &Weir, count: usize) -> Vec<Value> {
    eventually(DEADLINE, &format!("{count} records"), || {
        let answer = weir.admin_get("/admin/v1/requests?limit=10000");
        let records = answer["data"].as_array().expect("records").clone();
        assert!(records.len() <= count, "{} records of {count} requests", records.len());
        (records.len() == count).then_some(records)
    })
}

/// The attempts of a record: upstream, status and result.
pub fn attempts(record: &Value) -> Vec<(String, u64, String)> {
    let text = |attempt: &Value, field: &str| attempt[field].as_str().unwrap_or_default().to_owned();
    let attempts = record["attempts"].as_array().expect("attempts");
    attempts.iter().map(|a| (text(a, "upstream"), a["status"].as_u64().unwrap_or(0), text(a, "result"))).collect()
}

/// A small request.
pub fn message(addr: SocketAddr, session: &str, sim: &str, body: &[u8]) -> Vec<u8> {
    let mut headers = vec![("x-api-key", KEY), ("anthropic-version", "2023-06-01")];
    if !session.is_empty() {
        headers.push(("x-claude-code-session-id", session));
        headers.push(("anthropic-sim-session", session));
    }
    if !sim.is_empty() {
        headers.push(("anthropic-sim", sim));
    }
    request_bytes(addr, "POST", "/v1/messages", &headers, body)
}

pub fn prompt(stream: bool) -> Vec<u8> {
    prompt_of(stream, "hello")
}

pub fn prompt_of(stream: bool, text: &str) -> Vec<u8> {
    format!(
        r#"{{"model":"{MODEL}","max_tokens":64,"stream":{stream},"messages":[{{"role":"user","content":"{text}"}}]}}"#
    )
    .into_bytes()
}

/// One request on a connection of its own.
pub fn ask(weir: &Weir, session: &str, sim: &str) -> Response {
    ask_with(weir, session, sim, &prompt(false))
}

pub fn ask_with(weir: &Weir, session: &str, sim: &str, body: &[u8]) -> Response {
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), session, sim, body));
    connection.read_response()
}

/// A record's usage, as the provider's books write it.
pub fn usage_of(record: &Value) -> BilledUsage {
    let field = |name: &str| record["usage"][name].as_u64().unwrap_or_else(|| panic!("no usage.{name}: {record}"));
    BilledUsage {
        input: field("input"),
        output: field("output"),
        cache_read: field("cache_read"),
        cache_write_5m: field("cache_write_5m"),
        cache_write_1h: field("cache_write_1h"),
        web_search: field("web_search"),
    }
}

/// The row of an upstream in the admin API.
pub fn health(weir: &Weir, name: &str) -> Value {
    let answer = weir.admin_get("/admin/v1/upstreams");
    let rows = answer["data"].as_array().expect("upstreams");
    rows.iter().find(|row| row["upstream"] == name).unwrap_or_else(|| panic!("no {name}: {answer}")).clone()
}
