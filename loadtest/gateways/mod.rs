//! The gateways a comparison starts by itself: weir with everything on, and plain proxies beside it.
//!
//! Each runs on the core it is told, before the same provider, out of a directory of its own that goes away with it. A proxy
//! that is not installed is left out and named, never silently.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use super::{cli::beside_this_program, compare::Gateway, tls::Certificate};

mod haproxy;
mod litellm;
mod nginx;
mod subject;

/// How long a gateway may take until it accepts connections, under callgrind too.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long a gateway may take to end once it is told to.
const END_WITHIN: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A gateway that a comparison knows how to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// weir: one shard; keys, a budget, rate limits, metering, prices, journal with fsync, metrics.
    Weir,
    /// nginx: one worker, streaming both ways.
    Nginx,
    /// HAProxy as an HTTP proxy, one thread.
    Haproxy,
    /// HAProxy as a TCP proxy, one thread: the least a process between two sockets can do.
    HaproxyTcp,
    /// LiteLLM's proxy, one worker.
    Litellm,
}

/// Every gateway by name.
pub const KINDS: [(&str, Kind); 5] = [
    ("nginx", Kind::Nginx),
    ("haproxy", Kind::Haproxy),
    ("haproxy-tcp", Kind::HaproxyTcp),
    ("litellm", Kind::Litellm),
    ("weir", Kind::Weir),
];

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || KINDS.map(|(name, _)| name).join(", ");
        let found = KINDS.iter().find(|(known, _)| *known == name);
        found.map(|(_, kind)| *kind).ok_or_else(|| format!("unknown gateway `{name}`; known: {}", names()))
    }
}

impl Kind {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// What every gateway is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The provider they all stand before.
    pub provider: SocketAddr,
    /// The core they run on; none leaves it to the system.
    pub core: Option<usize>,
    /// The `weir` program.
    pub weir: PathBuf,
    /// What they show clients; none listens without TLS.
    pub tls: Option<Certificate>,
    /// Keys that weir has besides the one that is used.
    pub more_keys: usize,
    /// A program that weir runs under, with its arguments, instead of by itself. The shard then runs on epoll, since what
    /// looks into a process seldom knows io_uring.
    pub under: Vec<String>,
}

impl Setup {
    /// Gateways before this provider, without TLS, anywhere; weir is this program, or the one that was built with it.
    ///
    /// # Errors
    /// When nobody knows where this program is.
    pub fn new(provider: SocketAddr, weir: Option<PathBuf>) -> Result<Setup, String> {
        let weir = weir.map_or_else(beside_this_program, Ok)?;
        Ok(Setup { provider, core: None, weir, tls: None, more_keys: 0, under: Vec::new() })
    }

    /// How a gateway that listens here is measured.
    fn gateway(&self, name: &str, addr: impl std::fmt::Display, pids: Vec<u32>, key: Option<&str>) -> Gateway {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Gateway {
            name: name.to_owned(),
            target: format!("{scheme}://{addr}"),
            pids,
            key: key.map(str::to_owned),
            certificate: self.tls.as_ref().map(|tls| tls.der.clone()),
        }
    }
}

