//! Signals and the end: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads, SIGUSR2 starts a process that replaces
//! this one.

use super::{admin_api::AdminApi, changes, handover::Leaving, notify, plane::Plane, successor};
use crate::{
    control::{admin::ReloadSender, changes::Actor},
    link::{
        down::{DownDoor, Phase},
        gauges::ShardGauges,
    },
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// How often the shards are looked at while something is awaited of them.
const LOOK: Duration = Duration::from_millis(5);
/// The same at the start, where everybody waits and a shard needs less than a millisecond.
const FIRST_LOOK: Duration = Duration::from_micros(500);
/// How often a drain says how far it is: at first, and later.
const PROGRESS: Duration = Duration::from_secs(2);
const PROGRESS_LATER: Duration = Duration::from_secs(15);
/// How long an end at once may take to close its records.
const HURRY: Duration = Duration::from_secs(3);

/// Waits until every shard serves the newest snapshot.
pub(super) async fn until_settled(door: &DownDoor) {
    while !door.settled() {
        tokio::time::sleep(FIRST_LOOK).await;
    }
}

/// Waits until every shard has ticked, and has seen what was published before.
pub(super) async fn until_ticked(shards: &[Arc<ShardGauges>]) {
    let ticks = || shards.iter().map(|shard| shard.ticks.get()).collect::<Vec<_>>();
    let before = ticks();
    // The tick under way may have looked already.
    while ticks().iter().zip(&before).any(|(now, before)| *now < before + 2) {
        tokio::time::sleep(LOOK).await;
    }
}

/// What a gateway's life hangs on.
pub(super) struct Life<'a> {
    pub plane: &'a Plane,
    pub reload: &'a ReloadSender,
    /// A drain has been asked for.
    pub drain: &'a Notify,
    pub leaving: &'a Leaving,
    pub gauges: &'a [Arc<ShardGauges>],
}

/// Serves signals until all shards have drained. True if every stream ended by itself.
pub(super) async fn until_drained(signals: Signals, life: &Life<'_>, admin: &mut AdminApi) -> bool {
    let door = life.plane.door();
    let Signals { mut ending, mut hangup, mut replace } = signals;
    loop {
        tokio::select! {
            () = ending.end() => {
                changes::draining(life.plane.changes());
                break;
            }
            () = life.drain.notified() => break,
            () = life.leaving.replaced.notified() => break,
            _ = hangup.recv() => {
                let reload = life.reload.clone();
                tokio::spawn(async move {
                    notify::reloading();
                    reload.reload(Actor::SIGNAL).await;
                    notify::ready();
                });
            }
            _ = replace.recv() => successor::start(),
        }
    }
    let replaced = door.phase() == Phase::Retiring;
    let minutes = life.plane.config().limits.drain_timeout;
    if replaced {
        admin.close();
        tracing::info!(deadline = ?minutes, "replaced: another process accepts connections, running requests finish here");
    } else {
        notify::stopping();
        tracing::info!(deadline = ?minutes, "draining: no new connections, running requests finish");
        door.enter(Phase::Draining);
    }
    let mut progress = Progress { began: Instant::now(), told: Instant::now(), timeout: minutes };
    let (mut clean, mut asked) = (true, !replaced);
    while !door.all_finished() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = ending.end() => {
                if !asked {
                    asked = true;
                    tracing::info!("asked to end: connections that wait for a request are closed");
                    door.enter(Phase::Draining);
                    continue;
                }
                tracing::warn!("a second signal: ending at once; running streams are cut");
                clean = false;
                door.enter(Phase::Stopping);
                let hurry = Instant::now();
                while !door.all_finished() && hurry.elapsed() < HURRY {
                    tokio::time::sleep(LOOK).await;
                }
                break;
            }
        }
        progress.tell(life.gauges);
    }
    clean
}

/// How far a drain is.
struct Progress {
    began: Instant,
    told: Instant,
    timeout: Duration,
}

impl Progress {
    /// Says it, if it is time: often at first, less often when it takes minutes.
    fn tell(&mut self, shards: &[Arc<ShardGauges>]) {
        let drained = self.began.elapsed();
        let pause = if drained < 5 * PROGRESS_LATER { PROGRESS } else { PROGRESS_LATER };
        if self.told.elapsed() < pause {
            return;
        }
        self.told = Instant::now();
        let sum = |figure: fn(&ShardGauges) -> u64| shards.iter().map(|shard| figure(shard)).sum::<u64>();
        let oldest = shards.iter().map(|shard| shard.oldest_request_us.get()).max().unwrap_or(0);
        tracing::info!(
            requests = sum(|shard| shard.requests_running.get()),
            streams = sum(|shard| shard.streams.get()),
            connections = sum(|shard| shard.connections.get()),
            oldest_seconds = oldest / 1_000_000,
            seconds = drained.as_secs(),
            deadline_in_seconds = self.timeout.saturating_sub(drained).as_secs(),
            "still draining"
        );
    }
}

/// The signals weir listens to. It must exist before anybody is told that weir is ready: until then a signal does what the
/// system does by itself, and ends the process.
pub(super) struct Signals {
    ending: Ending,
    hangup: Signal,
    replace: Signal,
}

struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        let ending =
            Ending { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { ending, hangup: signal(SignalKind::hangup())?, replace: signal(SignalKind::user_defined2())? })
    }
}

impl Ending {
    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
