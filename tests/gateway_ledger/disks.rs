//! Disks that are full or cannot be written, as they are: a small file system of its own in a mount namespace, which needs no
//! privilege (`unshare -rm`). Where the kernel allows no namespaces these tests say so and stand aside.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use weir::loadtest::provider::{self, ProviderHandle, ProviderOptions};

use crate::fleet::{self, Ask};
use crate::support::http::{self, Response};
use crate::support::process::Server;
use crate::support::{ADMIN_TOKEN, DEADLINE, PROVIDER_KEY, eventually};

/// Runs a shell script in a mount namespace of its own; `None` where the kernel allows none.
fn in_namespace(script: &str, directory: &std::path::Path) -> Option<Command> {
    let allowed = Command::new("unshare").args(["-rm", "true"]).output().is_ok_and(|output| output.status.success());
    if !allowed {
        eprintln!("unshare -rm is not allowed here: not tested");
        return None;
    }
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c", script])
        .current_dir(directory)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    for (name, value) in [("WEIR_ADMIN_TOKEN", ADMIN_TOKEN), ("PROVIDER_KEY", PROVIDER_KEY)] {
        command.env(name, value);
    }
    for (name, value) in [("ALICE_KEY", fleet::ALICE_KEY), ("BOB_KEY", fleet::BOB_KEY), ("EVE_KEY", fleet::EVE_KEY)] {
        command.env(name, value);
    }
    command.env("WRONG_PROVIDER_KEY", fleet::WRONG_PROVIDER_KEY).env("WEIR", env!("CARGO_BIN_EXE_weir"));
    Some(command)
}

fn provider() -> ProviderHandle {
    let options = ProviderOptions { api_keys: vec![PROVIDER_KEY.to_owned()], seed: 7, ..ProviderOptions::default() };
    provider::start(options).expect("a provider")
}

fn directory(provider: &ProviderHandle) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("weir.toml"), fleet::config(provider.addr(), "")).expect("a configuration");
    fs::create_dir(directory.path().join("weir-data")).expect("a directory");
    directory
}

#[test]
fn a_store_on_a_read_only_disk_is_refused_without_saying_so() {
    let provider = provider();
    let directory = directory(&provider);
    let script = "mount --bind weir-data weir-data && mount -o remount,ro,bind weir-data && exec \"$WEIR\" serve --config weir.toml";
    let Some(mut command) = in_namespace(script, directory.path()) else { return };
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["weir-data/lock", "Read-only file system", "mount it for writing", "store.path"] {
        assert!(said.contains(word), "`{word}` in\n{said}");
    }
}

struct Small {
    server: Server,
    clients: SocketAddr,
    admin: SocketAddr,
    store: PathBuf,
    log: PathBuf,
    _directory: tempfile::TempDir,
}

impl Small {
    /// A gateway whose store has room for half a mebibyte.
    fn start(provider: &ProviderHandle) -> Option<Self> {
        let directory = directory(provider);
        let script =
            "mount -t tmpfs -o size=512k tmpfs weir-data && echo $$ > pid && exec \"$WEIR\" serve --config weir.toml";
        let command = in_namespace(script, directory.path())?;
        let log = directory.path().join("stderr.log");
        let server = Server::spawn(command, &log, "weir: ready ", DEADLINE);
        let pid = fs::read_to_string(directory.path().join("pid")).expect("the shell wrote it");
        // The store is only seen by the process; its root is a way there.
        let root = PathBuf::from(format!("/proc/{}/root", pid.trim()));
        let store = root.join(directory.path().strip_prefix("/").expect("absolute")).join("weir-data");
        let (clients, admin) = (server.address("clients="), server.address("admin="));
        Some(Self { server, clients, admin, store, log, _directory: directory })
    }

    fn ask(&self) -> Response {
        let mut connection = http::Connection::open(self.clients);
        connection.send(&Ask { sim: "events=1", ..Ask::default() }.bytes(self.clients));
        connection.read_response()
    }

    fn admin(&self, path: &str) -> Response {
        let bearer = format!("Bearer {ADMIN_TOKEN}");
        http::request(self.admin, "GET", path, &[("authorization", bearer.as_str())], b"")
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics").text();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a number")
    }
}

#[test]
fn a_full_disk_loses_a_request_or_goes_on_being_full_when_it_is_not() {
    let provider = provider();
    let Some(mut small) = Small::start(&provider) else { return };
    assert_eq!(small.ask().status, 200);
    assert_eq!(small.metric("weir_journal_accepting"), 1.0);
    let filler = small.store.join("filler");
    fs::write(&filler, vec![0; 64 * 1024]).expect("there is some room");
    let mut answered = 1;
    let refused = eventually(DEADLINE, "the disk fills up and requests are refused", || {
        // What is left of it.
        let _full = fs::OpenOptions::new()
            .append(true)
            .open(&filler)
            .and_then(|mut file| std::io::Write::write_all(&mut file, &[0; 4096]));
        let answer = small.ask();
        answered += usize::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    assert!(refused.status == 529 || refused.status == 503, "{} {}", refused.status, refused.text());
    eventually(DEADLINE, "it says so", || (small.metric("weir_journal_accepting") == 0.0).then_some(()));
    let ready = small.admin("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("the journal cannot be written"), "{}", ready.text());
    eventually(DEADLINE, "the ledger's lag grows", || (small.metric("weir_ledger_lag_seconds") > 0.5).then_some(()));
    let log = fs::read_to_string(&small.log).expect("a log");
    assert!(log.contains("the journal cannot be written") && log.contains("No space left"), "{log}");
    fs::remove_file(&filler).expect("it is there");
    eventually(DEADLINE, "there is room again", || (small.admin("/readyz").status == 200).then_some(()));
    eventually(DEADLINE, "requests are served again", || {
        let served = small.ask().status == 200;
        answered += usize::from(served);
        served.then_some(())
    });
    // Not one of those that were answered is missing.
    eventually(DEADLINE, "all are booked", || {
        let usage = small.admin("/admin/v1/usage").json();
        (usage["data"][0]["requests"].as_u64() == Some(answered as u64)).then_some(())
    });
    eventually(DEADLINE, "the lag is gone", || (small.metric("weir_ledger_lag_seconds") < 0.5).then_some(()));
    small.server.signal(libc::SIGTERM);
    assert_eq!(small.server.wait(DEADLINE).code(), Some(0));
}