/// Why a gateway did not start.
#[derive(Debug)]
pub enum StartError {
    /// Its program is not here; how to get it.
    NotInstalled(&'static str),
    /// It is here and did not come up.
    Failed(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotInstalled(how) => write!(f, "it is not installed: {how}"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// A gateway that runs. It is ended and its directory removed when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// How to measure it.
    pub gateway: Gateway,
    /// From its start until it could be seen to be ready; to the millisecond for weir, coarser for others.
    pub ready_after: Duration,
    child: Child,
    dir: Dir,
}

impl Running {
    /// The process that was started; workers may be its children.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where the admin API of a weir is, by its ready line.
    pub fn admin(&self) -> Option<String> {
        let out = fs::read_to_string(self.dir.0.join("out")).ok()?;
        let after = out.lines().find_map(|line| line.strip_prefix("weir: ready ")?.split_once(" admin="))?.1;
        after.split_whitespace().next().map(str::to_owned)
    }

    /// Replaces the configuration of a weir; a reload makes it count.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_config(&self, text: &str) -> Result<(), String> {
        self.dir.write("weir.toml", text).map(drop).map_err(|error| format!("cannot write weir.toml: {error}"))
    }

    /// Its own directory.
    pub fn dir(&self) -> &Path {
        &self.dir.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, so that a parent takes its workers along.
        let _asked = Command::new("kill").arg(self.child.id().to_string()).stderr(Stdio::null()).status();
        let ended = wait_until(END_WITHIN, || matches!(self.child.try_wait(), Ok(Some(_)) | Err(_)));
        if !ended {
            let _killed = self.child.kill();
            let _waited = self.child.wait();
        }
    }
}

/// Starts a gateway.
///
/// # Errors
/// [`StartError::NotInstalled`] for a program that is not here; anything else is a failure with the program's own words.
pub fn start(kind: Kind, setup: &Setup) -> Result<Running, StartError> {
    match kind {
        Kind::Weir => subject::start(setup),
        Kind::Nginx => nginx::start(setup),
        Kind::Haproxy => haproxy::start(setup, haproxy::Mode::Http),
        Kind::HaproxyTcp => haproxy::start(setup, haproxy::Mode::Tcp),
        Kind::Litellm => litellm::start(setup),
    }
}

/// Starts a weir with a configuration of its own, which names secrets of this environment; `key` is what clients show.
///
/// # Errors
/// As [`start`].
pub fn start_weir(setup: &Setup, config: &str, environment: &[(&str, &str)], key: &str) -> Result<Running, StartError> {
    subject::start_with(setup, |_, _| config.to_owned(), environment, key)
}

/// A directory that goes away with its owner.
#[derive(Debug)]
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> io::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("weir-loadtest-{}-{number}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// What a program has written to one of its files, for an error message.
    fn tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.0.join(name)).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.0);
    }
}

/// A command that runs on the set-up's core, its output going to files of its directory.
fn command(program: &Path, setup: &Setup, dir: &Dir) -> io::Result<Command> {
    let mut command = match setup.core {
        Some(core) => {
            let mut command = Command::new("taskset");
            command.arg("-c").arg(core.to_string()).arg(program);
            command
        }
        None => Command::new(program),
    };
    command.stdin(Stdio::null());
    command.stdout(fs::File::create(dir.0.join("out"))?).stderr(fs::File::create(dir.0.join("log"))?);
    Ok(command)
}

/// Where a program is, by PATH and the places where servers are installed.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    places.map(|place| place.join(program)).find(|file| file.is_file())
}

/// A port of loopback that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn wait_until(most: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + most;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until a process listens, or says why it does not.
fn wait_for_port(child: &mut Child, dir: &Dir, addr: SocketAddr, most: Duration) -> Result<(), StartError> {
    let listens = wait_until(most, || {
        matches!(child.try_wait(), Ok(Some(_))) || TcpStream::connect_timeout(&addr, LOOK_EVERY).is_ok()
    });
    match child.try_wait()? {
        Some(status) => Err(StartError::Failed(format!("it ended at once ({status}): {}", dir.tail("log")))),
        None if !listens => Err(StartError::Failed(format!("it does not listen on {addr}: {}", dir.tail("log")))),
        None => Ok(()),
    }
}

/// A process and its children: CPU time of workers is the gateway's too.
fn family(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_gateway_is_guessed() {
        assert_eq!("haproxy-tcp".parse(), Ok(Kind::HaproxyTcp));
        assert!("haproxy2".parse::<Kind>().unwrap_err().contains("nginx, haproxy, haproxy-tcp"));
        for (name, kind) in KINDS {
            assert_eq!((name.parse(), kind.name()), (Ok(kind), name));
        }
    }

    #[test]
    fn a_directory_outlives_its_gateway() {
        let dir = Dir::new("test").unwrap();
        dir.write("log", "one\ntwo\n").unwrap();
        assert_eq!(dir.tail("log"), "one | two");
        let path = dir.0.clone();
        drop(dir);
        assert!(!path.exists());
    }
}
