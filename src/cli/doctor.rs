//! `weir doctor`: compares this host with what weir wants of it. Everything is read from `/proc`; nothing is changed.

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// io_uring with DEFER_TASKRUN, which the shards' rings ask for, came with this kernel.
const KERNEL_WANTED: (u32, u32) = (6, 1);
/// Two descriptors for each stream, some thousands of streams on each shard.
const FILES_WANTED: u64 = 65_536;
/// Below this not even one busy shard can work.
const FILES_NEEDED: u64 = 4096;
/// Registered rings and buffers count as locked memory on some kernels. Bytes.
const MEMLOCK_WANTED: u64 = 8 * 1024 * 1024;
const BACKLOG_WANTED: u64 = 4096;
/// Ephemeral ports: each connection to one upstream address takes one.
const PORTS_WANTED: u64 = 28_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        })
    }
}

/// One line of the report.
struct Finding {
    name: &'static str,
    value: String,
    wanted: String,
    verdict: Verdict,
    mend: &'static str,
}

/// The host as `/proc` shows it.
struct Host {
    proc: PathBuf,
    cores: usize,
}

/// Looks at this host and prints one line for each requirement; exits with 1 if a hard one is not met.
pub fn run() -> ExitCode {
    let host = Host { proc: "/proc".into(), cores: std::thread::available_parallelism().map_or(1, usize::from) };
    let findings = examine(&host, &crate::sys::probe::io_uring);
    match print(&findings, &mut io::stdout().lock()) {
        Ok(()) if findings.iter().all(|finding| finding.verdict != Verdict::Fail) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn examine(host: &Host, probe: &dyn Fn() -> Result<(), String>) -> Vec<Finding> {
    vec![
        kernel(host),
        ring(probe),
        ring_switch(host),
        files(host),
        locked_memory(host),
        at_least(host, "net.core.somaxconn", BACKLOG_WANTED, "sysctl -w net.core.somaxconn=4096"),
        at_least(host, "net.ipv4.tcp_max_syn_backlog", BACKLOG_WANTED, "sysctl -w net.ipv4.tcp_max_syn_backlog=4096"),
        ports(host),
        congestion(host),
        cores(host),
    ]
}

fn print(findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings {
        let Finding { name, value, wanted, verdict, mend } = finding;
        writeln!(out, "{verdict:<5} {name:<32} {value} (wanted: {wanted})")?;
        if *verdict != Verdict::Ok {
            writeln!(out, "      mend: {mend}")?;
        }
    }
    Ok(())
}

impl Host {
    /// The content of a file under `/proc`, without the line break at its end.
    fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        std::fs::read_to_string(self.proc.join(path)).ok().map(|text| text.trim().to_string())
    }

    fn sysctl(&self, name: &str) -> Option<String> {
        self.read(Path::new("sys").join(name.replace('.', "/")))
    }

    /// The soft limit of this process; `u64::MAX` for unlimited.
    fn limit(&self, name: &str) -> Option<u64> {
        let limits = self.read("self/limits")?;
        let soft = limits.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.to_string();
        if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
    }
}

/// A value as shown; a missing one says so.
fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "not readable".to_string(), |value| value.to_string())
}

fn shown_limit(value: Option<u64>) -> String {
    if value == Some(u64::MAX) { "unlimited".to_string() } else { shown(value) }
}

