//! The load generator: a raw HTTP/1.1 keep-alive client that checks every answer it gets.
//!
//! Closed loop by default: each connection sends its next request when the last answer is whole. With a rate, requests
//! are due at fixed times whatever happened to earlier ones, and latency counts from when a request was due.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub mod live;
pub mod response;
pub mod stats;
pub mod verify;
pub mod workload;

mod client;
mod hostile;
mod wire;

#[cfg(test)]
mod tests;

use client::{Ended, Watch, exchange};
use live::Live;
use stats::{Report, Stats};
use verify::Seen;
use wire::{Target, Wire};
use workload::{Expect, Request, Workload};

/// Longest wait for a whole answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);
/// Pause after a failed connect, so that a dead target is not hammered.
const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// Below this a due time is met by yielding: timers tick in whole milliseconds.
const FINE_WAIT: Duration = Duration::from_millis(2);
/// Connections that are made at once before a run begins: more would overflow a gateway's backlog.
const CONNECTING: usize = 128;
/// Bytes of one read.
const READ_BYTES: usize = 32 << 10;

/// What to run.
#[derive(Clone)]
pub struct RunOptions {
    /// Where to send: `http://HOST:PORT` or `https://HOST:PORT`.
    pub target: String,
    /// The certificate that an `https` target must show, DER; any if not said.
    pub certificate: Option<Vec<u8>>,
    /// Bearer credential.
    pub key: String,
    /// What to send.
    pub workload: Workload,
    /// How long new requests are started.
    pub time: Option<Duration>,
    /// How many requests are started.
    pub requests: Option<u64>,
    /// Connections; the workload's own number unless said.
    pub connections: Option<usize>,
    /// Requests per second over all connections; closed loop unless said.
    pub rate: Option<f64>,
    /// Hashes bodies and asks the provider to keep entries, for [`verify::check`].
    pub verify: bool,
    /// Seed of what is random: where clients leave.
    pub seed: u64,
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// Its figures.
    pub report: Report,
    /// Every whole answer, with `verify`.
    pub seen: Vec<Seen>,
}

/// What the connections share.
struct Shared {
    target: Target,
    requests: Vec<Request>,
    request_sha256: Vec<digest::Digest>,
    next: AtomicU64,
    limit: u64,
    began: Instant,
    time: Option<Duration>,
    rate: Option<f64>,
    aborts: f64,
    sessions: bool,
    reconnects: bool,
    stamped: bool,
    verify: bool,
    live: Arc<Live>,
    stats: Mutex<Stats>,
    seen: Mutex<Vec<Seen>>,
}

/// A run whose connections stand and that has not begun. What connecting costs a gateway is behind it by now, but for
/// workloads that connect anew for each request.
pub struct Prepared {
    shared: Shared,
    wires: Vec<Option<Wire>>,
    name: &'static str,
    seed: u64,
}

/// Makes a workload's connections on the current tokio runtime. One that cannot be made is tried again by its first request.
///
/// # Errors
/// When the options make no sense.
pub async fn prepare(options: &RunOptions) -> Result<Prepared, String> {
    let connections = options.connections.unwrap_or(options.workload.connections).max(1);
    let shared = Shared::new(options)?;
    let mut wires = Vec::with_capacity(connections);
    let mut connecting = JoinSet::new();
    while wires.len() + connecting.len() < connections || !connecting.is_empty() {
        if shared.reconnects {
            wires.resize_with(connections, || None);
            break;
        }
        while connecting.len() < CONNECTING && wires.len() + connecting.len() < connections {
            let target = shared.target.clone();
            connecting.spawn(async move { target.connect().await.ok() });
        }
        if let Some(connected) = connecting.join_next().await {
            wires.push(connected.ok().flatten());
        }
    }
    Ok(Prepared { shared, wires, name: options.workload.name, seed: options.seed })
}

impl Prepared {
    /// What it will show of itself while it runs.
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&self.shared.live)
    }

    /// Runs it. Dropped before its end, it ends all its connections.
    ///
    /// # Errors
    /// When a task of it dies. Failed requests are counted, not returned.
    pub async fn run(mut self) -> Result<Run, String> {
        let connections = self.wires.len();
        self.shared.began = Instant::now();
        let shared = Arc::new(self.shared);
        let mut tasks = JoinSet::new();
        for (index, wire) in self.wires.into_iter().enumerate() {
            tasks.spawn(connection(Arc::clone(&shared), wire, self.seed ^ ((index as u64) << 32)));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|error| format!("a connection's task died: {error}"))?;
        }
        let report = shared.stats().report(self.name, connections, shared.began.elapsed());
        let seen = std::mem::take(&mut *shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Run { report, seen })
    }
}

/// Runs a workload on the current tokio runtime.
///
/// # Errors
/// When the options make no sense. Failed requests are counted, not returned.
pub async fn run(options: &RunOptions) -> Result<Run, String> {
    prepare(options).await?.run().await
}

