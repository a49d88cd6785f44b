//! Runs a test in a network namespace of its own: whatever a client would like to tell the outside stays unsaid.
//!
//! The test starts its own binary again inside `unshare`, with a clean environment and an empty home. A client that needs
//! the internet to work against a gateway fails here.

use std::env;
use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

use super::install;

/// Set inside the namespace.
const INSIDE: &str = "WEIR_TEST_ISOLATED";
/// Longest a client or a whole test may take, in seconds: only a broken run gets there.
const CLIENT_SECONDS_MAX: u32 = 180;
const TEST_SECONDS_MAX: u32 = 600;

/// Runs `test` where there is only loopback. Call it as the whole body of a test, with a closure: the closure's type
/// tells the test's name.
pub fn isolated<F: FnOnce()>(test: F) {
    if env::var_os(INSIDE).is_some() {
        assert_only_loopback();
        return test();
    }
    install::install_clients();
    let name = test_name::<F>();
    let home = TempDir::with_prefix("home-").expect("a temporary directory");
    let mut command = with_deadline(TEST_SECONDS_MAX, "unshare");
    command.args(unshare_flags());
    command.args(["--", "/bin/sh", "-c", "ip link set lo up && exec \"$0\" \"$@\""]);
    command.arg(env::current_exe().expect("the path of this test")).args(["--exact", &name, "--nocapture"]);
    clean(&mut command);
    command.env("HOME", home.path()).env("TMPDIR", home.path()).env(INSIDE, "1").env("RUST_BACKTRACE", "0");
    let output = command.output().expect("the test starts again");
    let ran = text(&output.stdout).contains("test result: ok. 1 passed");
    assert!(output.status.success() && ran, "{name}, isolated: {}", told(&output));
}

/// Empties the command's environment but for the search path.
pub fn clean(command: &mut Command) {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command.env_clear().env("PATH", path);
}

/// A client to be run inside the namespace: clean environment, the test's home, a deadline.
pub fn client(program: &str) -> Command {
    let mut command = with_deadline(CLIENT_SECONDS_MAX, program);
    clean(&mut command);
    for name in ["HOME", "TMPDIR"] {
        command.env(name, env::var_os(name).expect("set for the isolated test"));
    }
    command
}

/// What a program said, for the message of a failed test.
pub fn told(output: &Output) -> String {
    format!("{}\n---- stdout\n{}\n---- stderr\n{}----", output.status, text(&output.stdout), text(&output.stderr))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `timeout` ends the program, and answers 124, when the seconds are over.
fn with_deadline(seconds: u32, program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=5").arg(seconds.to_string()).arg(program);
    command
}

/// A network namespace of root's, or one in a user namespace where root is not to be had.
fn unshare_flags() -> &'static [&'static str] {
    let ways: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];
    let works = |flags: &[&str]| {
        let tried = Command::new("unshare").args(flags).args(["--", "ip", "link", "set", "lo", "up"]).output();
        tried.is_ok_and(|output| output.status.success())
    };
    ways.into_iter().find(|flags| works(flags)).expect(
        "these tests need a network namespace: install `unshare` (util-linux) and `ip` (iproute2), and run as root or \
         where unprivileged user namespaces are allowed (kernel.unprivileged_userns_clone=1, or an AppArmor profile)",
    )
}

fn assert_only_loopback() {
    let table = fs::read_to_string("/proc/self/net/dev").expect("the interfaces of this namespace");
    let names: Vec<&str> = table.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).collect();
    assert_eq!(names, ["lo"], "the namespace has no way out");
}

/// `clients::module::test::{{closure}}` without crate and closure.
fn test_name<F>() -> String {
    let path = std::any::type_name::<F>().trim_end_matches("::{{closure}}");
    path.split_once("::").expect("a path of crate and test").1.to_owned()
}
