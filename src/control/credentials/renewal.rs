//! When to mint: well before the end, spread out, soon again after a failure, and at once when an upstream refused what it was
//! shown, but not as often as it likes. Pure: it is told the time and what happened.

use crate::kernel::time::MonoUs;
use std::time::Duration;

/// How long before the end a credential is renewed, where it lives long (contract.md §5.3).
const LEAD_MAX: Duration = Duration::from_secs(15 * 60);
/// What has no end is asked for again all the same: the files behind it may have changed.
const ENDLESS: Duration = Duration::from_secs(15 * 60);
/// Nothing is minted more often than this, but for failures and refusals.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Pause after the first failure; each further one doubles it.
const FAILED_MIN: Duration = Duration::from_millis(500);
/// Longest pause after a failure.
const FAILED_MAX: Duration = Duration::from_secs(60);
/// Pause between renewals that refusals ask for.
const REFUSED_PAUSE: Duration = Duration::from_secs(10);

/// The state of one credential's renewal.
pub(super) struct Renewal {
    random: fastrand::Rng,
    due: Option<MonoUs>,
    running: bool,
    tried: bool,
    failures: u32,
    forced_until: MonoUs,
}

impl Renewal {
    /// Nothing has been minted: it is due.
    pub(super) fn new(seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, due: Some(MonoUs(0)), running: false, tried: false, failures: 0, forced_until: MonoUs(0) }
    }

    /// It is fixed: nothing will ever be minted.
    pub(super) fn never(&mut self) {
        (self.due, self.tried) = (None, true);
    }

    /// Has there been a first attempt, whatever came of it?
    pub(super) fn was_tried(&self) -> bool {
        self.tried
    }

    /// Must something be minted now? Then it counts as begun. `refused`: an upstream refused the current one.
    pub(super) fn begin(&mut self, now: MonoUs, refused: bool) -> bool {
        let Some(due) = self.due else { return false };
        let forced = refused && now >= self.forced_until;
        if self.running || (now < due && !forced) {
            return false;
        }
        if forced {
            self.forced_until = now.after(REFUSED_PAUSE);
        }
        self.running = true;
        true
    }

    /// One was minted, and lives so long; `None` for ever.
    pub(super) fn minted(&mut self, now: MonoUs, lives: Option<Duration>) {
        (self.running, self.tried, self.failures) = (false, true, 0);
        // A third of its life before the end, so that even a short one leaves time to fail and try again.
        let wait = lives.map_or(ENDLESS, |lives| lives - (lives / 3).min(LEAD_MAX));
        // Earlier by up to a tenth: a fleet that started together must not ask together.
        let early = wait.mul_f64(self.random.f64() / 10.0);
        self.due = Some(now.after((wait - early).max(PAUSE_MIN)));
    }

    /// Nothing could be minted.
    pub(super) fn failed(&mut self, now: MonoUs) {
        (self.running, self.tried) = (false, true);
        let pause = FAILED_MIN.saturating_mul(1 << self.failures.min(16)).min(FAILED_MAX);
        self.failures = self.failures.saturating_add(1);
        // Later by up to a quarter.
        self.due = Some(now.after(pause.mul_f64(1.0 + self.random.f64() / 4.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: f64) -> MonoUs {
        MonoUs((seconds * 1e6) as u64)
    }

    #[test]
    fn two_are_minted_at_once_or_none_at_all() {
        let mut renewal = Renewal::new(1);
        assert!(!renewal.was_tried());
        assert!(renewal.begin(at(0.0), false));
        assert!(!renewal.begin(at(0.0), true), "one at a time");
        renewal.minted(at(1.0), Some(Duration::from_secs(3600)));
        assert!(renewal.was_tried());
        assert!(!renewal.begin(at(2400.0), false));
        assert!(renewal.begin(at(2702.0), false), "15 minutes before the end at the latest");
    }

    #[test]
    fn a_refusal_is_not_heard_or_asks_for_one_mint_after_the_other() {
        let mut renewal = Renewal::new(1);
        assert!(renewal.begin(at(0.0), false));
        renewal.minted(at(0.0), None);
        assert!(renewal.begin(at(5.0), true));
        renewal.minted(at(5.1), None);
        assert!(!renewal.begin(at(6.0), true));
        assert!(renewal.begin(at(15.1), true));
    }

    #[test]
    fn a_fixed_credential_is_minted() {
        let mut renewal = Renewal::new(1);
        renewal.never();
        assert!(!renewal.begin(at(1e9), true) && renewal.was_tried());
    }

    #[test]
    fn a_failing_source_is_asked_without_pause_or_never_again() {
        let mut renewal = Renewal::new(1);
        let (mut now, mut asked) = (0.0, 0);
        while now < 3600.0 {
            if renewal.begin(at(now), false) {
                renewal.failed(at(now));
                asked += 1;
            }
            now += 0.05;
        }
        assert!((50..=80).contains(&asked), "{asked} attempts in an hour");
    }

    proptest! {
        #[test]
        fn a_credential_is_renewed_after_its_end(lives in 2u64..100_000, seed in any::<u64>()) {
            let mut renewal = Renewal::new(seed);
            prop_assert!(renewal.begin(at(0.0), false));
            renewal.minted(at(0.0), Some(Duration::from_secs(lives)));
            let exact = renewal.due.unwrap_or_default();
            let due = exact.0 as f64 / 1e6;
            prop_assert!(due >= 0.5 && due <= lives as f64 * 2.0 / 3.0 + 1e-3 || lives >= 2700 && due <= (lives - 900) as f64, "{due}");
            prop_assert!(!renewal.begin(MonoUs(exact.0 - 1), false));
            prop_assert!(renewal.begin(exact, false));
        }
    }
}
