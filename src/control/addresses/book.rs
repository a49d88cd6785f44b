//! What is known of names: pure, times and answers in, decisions out.

use crate::kernel::time::MonoUs;
use std::{collections::HashMap, net::IpAddr, time::Duration};

/// The longest time between two questions for one name, whatever its time to live.
const TTL_MAX: Duration = Duration::from_secs(600);
/// After a failure; doubled from one to the next.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest time after a failure.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Addresses of one name; more are left out.
const ADDRESSES_MAX: usize = 32;

/// What the operator wants (`[dns]`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Which servers are asked; empty: the host's.
    pub servers: Vec<std::net::SocketAddr>,
    /// Times to live are taken for no shorter than this.
    pub ttl_min: Duration,
    /// How long an answer counts that has no time to live: one of the host's own resolver.
    pub refresh: Duration,
    /// How long connections to an address are used on that the name does not have any more.
    pub keep_old: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            ttl_min: Duration::from_secs(5),
            refresh: Duration::from_secs(30),
            keep_old: Duration::from_secs(60),
        }
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of both families, in any order.
    pub addresses: Vec<IpAddr>,
    /// How long it counts; `None` if nobody said.
    pub ttl: Option<Duration>,
}

/// The addresses of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Those it has.
    pub now: Vec<IpAddr>,
    /// Those it had until lately.
    pub before: Vec<IpAddr>,
}

struct Entry {
    now: Vec<IpAddr>,
    /// Until when old ones count.
    before: Vec<(IpAddr, MonoUs)>,
    due: MonoUs,
    failures: u32,
    asked: bool,
}

/// All names that upstreams have.
pub struct Book {
    names: HashMap<String, Entry>,
    settings: Settings,
}

impl Book {
    /// A book without names.
    pub fn new(settings: Settings) -> Self {
        Self { names: HashMap::new(), settings }
    }

    /// What the operator wants.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Wants these names and no others. Those that are new are due at once; with other servers all are.
    pub fn follow(&mut self, names: &[String], settings: &Settings, now: MonoUs) {
        self.names.retain(|name, _| names.contains(name));
        let elsewhere = self.settings.servers != settings.servers;
        self.settings = settings.clone();
        for name in names {
            let new = || Entry { now: Vec::new(), before: Vec::new(), due: now, failures: 0, asked: false };
            let entry = self.names.entry(name.clone()).or_insert_with(new);
            if elsewhere {
                entry.due = now;
            }
        }
    }

    /// Has every name been asked for, if only in vain?
    pub fn is_complete(&self) -> bool {
        self.names.values().all(|entry| entry.asked)
    }

    /// The names to ask for now.
    pub fn due(&self, now: MonoUs) -> Vec<String> {
        self.names.iter().filter(|(_, entry)| entry.due <= now).map(|(name, _)| name.clone()).collect()
    }

    /// When something happens next: a name is due, or an old address no longer counts.
    pub fn next(&self) -> Option<MonoUs> {
        let dues = self.names.values().map(|entry| entry.due);
        dues.chain(self.names.values().flat_map(|entry| entry.before.iter().map(|(_, until)| *until))).min()
    }

    /// Forgets old addresses whose time is over. True if there were any.
    pub fn tidy(&mut self, now: MonoUs) -> bool {
        let mut changed = false;
        for entry in self.names.values_mut() {
            let before = entry.before.len();
            entry.before.retain(|(_, until)| *until > now);
            changed |= entry.before.len() != before;
        }
        changed
    }

    /// A name has been asked for: how it answered. `chance` spreads the next questions. True if its addresses are others now.
    pub fn told(&mut self, name: &str, answer: Option<Found>, now: MonoUs, chance: u64) -> bool {
        let Some(entry) = self.names.get_mut(name) else { return false };
        entry.asked = true;
        let Some(mut found) = answer.filter(|found| !found.addresses.is_empty()) else {
            let pause = FIRST_RETRY.saturating_mul(1 << entry.failures.min(5)).min(RETRY_MAX);
            entry.failures += 1;
            entry.due = now.after(spread(pause, chance));
            return false;
        };
        found.addresses.truncate(ADDRESSES_MAX);
        let lives = found.ttl.unwrap_or(self.settings.refresh).clamp(self.settings.ttl_min, TTL_MAX);
        entry.due = now.after(spread(lives, chance));
        entry.failures = 0;
        let changed = !same(&entry.now, &found.addresses);
        if changed {
            let until = now.after(self.settings.keep_old);
            let gone = entry.now.drain(..).filter(|old| !found.addresses.contains(old));
            let gone: Vec<_> = gone.map(|old| (old, until)).collect();
            entry
                .before
                .retain(|(old, _)| !found.addresses.contains(old) && !gone.iter().any(|(other, _)| other == old));
            entry.before.extend(gone);
            entry.now = found.addresses;
        }
        changed
    }

    /// The addresses of a name.
    pub fn addresses(&self, name: &str) -> Addresses {
        let Some(entry) = self.names.get(name) else { return Addresses::default() };
        Addresses { now: entry.now.clone(), before: entry.before.iter().map(|(old, _)| *old).collect() }
    }
}

/// Servers hand addresses out in turns; that alone is no change.
fn same(a: &[IpAddr], b: &[IpAddr]) -> bool {
    a.len() == b.len() && a.iter().all(|address| b.contains(address))
}

/// Up to a tenth longer, so that many gateways do not ask in step.
fn spread(duration: Duration, chance: u64) -> Duration {
    duration + duration / 1000 * (chance % 100) as u32
}

#[cfg(test)]
mod tests;
