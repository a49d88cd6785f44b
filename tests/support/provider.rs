//! The simulated provider as a process, and its books.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::Server;
use super::{DEADLINE, PROVIDER_KEY, eventually, http};

/// A running `weir-loadtest provider` that accepts [`PROVIDER_KEY`] alone.
pub struct Provider {
    _server: Server,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Provider {
    pub fn start() -> Provider {
        Provider::start_with(&["--api-key", PROVIDER_KEY])
    }

    /// With arguments of `weir-loadtest provider` instead of the usual ones.
    pub fn start_with(arguments: &[&str]) -> Provider {
        let dir = TempDir::with_prefix("provider-").expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir-loadtest"));
        command.arg("provider").args(arguments).env_clear();
        let server = Server::spawn(command, &dir.path().join("stderr.log"), "provider: ready ", DEADLINE);
        let addr = server.address("http://");
        Provider { _server: server, addr, _dir: dir }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Base URL of an `[[upstream]]`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The books as they are now: `entries`, `totals`, `last_index`.
    pub fn books(&self) -> Value {
        let answer = http::request(self.addr, "GET", "/sim/books", &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// The books once so many exchanges have ended: one enters just after its last byte left, so a client that has read
    /// that byte may be early.
    pub fn books_of(&self, requests: u64) -> Value {
        self.books_when(DEADLINE, &format!("the provider's books have {requests} exchanges"), |books| {
            books["totals"]["requests"] == requests && books["totals"]["open"] == 0
        })
    }

    /// The books as soon as `enough` holds.
    pub fn books_when(&self, deadline: Duration, what: &str, enough: impl Fn(&Value) -> bool) -> Value {
        eventually(deadline, what, || Some(self.books()).filter(&enough))
    }
}
