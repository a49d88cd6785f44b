//! Signals and the end: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads.

use super::{changes, plane::Plane};
use crate::{
    control::{admin::ReloadSender, changes::Actor},
    link::down::{DownDoor, Phase},
};
use std::{
    io,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::Notify,
};

/// How often the shards are looked at while something is awaited of them.
const LOOK: Duration = Duration::from_millis(5);
/// How often a drain says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
/// How long an end at once may take to close its records.
const HURRY: Duration = Duration::from_secs(3);

/// Waits until every shard serves the newest snapshot.
pub(super) async fn until_settled(door: &DownDoor) {
    while !door.settled() {
        tokio::time::sleep(LOOK).await;
    }
}

/// Serves signals until all shards have drained. True if every stream ended by itself.
pub(super) async fn until_drained(signals: Signals, plane: &Plane, reload: &ReloadSender, asked: &Notify) -> bool {
    let door = plane.door();
    let Signals { mut ending, mut hangup } = signals;
    loop {
        tokio::select! {
            () = ending.end() => {
                changes::draining(plane.changes());
                break;
            }
            () = asked.notified() => break,
            _ = hangup.recv() => {
                let reload = reload.clone();
                tokio::spawn(async move { reload.reload(Actor::SIGNAL).await });
            }
        }
    }
    tracing::info!("draining: no new connections, running requests finish");
    door.enter(Phase::Draining);
    let began = Instant::now();
    let mut told = began;
    let mut clean = true;
    while !door.all_finished() {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = ending.end() => {
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
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(seconds = began.elapsed().as_secs(), "still draining: streams are running");
        }
    }
    clean
}

/// The signals weir listens to. It must exist before anybody is told that weir is ready: until then a signal does what the
/// system does by itself, and ends the process.
pub(super) struct Signals {
    ending: Ending,
    hangup: Signal,
}

struct Ending {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn new() -> io::Result<Self> {
        let ending =
            Ending { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Self { ending, hangup: signal(SignalKind::hangup())? })
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
