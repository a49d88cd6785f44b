//! What a run shows of itself while it runs: for measurements in the middle of it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::stats::Quantiles;

/// What stands before the time at which a stamped event was sent.
const BEFORE_STAMP: &[u8] = b"\"text\":\"";
/// Hexadecimal digits of that time, in nanoseconds of the host's clock.
pub const STAMP_DIGITS: usize = 16;
/// Longest delay told apart, microseconds.
const DELAY_US_MAX: u64 = 60_000_000;

/// Counts of a run that anybody may read.
#[derive(Debug)]
pub struct Live {
    /// Answers of status 200 whose first bytes of payload have come.
    pub begun: AtomicU64,
    /// SSE frames that have come.
    pub events: AtomicU64,
    delays_us: Mutex<Histogram<u64>>,
}

impl Live {
    /// Nothing yet; `None` if the histogram cannot be made.
    pub(super) fn new() -> Option<Live> {
        let delays_us = Mutex::new(Histogram::new_with_bounds(1, DELAY_US_MAX, 3).ok()?);
        Some(Live { begun: AtomicU64::new(0), events: AtomicU64::new(0), delays_us })
    }

    pub(super) fn begun(&self) {
        self.begun.fetch_add(1, Relaxed);
    }

    pub(super) fn events(&self, count: u64) {
        self.events.fetch_add(count, Relaxed);
    }

    /// Notes the delays of the stamped events in bytes that have just arrived. A stamp that two reads divide is left out.
    pub(super) fn stamps(&self, bytes: &[u8]) {
        let now = unix_nanos();
        let mut delays = self.delays_us.lock().unwrap_or_else(PoisonError::into_inner);
        for at in memchr::memmem::find_iter(bytes, BEFORE_STAMP) {
            let from = at + BEFORE_STAMP.len();
            let stamp = bytes.get(from..from + STAMP_DIGITS).and_then(|digits| std::str::from_utf8(digits).ok());
            let Some(sent) = stamp.and_then(|digits| u64::from_str_radix(digits, 16).ok()) else { continue };
            delays.saturating_record(now.saturating_sub(sent) / 1000);
        }
    }

    /// Forgets the delays so far.
    pub fn forget_delays(&self) {
        self.delays_us.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    /// From when an event was sent until it was here, microseconds, and how many were counted.
    pub fn delays(&self) -> (Quantiles, u64) {
        let delays = self.delays_us.lock().unwrap_or_else(PoisonError::into_inner);
        (Quantiles::of(&delays), delays.len())
    }
}

/// The host's clock, which provider and generator share.
pub fn unix_nanos() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_that_is_none_or_is_cut_counts() {
        let live = Live::new().unwrap();
        let stamp = |nanos: u64| format!("\"text\":\"{nanos:016x}xxxx\"");
        let now = unix_nanos();
        let text = format!("{}{}\"text\":\"hello, weir and more\"", stamp(now - 5_000_000_000), stamp(now));
        live.stamps(text.as_bytes());
        live.stamps(b"\"text\":\"00000000");
        let (delays, count) = live.delays();
        assert_eq!(count, 2);
        assert!((4_990_000..30_000_000).contains(&delays.max), "{delays:?}");
        live.forget_delays();
        assert_eq!(live.delays().1, 0);
    }
}
