//! Drives an SDK through its script: calls in, what the SDK made of the answers out.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::install::clients_dir;
use crate::sandbox::{client, told};
use crate::support::{Provider, Weir};

/// Which SDK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sdk {
    Python,
    TypeScript,
    /// boto3's `bedrock-runtime`.
    Boto3,
}

/// What came of a list of calls.
#[derive(Debug)]
pub struct Driven {
    /// Per call `ok` or `error`, and the number of HTTP `attempts`.
    pub results: Vec<Value>,
    /// Per HTTP exchange `method`, `path`, `status`, `headers`, and the digests of both bodies.
    pub exchanges: Vec<Value>,
}

/// A call by its name in the scripts, with a key and a model.
pub fn call(name: &str, key: &str, model: &str) -> Value {
    json!({ "do": name, "key": key, "model": model })
}

/// The same call with another field.
pub fn with(mut call: Value, field: &str, value: impl Into<Value>) -> Value {
    call[field] = value.into();
    call
}

impl Sdk {
    /// Makes the calls one after the other in one process.
    pub fn drive(self, weir: &Weir, calls: &[Value]) -> Driven {
        self.drive_at(&weir.url(), None, calls)
    }

    /// As [`Sdk::drive`], at another URL, with a certificate to trust.
    pub fn drive_at(self, base_url: &str, trusted: Option<&Path>, calls: &[Value]) -> Driven {
        let folder = TempDir::with_prefix("calls-").expect("a temporary directory");
        let told_to = folder.path().join("calls.json");
        let text = json!({ "base_url": base_url, "calls": calls }).to_string();
        fs::write(&told_to, text).expect("the calls are written");
        let mut command = self.command();
        command.envs(trusted.map(|file| ("AWS_CA_BUNDLE", file)));
        command.stdin(Stdio::from(File::open(&told_to).expect("the calls can be read")));
        let output = command.output().expect("the script starts");
        assert!(output.status.success(), "{self:?}: {}", told(&output));
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{self:?} printed no JSON: {error}: {}", told(&output)));
        let list = |name: &str| document[name].as_array().expect("a list").clone();
        let driven = Driven { results: list("results"), exchanges: list("exchanges") };
        assert_eq!(driven.results.len(), calls.len());
        driven
    }

    fn command(self) -> Command {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        match self {
            Sdk::Python | Sdk::Boto3 => {
                let script = if self == Sdk::Python { "python/drive.py" } else { "python/drive_boto3.py" };
                let mut command = client(&clients_dir().join("python/bin/python").to_string_lossy());
                command.arg("-I").arg(scripts.join(script));
                command
            }
            Sdk::TypeScript => {
                let mut command = client("node");
                command.arg(scripts.join("typescript/drive.mjs")).env("WEIR_CLIENTS", clients_dir().join("node"));
                command
            }
        }
    }
}

impl Driven {
    /// The answer of a call that has to succeed.
    pub fn ok(&self, index: usize) -> &Value {
        let result = &self.results[index];
        result.get("ok").unwrap_or_else(|| panic!("call {index} fails: {result}"))
    }

    /// The error of a call that has to fail.
    pub fn error(&self, index: usize) -> &Value {
        let result = &self.results[index];
        result.get("error").unwrap_or_else(|| panic!("call {index} succeeds: {result}"))
    }

    /// Whether weir made the answer of an exchange itself; every answer says which request it was.
    pub fn is_own(exchange: &Value) -> bool {
        let headers = &exchange["headers"];
        assert!(headers["x-weir-request-id"].is_string(), "no x-weir-request-id in {exchange}");
        headers["x-weir-origin"] == "gateway"
    }

    /// Checks that both bodies of each relayed exchange crossed the gateway byte for byte. Answers with their number.
    pub fn assert_relayed_unchanged(&self, provider: &Provider) -> u64 {
        let relayed: Vec<&Value> = self.exchanges.iter().filter(|exchange| !Driven::is_own(exchange)).collect();
        let count = relayed.len() as u64;
        let books = provider.books_when(crate::support::DEADLINE, "the relayed exchanges are in the books", |books| {
            books["totals"]["requests"].as_u64() >= Some(count) && books["totals"]["open"] == 0
        });
        let entries = books["entries"].as_array().expect("entries");
        for exchange in relayed {
            let same = |entry: &&Value| {
                let fields = ["method", "path", "status", "request_sha256", "response_sha256"];
                fields.iter().all(|field| entry[field] == exchange[field])
            };
            assert!(entries.iter().any(|entry| same(&entry)), "{exchange}\nis not in the books:\n{books:#}");
        }
        count
    }
}
