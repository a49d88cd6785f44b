//! Signals and the end: SIGTERM and SIGINT drain, a second one ends at once, SIGHUP reloads.

use crate::{
    control::admin::ReloadSender,
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
pub(super) async fn until_drained(door: &DownDoor, reload: &ReloadSender, asked: &Notify) -> io::Result<bool> {
    let mut signals = Signals::new()?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            () = signals.end() => break,
            () = asked.notified() => break,
            _ = hangup.recv() => {
                let reload = reload.clone();
                tokio::spawn(async move { reload.reload().await });
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
            () = signals.end() => {
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
    Ok(clean)
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
