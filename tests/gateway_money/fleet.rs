//! The gateway of these tests, its callers, and what a test asks of them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use weir::loadtest::provider::{self, BilledUsage, Books, ProviderHandle, ProviderOptions};

use crate::support::http::{self, Response};
use crate::support::{DEADLINE, LOOPBACK, PROVIDER_KEY, Weir, eventually};

pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";
pub const BOB_KEY: &str = "weir-key-of-bob-0123456789abcdef00";
pub const EVE_KEY: &str = "weir-key-of-eve-whose-time-is-over00";
/// A key that the provider does not accept, of an upstream called `broken`.
pub const WRONG_PROVIDER_KEY: &str = "sk-ant-api03-not-the-providers-key";

pub const SONNET: &str = "claude-sonnet-4-6";
pub const OPUS: &str = "claude-opus-5-5";
pub const HAIKU: &str = "claude-haiku-5-5";
/// In no price list.
pub const UNKNOWN: &str = "acme-large-1";

const CONFIG: &str = r#"
[shards]
count = 2
pin = false

[[upstream]]
name = "main"
provider = "anthropic"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[upstream]]
name = "second"
provider = "anthropic"
base_url = "PROVIDER_URL"
auth = { api_key = "${PROVIDER_KEY}" }

[[upstream]]
name = "broken"
provider = "anthropic"
base_url = "PROVIDER_URL"
auth = { api_key = "${WRONG_PROVIDER_KEY}" }

[[model]]
id = "claude-sonnet-4-6"
aliases = ["sonnet"]
targets = [{ upstream = "main" }]

[[model]]
id = "claude-opus-5-5"
targets = [{ upstream = "main" }]

[[model]]
id = "claude-haiku-5-5"
targets = [{ upstream = "main" }]

[[model]]
id = "acme-large-1"
targets = [{ upstream = "main" }]

[[model]]
id = "dear"
targets = [{ upstream = "second", model = "claude-sonnet-4-6" }]

[[model]]
id = "claude-opus-4-6"
targets = [{ upstream = "broken" }]

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
team = "data"
project = "reports"
models = ["claude-haiku-*", "claude-sonnet-*"]

[[key]]
id = "dev-eve"
secret = "${EVE_KEY}"
user = "eve@example.com"
team = "data"
expires = "2026-01-01T00:00:00Z"
"#;

/// A provider in this process and a gateway in front of it.
pub struct Fleet {
    pub provider: ProviderHandle,
    pub weir: Weir,
}

/// Starts both, with more configuration behind the usual one.
pub fn start(more_toml: &str) -> Fleet {
    start_with(more_toml, &[])
}

/// The same, with more variables in the gateway's environment.
pub fn start_with(more_toml: &str, variables: &[(&str, &str)]) -> Fleet {
    let options = ProviderOptions { api_keys: vec![PROVIDER_KEY.to_owned()], seed: 7, ..ProviderOptions::default() };
    let provider = provider::start(options).expect("a provider");
    let variables: Vec<_> = secrets().into_iter().chain(variables.iter().copied()).collect();
    let weir = Weir::start_with(&config(provider.addr(), more_toml), &variables);
    Fleet { provider, weir }
}

/// The configuration for a provider at that address.
pub fn config(provider: SocketAddr, more_toml: &str) -> String {
    format!("{LOOPBACK}{}{more_toml}", CONFIG.replace("PROVIDER_URL", &format!("http://{provider}")))
}

fn secrets() -> [(&'static str, &'static str); 4] {
    [("ALICE_KEY", ALICE_KEY), ("BOB_KEY", BOB_KEY), ("EVE_KEY", EVE_KEY), ("WRONG_PROVIDER_KEY", WRONG_PROVIDER_KEY)]
}

/// Runs a command of the binary to its end.
pub fn run_weir(arguments: &[&str], directory: &Path) -> Output {
    weir_command(arguments, directory).output().expect("the binary runs")
}

