//! The task that keeps the sets fresh.

use super::{fetch::Source, pace::Pace};
use crate::{
    control::config::{Config, KeySource},
    kernel::{identity::KeySet, limits::ISSUERS_MAX},
    link::gauges::ShardGauges,
};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// How often the shards' wishes are looked at. With the fetch itself it is how long a token with a new key is refused.
const LOOK: Duration = Duration::from_millis(100);

/// Whom the keys are for.
pub trait TrustDesk: Send + Sync {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;
    /// A set has been fetched: it goes to every shard.
    fn learned(&self, source: Source, set: KeySet);
}

/// Fetches when it is time.
pub struct Refresher {
    desk: Arc<dyn TrustDesk>,
    shards: Vec<Arc<ShardGauges>>,
    sets: HashMap<Source, Watched>,
    /// What the shards had counted when they were looked at last, by the issuer's place.
    counted: [u64; ISSUERS_MAX],
    running: JoinSet<(Source, Result<KeySet, String>)>,
}

struct Watched {
    pace: Pace,
    refresh: Duration,
    /// Who publishes it, for log lines.
    issuer: String,
    /// The last failure, told once; empty after a success.
    failure: String,
    known: bool,
}

impl Refresher {
    /// Nothing is fetched yet.
    pub fn new(desk: Arc<dyn TrustDesk>, shards: Vec<Arc<ShardGauges>>) -> Self {
        Self { desk, shards, sets: HashMap::new(), counted: [0; ISSUERS_MAX], running: JoinSet::new() }
    }

    /// Asks every issuer once, side by side, and waits for the answers: at most as long as one fetch may take.
    pub async fn first(&mut self) {
        self.look(Instant::now());
        while let Some(done) = self.running.join_next().await {
            self.ended(done);
        }
    }

    /// Keeps the sets fresh for ever.
    pub async fn keep(mut self) {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look(Instant::now()),
                Some(done) = self.running.join_next() => self.ended(done),
            }
        }
    }

    /// Begins what is due.
    fn look(&mut self, now: Instant) {
        let config = self.desk.config();
        if config.jwt.is_empty() && self.sets.is_empty() {
            return;
        }
        let mut named = Vec::new();
        for (place, issuer) in config.jwt.iter().enumerate().take(ISSUERS_MAX) {
            let counted: u64 = self.shards.iter().map(|shard| shard.unknown_token_keys[place].get()).sum();
            let wanted = counted != std::mem::replace(&mut self.counted[place], counted);
            let (Some(source), Some(KeySource::Published { refresh, .. })) = (Source::of(issuer), &issuer.source)
            else {
                continue;
            };
            let watched = self.sets.entry(source.clone()).or_insert_with(|| Watched {
                pace: Pace::new(now),
                refresh: *refresh,
                issuer: issuer.issuer.clone(),
                failure: String::new(),
                known: false,
            });
            watched.refresh = *refresh;
            if wanted {
                watched.pace.want(now);
            }
            if watched.pace.begin(now) {
                let source = source.clone();
                self.running.spawn(async move {
                    let fetched = source.fetch().await;
                    (source, fetched)
                });
            }
            named.push(source);
        }
        self.sets.retain(|source, _| named.contains(source));
    }

    fn ended(&mut self, done: Result<(Source, Result<KeySet, String>), tokio::task::JoinError>) {
        let (source, fetched) = match done {
            Ok(done) => done,
            Err(error) => {
                // Its pace would wait for ever: begin anew with every set.
                tracing::error!(%error, "fetching keys of an issuer failed inside weir");
                self.sets.clear();
                return;
            }
        };
        // A reload may have removed it meanwhile.
        let Some(watched) = self.sets.get_mut(&source) else { return };
        watched.pace.ended(Instant::now(), fetched.is_ok(), watched.refresh);
        match fetched {
            Ok(set) => {
                if !watched.known || !watched.failure.is_empty() {
                    tracing::info!(issuer = watched.issuer, keys = set.len(), "the issuer's keys are fetched");
                }
                watched.known = true;
                watched.failure.clear();
                self.desk.learned(source, set);
            }
            Err(failure) => {
                let so_far = if watched.known {
                    "the last good ones stay in force"
                } else {
                    "its tokens are refused until they can be"
                };
                if failure != watched.failure {
                    tracing::warn!(issuer = watched.issuer, failure, "the issuer's keys cannot be fetched; {so_far}");
                }
                watched.failure = failure;
            }
        }
    }
}
