//! How long a connection to an upstream is used again. Pure: times in, decision out.

use super::{
    limits::{IDLE_UPSTREAM_CONNECTIONS_MAX, IDLE_UPSTREAM_TIMEOUT, UPSTREAM_CONNECTION_AGE},
    time::MonoUs,
};
use std::time::Duration;

/// What the operator allows (`[[upstream]] keep_alive`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// The longest time between two requests.
    pub idle: Duration,
    /// The longest time from the first request to the beginning of the last: a balancer behind one name gets its say again, and
    /// what has been replaced there loses its last clients.
    pub age: Duration,
    /// Requests on one connection; `None` for any number.
    pub requests: Option<u32>,
    /// Connections that lie idle, per shard. 0: none is used again.
    pub connections: usize,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: IDLE_UPSTREAM_TIMEOUT,
            age: UPSTREAM_CONNECTION_AGE,
            requests: None,
            connections: IDLE_UPSTREAM_CONNECTIONS_MAX,
        }
    }
}

/// Why a connection is not used again although its last exchange was whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// The upstream has closed it, or said something nobody asked for.
    Closed = 0,
    /// Nobody needed it for too long.
    Idle = 1,
    /// It is too old.
    Age = 2,
    /// It has carried enough requests.
    Requests = 3,
    /// Enough others lie idle.
    Full = 4,
    /// It leads where the upstream is not any more, or trusts what is not trusted any more.
    Moved = 5,
}

impl Retired {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 6] = [Self::Closed, Self::Idle, Self::Age, Self::Requests, Self::Full, Self::Moved];

    /// The label in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::Requests => "requests",
            Self::Full => "full",
            Self::Moved => "moved",
        }
    }
}

/// What a connection has behind it.
#[derive(Clone, Copy, Debug)]
pub struct Wear {
    born: MonoUs,
    /// Its age counts for so much more, thousandths: connections that were made together do not all end together.
    haste: u16,
    requests: u32,
    idle_since: MonoUs,
}

/// Ages differ by so much at most, thousandths.
const HASTE_MAX: u64 = 250;

impl Wear {
    /// Of a new connection.
    pub fn new(now: MonoUs, chance: u64) -> Self {
        Self { born: now, haste: (chance % HASTE_MAX) as u16, requests: 0, idle_since: now }
    }

    /// An exchange on it has ended, and was whole.
    pub fn used(&mut self, now: MonoUs) {
        self.requests = self.requests.saturating_add(1);
        self.idle_since = now;
    }

    /// Why it is not used again; none if it may be.
    pub fn retired(&self, allowed: &KeepAlive, now: MonoUs) -> Option<Retired> {
        let age = now.since(self.born);
        let age = age.saturating_add(age / 1000 * u64::from(self.haste));
        if now.since(self.idle_since) >= micros(allowed.idle) {
            Some(Retired::Idle)
        } else if age >= micros(allowed.age) {
            Some(Retired::Age)
        } else if allowed.requests.is_some_and(|most| self.requests >= most) {
            Some(Retired::Requests)
        } else {
            None
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn at(seconds: u64) -> MonoUs {
        MonoUs(seconds * SECOND)
    }

    #[test]
    fn a_connection_is_kept_longer_than_it_may() {
        let allowed = KeepAlive {
            idle: Duration::from_secs(50),
            age: Duration::from_secs(600),
            requests: Some(3),
            ..KeepAlive::default()
        };
        let mut wear = Wear::new(at(100), 0);
        assert_eq!(wear.retired(&allowed, at(149)), None);
        assert_eq!(wear.retired(&allowed, at(150)), Some(Retired::Idle));
        wear.used(at(145));
        assert_eq!(wear.retired(&allowed, at(194)), None);
        wear.used(at(190));
        wear.used(at(230));
        assert_eq!(wear.retired(&allowed, at(231)), Some(Retired::Requests));
        let endless = KeepAlive { requests: None, ..allowed };
        (231..700).for_each(|second| {
            assert_eq!(wear.retired(&endless, at(second)), None, "{second}");
            wear.used(at(second));
        });
        assert_eq!(wear.retired(&endless, at(700)), Some(Retired::Age));
    }

    #[test]
    fn connections_made_together_all_end_together() {
        let (allowed, mut ends) = (KeepAlive { idle: Duration::MAX, ..KeepAlive::default() }, Vec::new());
        for chance in 0..1000 {
            let wear = Wear::new(at(0), chance);
            let end = (0..=allowed.age.as_secs()).find(|second| wear.retired(&allowed, at(*second)).is_some());
            ends.push(end.expect("none outlives the age"));
        }
        let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
        assert!(*first > allowed.age.as_secs() * 3 / 4 && *last == allowed.age.as_secs(), "{first} {last}");
        ends.sort_unstable();
        ends.dedup();
        assert!(ends.len() > 100, "{}", ends.len());
    }
}