/// A command of the binary, in that directory and with the secrets of these tests.
pub fn weir_command(arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments).current_dir(directory).env_clear().envs(secrets());
    command.env("WEIR_ADMIN_TOKEN", crate::support::ADMIN_TOKEN).env("PROVIDER_KEY", PROVIDER_KEY);
    command
}

/// Chance for a test that needs some: the usual seed, or the one in WEIR_TEST_SEED.
pub fn random(usual_seed: u64) -> fastrand::Rng {
    let seed = std::env::var("WEIR_TEST_SEED").ok().map(|text| text.parse().expect("WEIR_TEST_SEED is a number"));
    let seed = seed.unwrap_or(usual_seed);
    // Shown with a failure, so that it can be had again.
    println!("WEIR_TEST_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// One request for a message, as Claude Code would send it.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub model: &'a str,
    pub stream: bool,
    pub max_tokens: u64,
    /// How the provider is to behave.
    pub sim: &'a str,
    pub key: &'a str,
    pub session: &'a str,
    pub path: &'a str,
    /// Bytes of the prompt besides the question.
    pub prompt_bytes: usize,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            model: SONNET,
            stream: false,
            max_tokens: 1000,
            sim: "",
            key: ALICE_KEY,
            session: "session-1",
            path: "/v1/messages",
            prompt_bytes: 0,
        }
    }
}

impl Ask<'_> {
    pub fn body(&self) -> Vec<u8> {
        let Ask { model, stream, max_tokens, prompt_bytes, .. } = self;
        let prompt = "~".repeat(*prompt_bytes);
        format!(
            r#"{{"model":"{model}","messages":[{{"role":"user","content":"How deep is the river?{prompt}"}}],"max_tokens":{max_tokens},"stream":{stream}}}"#
        )
        .into_bytes()
    }

    pub fn bytes(&self, clients: SocketAddr) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.key);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
            ("anthropic-version", "2023-06-01"),
            ("x-claude-code-session-id", self.session),
            ("anthropic-sim", self.sim),
        ];
        http::request_bytes(clients, "POST", self.path, &headers, &self.body())
    }

    /// Sends it on a connection of its own and reads the answer whole.
    pub fn send(&self, weir: &Weir) -> Response {
        let mut connection = http::Connection::open(weir.clients());
        connection.send(&self.bytes(weir.clients()));
        connection.read_response()
    }
}

impl Fleet {
    /// As [`Ask::send`].
    pub fn ask(&self, ask: Ask<'_>) -> Response {
        ask.send(&self.weir)
    }

    /// Sends it, expects a 200, and answers with its record.
    pub fn ask_record(&self, ask: Ask<'_>) -> Value {
        let response = self.ask(ask);
        assert_eq!(response.status, 200, "{}", response.text());
        self.record_of(&response)
    }

    /// The record of the request with that answer, as soon as it is booked.
    pub fn record_of(&self, response: &Response) -> Value {
        let id = response.header("x-weir-request-id").expect("every answer has an id").to_owned();
        eventually(DEADLINE, &format!("the record of {id} is booked"), || {
            self.records(&format!("request_id={id}")).pop()
        })
    }

    /// The newest records that the query lets through.
    pub fn records(&self, query: &str) -> Vec<Value> {
        let answer = self.weir.admin_get(&format!("/admin/v1/requests?limit=10000&{query}"));
        answer["data"].as_array().expect("a list of records").clone()
    }

    /// All records, as soon as there are so many and nothing runs any more.
    pub fn all_records(&self, count: usize) -> Vec<Value> {
        eventually(DEADLINE, &format!("{count} records and nothing running"), || {
            let records = self.records("");
            assert!(records.len() <= count, "{} records of {count} requests", records.len());
            (records.len() == count && self.running() == 0).then_some(records)
        })
    }

    /// Requests running on all shards.
    pub fn running(&self) -> u64 {
        self.shard_figures("requests_running").iter().sum()
    }

