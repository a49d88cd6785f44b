//! HAProxy, as an HTTP proxy with kept upstream connections and as a TCP proxy.

use super::{Dir, READY_WITHIN, Running, Setup, StartError, command, find, free_address, wait_for_port};
use std::time::Instant;

/// How much it looks into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Http,
    Tcp,
}

pub(super) fn start(setup: &Setup, mode: Mode) -> Result<Running, StartError> {
    let program = find("haproxy").ok_or(StartError::NotInstalled("apt-get install haproxy"))?;
    let (name, word, options) = match mode {
        Mode::Http => ("haproxy", "http", "    http-reuse always\n    option http-no-delay\n"),
        Mode::Tcp => ("haproxy-tcp", "tcp", ""),
    };
    let began = Instant::now();
    let (dir, addr) = (Dir::new(name)?, free_address()?);
    let provider = setup.provider;
    let tls = match &setup.tls {
        Some(tls) => {
            format!(" ssl crt {}", dir.write("tls.pem", &format!("{}{}", tls.chain_pem, tls.key_pem))?.display())
        }
        None => String::new(),
    };
    let most = connections_max();
    let config = format!(
        "global
    maxconn {most}
    nbthread 1
defaults
    mode {word}
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    maxconn {most}
frontend clients
    bind {addr} backlog 4096{tls}
    default_backend provider
backend provider
{options}    server provider {provider} maxconn {most}
"
    );
    let config = dir.write("haproxy.cfg", &config)?;
    let mut child = command(&program, setup, &dir)?.arg("-db").arg("-f").arg(config).spawn()?;
    wait_for_port(&mut child, &dir, addr, READY_WITHIN)?;
    let gateway = setup.gateway(name, addr, vec![child.id()], None);
    Ok(Running { gateway, ready_after: began.elapsed(), child, dir })
}

/// As many connections as descriptors allow, two each and some for itself: asked for more, it does not start.
fn connections_max() -> u64 {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let soft = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap_or_default();
    let files = soft.split_whitespace().next().and_then(|files| files.parse::<u64>().ok()).unwrap_or(u64::MAX);
    (files.saturating_sub(200) / 2).clamp(100, 16_384)
}
