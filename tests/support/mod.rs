//! What process-level tests share: the real binary in a directory of its own, a simulated provider, a raw HTTP client.
//!
//! Include it with `#[path = "../support/mod.rs"] mod support;`. Nothing here sleeps to synchronise: everything waits for
//! a fact, with a deadline that is only there to fail a broken run.

#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

pub mod http;
pub mod process;
pub mod provider;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use http::Response;
use process::Server;
#[allow(unused_imports, reason = "some test binaries bring a provider of their own")]
pub use provider::Provider;

/// Longest wait for anything that is going to happen: generous, as a loaded machine is no failure.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Bearer of the admin listener in every test.
pub const ADMIN_TOKEN: &str = "admin-token-of-the-tests";
/// Credential that weir shows the provider in every test.
pub const PROVIDER_KEY: &str = "sk-ant-api03-provider-key-of-the-tests";
/// Start of a configuration: both listeners on loopback ports of the kernel's choice, the admin token, a store in the
/// test's own directory.
pub const LOOPBACK: &str = r#"
[listen]
clients = "127.0.0.1:0"
admin = "127.0.0.1:0"

[admin]
token = "${WEIR_ADMIN_TOKEN}"

[store]
path = "weir-data"
"#;

/// A running `weir serve` with a directory of its own; killed when dropped, its stderr shown if the test failed.
pub struct Weir {
    server: Option<Server>,
    replaced: Vec<Server>,
    clients: SocketAddr,
    admin: SocketAddr,
    secrets: Vec<(String, String)>,
    dir: TempDir,
}

impl Weir {
    /// Starts the binary on the configuration. The environment is empty but for `WEIR_ADMIN_TOKEN` and `PROVIDER_KEY`.
    pub fn start(config_toml: &str) -> Weir {
        Weir::start_with(config_toml, &[])
    }

    /// As [`Weir::start`], with more variables for the secrets that the configuration names.
    pub fn start_with(config_toml: &str, secrets: &[(&str, &str)]) -> Weir {
        let dir = TempDir::with_prefix("weir-").expect("a temporary directory");
        let own = [("WEIR_ADMIN_TOKEN", ADMIN_TOKEN), ("PROVIDER_KEY", PROVIDER_KEY)];
        let secrets = own.iter().chain(secrets).map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut weir = Weir { server: None, replaced: Vec::new(), clients: nowhere, admin: nowhere, secrets, dir };
        weir.write_config(config_toml);
        weir.spawn();
        weir
    }

    /// Where clients connect.
    pub fn clients(&self) -> SocketAddr {
        self.clients
    }

    /// Base URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.clients)
    }

    /// Where the admin API listens.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The directory that holds `weir.toml`, the store and the log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the process said on stderr so far, over all its lives.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Replaces the configuration file; [`Weir::sighup`] makes it count.
    pub fn write_config(&self, config_toml: &str) {
        fs::write(self.dir.path().join("weir.toml"), config_toml).expect("the configuration is written");
    }

    /// Asks for a drain and does not wait for it.
    pub fn sigterm(&self) {
        self.server().signal(libc::SIGTERM);
    }

    /// Asks for a reload and does not wait for it.
    pub fn sighup(&self) {
        self.server().signal(libc::SIGHUP);
    }

    /// Ends the process at once, as a power cut would, and waits until it is gone.
    pub fn kill9(&mut self) {
        self.server().signal(libc::SIGKILL);
        self.wait_for_exit();
    }

    /// Waits until the process has ended and answers with its exit code; `None` if a signal ended it.
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        let mut server = self.server.take().expect("weir runs");
        server.wait(DEADLINE).code()
    }

    /// Starts again on the same directory, after a drain if it still runs. The ports are new ones.
    pub fn restart(&mut self) {
        if self.server.is_some() {
            self.sigterm();
            let code = self.wait_for_exit();
            assert_eq!(code, Some(0), "weir drains on SIGTERM and exits with 0");
        }
        self.spawn();
    }

    /// Starts a process that takes over from the running one, which is left to finish what it has.
    pub fn replace(&mut self) {
        let (clients, admin) = (self.clients, self.admin);
        let before = self.server.take();
        self.spawn_with(&["--replace"]);
        self.replaced.extend(before);
        assert_eq!((self.clients, self.admin), (clients, admin), "the sockets are the same");
    }

    /// The exit codes of all processes that have been replaced, in their order, once they have ended.
    pub fn replaced_ended(&mut self) -> Vec<Option<i32>> {
        self.replaced.drain(..).map(|mut server| server.wait(DEADLINE).code()).collect()
    }

    /// Ends the process that was replaced last, as a power cut would.
    pub fn kill9_replaced(&mut self) {
        let mut server = self.replaced.pop().expect("a process that was replaced");
        server.signal(libc::SIGKILL);
        server.wait(DEADLINE);
    }

    /// Starts again on the same directory, taking over from whoever serves there.
    pub fn start_replacing(&mut self) {
        self.spawn_with(&["--replace"]);
    }

    /// The JSON answer of `GET` on the admin API; any status but 200 fails.
    pub fn admin_get(&self, path: &str) -> Value {
        let answer = self.admin_request("GET", path, b"");
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        answer.json()
    }

    /// A request to the admin API with its bearer.
    pub fn admin_request(&self, method: &str, path: &str, body: &[u8]) -> Response {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        http::request(self.admin, method, path, &headers, body)
    }

    /// Waits until nothing runs and all that has ended is on disk: from then on what the ledger and the metrics of requests say
    /// is whole.
    pub fn all_booked(&self) {
        eventually(DEADLINE, "nothing runs", || {
            let shards = self.admin_get("/admin/v1/shards");
            let shards = shards["data"].as_array().expect("shards");
            shards.iter().all(|shard| shard["requests_running"] == 0).then_some(())
        });
        let now = Timestamp::now();
        eventually(DEADLINE, "all is booked", || (self.as_of() > now).then_some(()));
    }

    /// Up to when the ledger knows everything.
    pub fn as_of(&self) -> Timestamp {
        let answer = self.admin_get("/admin/v1/usage");
        answer["as_of"].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no time: {answer}"))
    }

    /// The sum of a metric's samples whose labels contain all the given `label="value"` texts.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = http::request(self.admin, "GET", "/metrics", &[], b"").text();
        let samples = text.lines().filter(|line| {
            let after = line.strip_prefix(name).unwrap_or_default();
            after.starts_with(['{', ' ']) && labels.iter().all(|label| after.contains(label))
        });
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    fn spawn(&mut self) {
        self.spawn_with(&[]);
    }

    fn spawn_with(&mut self, options: &[&str]) {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_weir"));
        command
            .args(["serve", "--config"])
            .arg(self.dir.path().join("weir.toml"))
            .args(options)
            .current_dir(self.dir.path());
        command.env_clear().envs(self.secrets.iter().map(|(name, value)| (name, value)));
        let server = Server::spawn(command, &self.log_path(), "weir: ready ", DEADLINE);
        self.clients = server.address("clients=");
        self.admin = server.address("admin=");
        self.server = Some(server);
    }

    fn server(&self) -> &Server {
        self.server.as_ref().expect("weir runs")
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("stderr.log")
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("---- stderr of weir\n{}----", self.log());
        }
    }
}

/// Asks again and again until there is an answer; fails with `what` after the deadline.
pub fn eventually<T>(deadline: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "not within {deadline:?}: {what}");
        // A pause between questions, so that asking does not starve what is asked for.
        thread::sleep(Duration::from_millis(5));
    }
}