fn kernel(host: &Host) -> Finding {
    let release = host.sysctl("kernel.osrelease");
    let version = release.as_deref().and_then(|release| {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    Finding {
        name: "kernel",
        value: shown(release),
        wanted: format!("at least {}.{}", KERNEL_WANTED.0, KERNEL_WANTED.1),
        verdict: if version.is_some_and(|version: (u32, u32)| version >= KERNEL_WANTED) {
            Verdict::Ok
        } else {
            Verdict::Fail
        },
        mend: "install a newer kernel, or write driver = \"epoll\" under [shards]",
    }
}

fn ring(probe: &dyn Fn() -> Result<(), String>) -> Finding {
    let result = probe();
    Finding {
        name: "io_uring",
        verdict: if result.is_ok() { Verdict::Ok } else { Verdict::Fail },
        value: result.map_or_else(|error| format!("not usable: {error}"), |()| "usable".to_string()),
        wanted: "usable".to_string(),
        mend: "sysctl -w kernel.io_uring_disabled=0; in a container allow io_uring_setup, io_uring_enter and \
               io_uring_register in its seccomp profile; or write driver = \"epoll\" under [shards]",
    }
}

fn ring_switch(host: &Host) -> Finding {
    let value = host.sysctl("kernel.io_uring_disabled");
    let verdict = match value.as_deref() {
        // Kernels before 6.6 have no such switch.
        None | Some("0") => Verdict::Ok,
        Some("1") => Verdict::Warn,
        Some(_) => Verdict::Fail,
    };
    Finding {
        name: "kernel.io_uring_disabled",
        value: value.unwrap_or_else(|| "not there".to_string()),
        wanted: "0".to_string(),
        verdict,
        mend: "sysctl -w kernel.io_uring_disabled=0",
    }
}

fn files(host: &Host) -> Finding {
    let value = host.limit("Max open files");
    let verdict = match value {
        Some(files) if files >= FILES_WANTED => Verdict::Ok,
        Some(files) if files < FILES_NEEDED => Verdict::Fail,
        _ => Verdict::Warn,
    };
    Finding {
        name: "open files (RLIMIT_NOFILE)",
        value: shown_limit(value),
        wanted: format!("at least {FILES_WANTED}"),
        verdict,
        mend: "ulimit -n 65536, or LimitNOFILE=65536 in the systemd unit",
    }
}

fn locked_memory(host: &Host) -> Finding {
    let value = host.limit("Max locked memory");
    Finding {
        name: "locked memory (RLIMIT_MEMLOCK)",
        value: shown_limit(value),
        wanted: format!("at least {MEMLOCK_WANTED} bytes"),
        verdict: if value.is_some_and(|bytes| bytes >= MEMLOCK_WANTED) { Verdict::Ok } else { Verdict::Warn },
        mend: "ulimit -l 8192, or LimitMEMLOCK=8M in the systemd unit",
    }
}

fn at_least(host: &Host, name: &'static str, wanted: u64, mend: &'static str) -> Finding {
    let value = host.sysctl(name);
    let enough = value.as_deref().and_then(|text| text.parse::<u64>().ok()).is_some_and(|value| value >= wanted);
    Finding {
        name,
        value: shown(value),
        wanted: format!("at least {wanted}"),
        verdict: if enough { Verdict::Ok } else { Verdict::Warn },
        mend,
    }
}

fn ports(host: &Host) -> Finding {
    let value = host.sysctl("net.ipv4.ip_local_port_range");
    let width = value.as_deref().and_then(|text| {
        let mut ends = text.split_whitespace().map(str::parse::<u64>);
        let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
        last.checked_sub(first)
    });
    Finding {
        name: "net.ipv4.ip_local_port_range",
        value: shown(value.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))),
        wanted: format!("at least {PORTS_WANTED} ports"),
        verdict: if width.is_some_and(|width| width >= PORTS_WANTED) { Verdict::Ok } else { Verdict::Warn },
        mend: "sysctl -w net.ipv4.ip_local_port_range=\"10240 65535\"",
    }
}

fn congestion(host: &Host) -> Finding {
    let value = host.sysctl("net.ipv4.tcp_congestion_control");
    let known = matches!(value.as_deref(), Some("bbr" | "cubic"));
    Finding {
        name: "net.ipv4.tcp_congestion_control",
        value: shown(value),
        wanted: "bbr or cubic".to_string(),
        verdict: if known { Verdict::Ok } else { Verdict::Warn },
        mend: "sysctl -w net.ipv4.tcp_congestion_control=bbr (or cubic)",
    }
}

fn cores(host: &Host) -> Finding {
    Finding {
        name: "cores",
        value: host.cores.to_string(),
        wanted: "at least 2".to_string(),
        verdict: if host.cores >= 2 { Verdict::Ok } else { Verdict::Warn },
        mend: "give this process more cores: shards and the control plane share one",
    }
}

#[cfg(test)]
mod tests;
