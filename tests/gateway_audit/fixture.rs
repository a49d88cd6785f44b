//! A gateway whose audit is looked at.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{LOOPBACK, Provider, Weir};

pub const ALICE_KEY: &str = "weir-key-of-alice-0123456789abcdef";

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

[[budget]]
scope = "team:platform"
amount = "5.00"
period = "monthly"
"#;

pub struct Gateway {
    pub provider: Provider,
    pub weir: Weir,
}

/// A gateway; `more` stands behind the configuration of all.
pub fn start(more: &str, variables: &[(&str, &str)]) -> Gateway {
    let provider = Provider::start();
    let variables = [&[("ALICE_KEY", ALICE_KEY)], variables].concat();
    let weir = Weir::start_with(&config(&provider, more), &variables);
    Gateway { provider, weir }
}

pub fn config(provider: &Provider, more: &str) -> String {
    format!("{LOOPBACK}{}{more}", CONFIG.replace("PROVIDER_URL", &provider.url()))
}

impl Gateway {
    pub fn store(&self) -> PathBuf {
        self.weir.dir().join("weir-data")
    }

    /// `weir audit …` on this gateway's store.
    pub fn audit(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.arg("audit").args(args).arg("--store").arg(self.store()).env_clear().stdin(Stdio::null());
        command.output().expect("weir runs")
    }

    /// Its stdout; it must succeed.
    pub fn audited(&self, args: &[&str]) -> String {
        let output = self.audit(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Its lines of JSON.
    pub fn lines(&self, args: &[&str]) -> Vec<Value> {
        let text = self.audited(&[args, &["--format", "jsonl"]].concat());
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// The changes in the chain, oldest first.
    pub fn changes(&self, args: &[&str]) -> Vec<Value> {
        self.lines(&[&["query", "--changes"], args].concat())
    }
}