    /// A figure of each shard.
    pub fn shard_figures(&self, name: &str) -> Vec<u64> {
        let shards = self.weir.admin_get("/admin/v1/shards");
        let data = shards["data"].as_array().expect("a list of shards");
        data.iter().map(|shard| shard[name].as_u64().expect("a figure")).collect()
    }

    /// Reloads the configuration file, and waits until every shard serves it. Right after a replacement the gateway may say that it
    /// has changed nothing and is to be asked again (503); then it is.
    pub fn reload(&self) {
        let answer = eventually(DEADLINE, "a reload is taken", || {
            let answer = self.weir.admin_request("POST", "/admin/v1/reload", b"");
            (answer.status != 503).then_some(answer)
        });
        assert_eq!(answer.status, 200, "{}", answer.text());
        let wanted = answer.json()["version"].as_u64();
        eventually(DEADLINE, "all shards serve the new configuration", || {
            let shards = self.weir.admin_get("/admin/v1/shards");
            (shards["settled"] == true && shards["version"].as_u64() >= wanted).then_some(())
        });
    }

    /// Rows of `GET /admin/v1/usage`.
    pub fn usage(&self, query: &str) -> Vec<Value> {
        self.weir.admin_get(&format!("/admin/v1/usage?{query}"))["data"].as_array().expect("rows").clone()
    }

    /// The budget of a scope.
    pub fn budget(&self, scope: &str) -> Budget {
        let answer = self.weir.admin_get("/admin/v1/budgets");
        let found = answer["data"].as_array().expect("budgets").iter().find(|budget| budget["scope"] == scope);
        Budget::of(found.unwrap_or_else(|| panic!("no budget {scope} in {answer}")))
    }

    /// Requests that the provider has ended, once none of them is open.
    pub fn books(&self, requests: u64) -> Books {
        let books = self.provider.books_when(DEADLINE, |totals| totals.requests >= requests && totals.open == 0);
        books.unwrap_or_else(|| panic!("{requests} exchanges expected: {:?}", self.provider.books().totals))
    }
}

/// A budget's figures, in nano-dollars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub amount: i64,
    pub spent: i64,
    pub reserved: i64,
    pub remaining: i64,
}

impl Budget {
    pub fn of(value: &Value) -> Budget {
        Budget {
            amount: nanos(&value["amount"]),
            spent: nanos(&value["spent"]),
            reserved: nanos(&value["reserved"]),
            remaining: nanos(&value["remaining"]),
        }
    }
}

/// A decimal text of dollars as nano-dollars.
pub fn nanos(value: &Value) -> i64 {
    let text = value.as_str().unwrap_or_else(|| panic!("no amount of money: {value}"));
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    assert!(fraction.len() <= 9, "finer than a nano-dollar: {text}");
    sign * format!("{whole}{fraction:0<9}").parse::<i64>().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Nano-dollars per token of a model: input, five-minute write, one-hour write, read, output (contract.md §7.1).
pub fn list_price(model: &str, prompt: u64) -> [i64; 5] {
    match model {
        SONNET => [3000, 3750, 6000, 300, 15_000],
        OPUS => [4000, 5000, 8000, 200, 20_000],
        HAIKU if prompt <= 100_000 => [100, 125, 200, 10, 500],
        HAIKU => [500, 625, 1000, 50, 2500],
        _ => [5000, 6250, 10_000, 500, 25_000],
    }
}

/// What the provider's bill is in nano-dollars, at list price (contract.md §7.3).
pub fn bill(model: &str, used: &BilledUsage) -> i64 {
    let prompt = used.input + used.cache_write_5m + used.cache_write_1h + used.cache_read;
    let tokens = [used.input, used.cache_write_5m, used.cache_write_1h, used.cache_read, used.output];
    let sum: i64 = tokens.iter().zip(list_price(model, prompt)).map(|(count, price)| *count as i64 * price).sum();
    sum + used.web_search as i64 * 10_000_000
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
