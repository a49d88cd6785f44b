//! A server process that says on stdout when it is ready, and dies with the test.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use super::eventually;

/// A child process and the line with which it said that it is ready.
pub struct Server {
    child: Child,
    ready: String,
}

impl Server {
    /// Spawns the command and waits for a stdout line that starts with `ready`; stderr is appended to `log`.
    pub fn spawn(mut command: Command, log: &Path, ready: &str, deadline: Duration) -> Server {
        let stderr = OpenOptions::new().create(true).append(true).open(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let lines = lines(child.stdout.take().expect("stdout is piped"));
        let mut server = Server { child, ready: String::new() };
        loop {
            match lines.recv_timeout(deadline) {
                Ok(line) if line.starts_with(ready) => {
                    server.ready = line;
                    return server;
                }
                Ok(_) => {}
                Err(error) => {
                    let said = fs::read_to_string(log).unwrap_or_default();
                    panic!("{command:?} never said `{ready}…` on stdout ({error}); its stderr:\n{said}");
                }
            }
        }
    }

    /// The address that follows `label` in the ready line; a scheme in front of it is skipped.
    pub fn address(&self, label: &str) -> SocketAddr {
        let after = self.ready.split_once(label).map(|(_, rest)| rest);
        let word = after.and_then(|rest| rest.split_whitespace().next());
        let address = word.and_then(|word| word.rsplit('/').next()?.parse().ok());
        address.unwrap_or_else(|| panic!("no address after `{label}` in `{}`", self.ready))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // The shell's own `kill`: a way to a signal that needs neither unsafe code nor another package.
        let id = self.child.id().to_string();
        let status = Command::new("/bin/sh").args(["-c", "kill -\"$0\" \"$1\"", &signal.to_string(), &id]).status();
        assert!(status.expect("a shell").success(), "signal {signal} reaches process {id}");
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self, deadline: Duration) -> ExitStatus {
        eventually(deadline, "the process ends", || self.child.try_wait().expect("a child can be waited for"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already: then there is nothing to kill, and waiting only reaps it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the child's stdout; read to the end, so that the child never blocks on a full pipe.
fn lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Nobody listens any more once the process is ready.
            let _ = sender.send(line);
        }
    });
    receiver
}
