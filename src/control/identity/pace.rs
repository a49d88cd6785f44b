//! When a set is fetched: regularly, sooner after a failure, and at once for a token with an unknown key, within a cap.

use crate::kernel::limits::{JWKS_WANTED_BURST, JWKS_WANTED_EVERY};
use std::time::{Duration, Instant};

/// The first wait after a failure; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// After a fetch, how long tokens that do not fit cause no other: shards take the new keys at their next tick, and till then
/// they still judge by the old ones.
const SETTLING: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The pace of one set.
pub(super) struct Pace {
    /// When it is fetched next, whatever happens; `None` while a fetch is under way.
    due: Option<Instant>,
    failures: u32,
    settled: Instant,
    /// Somebody has shown a token that the set does not fit.
    wanted: bool,
    /// Fetches that such tokens may still cause now.
    room: u32,
    room_since: Instant,
}

impl Pace {
    /// A set that has never been fetched: it is due.
    pub fn new(now: Instant) -> Self {
        Self { due: Some(now), failures: 0, settled: now, wanted: false, room: JWKS_WANTED_BURST, room_since: now }
    }

    /// A token did not fit.
    pub fn want(&mut self, now: Instant) {
        self.wanted |= self.due.is_some() && now >= self.settled;
    }

    /// Is it time? If so, a fetch is under way from now on.
    pub fn begin(&mut self, now: Instant) -> bool {
        self.refill(now);
        let Some(due) = self.due else { return false };
        let regular = due <= now;
        let wanted = self.wanted && self.room > 0;
        if !regular && !wanted {
            return false;
        }
        if !regular {
            if self.room == JWKS_WANTED_BURST {
                self.room_since = now;
            }
            self.room -= 1;
        }
        self.wanted = false;
        self.due = None;
        true
    }

    /// The fetch is over.
    pub fn ended(&mut self, now: Instant, good: bool, refresh: Duration) {
        self.failures = if good { 0 } else { self.failures.saturating_add(1) };
        let wait = match self.failures {
            0 => refresh,
            n => refresh.min(RETRY_MAX).min(RETRY_FIRST.saturating_mul(1 << (n - 1).min(10))),
        };
        self.due = Some(now + wait);
        self.settled = now + SETTLING;
    }

    fn refill(&mut self, now: Instant) {
        while self.room < JWKS_WANTED_BURST && now.saturating_duration_since(self.room_since) >= JWKS_WANTED_EVERY {
            self.room += 1;
            self.room_since += JWKS_WANTED_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(300);

    #[test]
    fn tokens_with_unknown_keys_make_weir_hammer_its_identity_provider() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        assert!(pace.begin(start) && !pace.begin(start), "one at a time");
        pace.ended(start, true, REFRESH);
        let mut fetched = 0;
        // A minute of such tokens, every 10 ms.
        for at in (0..60_000).step_by(10) {
            let now = start + Duration::from_millis(at);
            pace.want(now);
            if pace.begin(now) {
                fetched += 1;
                pace.ended(now, true, REFRESH);
            }
        }
        let most = JWKS_WANTED_BURST + 60 / JWKS_WANTED_EVERY.as_secs() as u32;
        assert!(fetched >= most - 1 && fetched <= most, "{fetched} of at most {most}");
    }

    #[test]
    fn one_token_with_a_new_key_waits_for_the_regular_fetch() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        pace.begin(start);
        pace.ended(start, true, REFRESH);
        assert!(!pace.begin(start + Duration::from_secs(299)));
        pace.want(start + Duration::from_millis(100));
        assert!(!pace.begin(start + Duration::from_millis(300)), "the shards had not taken the keys yet");
        pace.want(start + Duration::from_secs(299));
        assert!(pace.begin(start + Duration::from_secs(299)));
        pace.ended(start + Duration::from_secs(299), true, REFRESH);
        assert!(!pace.begin(start + Duration::from_secs(301)), "wanted once, fetched once");
        assert!(pace.begin(start + Duration::from_secs(599)), "and then regularly");
    }

    #[test]
    fn a_dead_endpoint_is_asked_without_a_pause_or_never_again() {
        let start = Instant::now();
        let mut pace = Pace::new(start);
        let (mut now, mut waits) = (start, Vec::new());
        for _ in 0..8 {
            assert!(pace.begin(now));
            pace.ended(now, false, REFRESH);
            let due = pace.due.unwrap();
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert!(pace.begin(now));
        pace.ended(now, true, REFRESH);
        assert_eq!(pace.due, Some(now + REFRESH));
    }
}