/// `HOST:PORT` of an `http://` URL without a path.
///
/// # Errors
/// When it is anything else.
pub fn address_of(url: &str) -> Result<&str, String> {
    let rest = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    match rest {
        Some(addr) if !addr.contains('/') && addr.contains(':') => Ok(addr),
        _ => Err(format!("`{url}` is not of the form http://HOST:PORT")),
    }
}

impl Shared {
    fn new(options: &RunOptions) -> Result<Shared, String> {
        let target = Target::of(&options.target, options.certificate.as_deref())?;
        if options.workload.tls && !target.is_tls() {
            return Err(format!("{} wants a target with TLS: https://HOST:PORT", options.workload.name));
        }
        if options.time.is_none() && options.requests.is_none() {
            return Err("say how long to run: --seconds S or --requests N".to_owned());
        }
        if options.rate.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            return Err("--rate must be above 0".to_owned());
        }
        let requests = options.workload.requests(&target.addr, &options.key, !options.verify);
        let sha256 = |request: &Request| digest::digest(&digest::SHA256, &request.body);
        Ok(Shared {
            target,
            request_sha256: requests.iter().filter(|_| options.verify).map(sha256).collect(),
            requests,
            next: AtomicU64::new(0),
            limit: options.requests.unwrap_or(u64::MAX),
            began: Instant::now(),
            time: options.time,
            rate: options.rate,
            aborts: options.workload.aborts,
            sessions: options.workload.sessions,
            reconnects: options.workload.reconnects,
            stamped: options.workload.stamped,
            verify: options.verify,
            live: Arc::new(Live::new().ok_or("cannot make the histograms")?),
            stats: Mutex::new(Stats::new().ok_or("cannot make the histograms")?),
            seen: Mutex::default(),
        })
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request's number and when it is due, unless the run is over.
    async fn take(&self) -> Option<(u64, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = match self.rate {
            Some(rate) => self.began + Duration::from_secs_f64(number as f64 / rate),
            None => Instant::now(),
        };
        let over = number >= self.limit || self.time.is_some_and(|time| due >= self.began + time);
        if over {
            return None;
        }
        if self.rate.is_some() {
            wait_until(due).await;
        }
        Some((number, due))
    }
}

async fn wait_until(due: Instant) {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        if left > FINE_WAIT {
            tokio::time::sleep(left - FINE_WAIT).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

async fn connection(shared: Arc<Shared>, mut wire: Option<Wire>, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut buffer = vec![0; READ_BYTES];
    let watch = Watch { live: &shared.live, stamped: shared.stamped, digests: shared.verify };
    let count = shared.requests.len();
    // Where in its session this connection begins, and which session it is.
    let (mut turn, mut session) = (random.usize(0..count), random.u64(..));
    while let Some((number, due)) = shared.take().await {
        let index = if shared.sessions { turn } else { (number % count as u64) as usize };
        turn = (turn + 1) % count;
        if turn == 0 {
            session = random.u64(..);
        }
        let request = &shared.requests[index];
        let leave_after = match request.expect {
            Expect::Frames(all) if random.f64() < shared.aborts => Some(random.u64(0..all)),
            _ => None,
        };
        let connected = match wire.take() {
            Some(wire) => Ok(wire),
            None => shared.target.connect().await,
        };
        let Ok(connected) = connected else {
            shared.stats().failed("connect");
            tokio::time::sleep(CONNECT_PAUSE).await;
            continue;
        };
        let session = if shared.sessions { session } else { index as u64 };
        let exchange = exchange(connected, request, session, &mut buffer, leave_after, &watch);
        let ended = match tokio::time::timeout(ANSWER_DEADLINE, exchange).await {
            Ok(ended) => ended,
            Err(_) => Err("deadline".to_owned()),
        };
        wire = settle(&shared, index, due, ended).filter(|_| !shared.reconnects);
    }
}

/// Counts how an exchange ended; returns the connection if it may be used again.
fn settle(shared: &Shared, index: usize, due: Instant, ended: Result<Ended, String>) -> Option<Wire> {
    let mut stats = shared.stats();
    match ended {
        Ok(Ended::Left { events }) => {
            stats.aborted += 1;
            stats.events += events;
            None
        }
        Ok(Ended::Refused) => {
            stats.refused += 1;
            None
        }
        Ok(Ended::Answered { wire, mut response, first_byte, whole }) => {
            stats.answered(first_byte.saturating_duration_since(due), whole.saturating_duration_since(due));
            stats.events += response.frames;
            stats.received_bytes += response.payload_bytes;
            drop(stats);
            if let (Some(sha256), Some(request)) = (response.take_sha256(), shared.request_sha256.get(index)) {
                let request_id = std::mem::take(&mut response.request_id);
                let seen = Seen::new(request_id, request.as_ref(), sha256.as_ref(), response.payload_bytes);
                shared.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
            }
            (!response.close).then_some(wire)
        }
        Err(kind) => {
            stats.failed(&kind);
            None
        }
    }
}
