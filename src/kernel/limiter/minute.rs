//! What was taken in each of the last sixty seconds, so that it can be given back when its minute is over.
//!
//! One word per second, shared by all shards: the second it stands for and the amount, changed together. So a place that is
//! used again by a later second can never be mistaken for the old one, whoever is late.

use crate::kernel::time::MonoUs;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Places; the sixty seconds behind the current one, the current one, and some between the newest and the oldest.
const PLACES: usize = 64;
/// How long an amount counts, seconds: what was taken in a second has been gone for a whole minute when it comes back.
const COUNTS_SECONDS: u64 = 60;
const AMOUNT_BITS: u32 = 40;
const AMOUNT_MASK: u64 = (1 << AMOUNT_BITS) - 1;
/// The largest amount a second holds, either way.
pub const AMOUNT_MAX: i64 = (1 << (AMOUNT_BITS - 1)) - 1;
/// Seconds are told apart by their last 24 bits: half a year.
const SECOND_MASK: u64 = (1 << (64 - AMOUNT_BITS)) - 1;

/// A second of the process's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Second(pub u64);

impl Second {
    /// The second around a moment. The first one has a full minute before it.
    pub fn of(now: MonoUs) -> Self {
        Self(now.0 / 1_000_000 + PLACES as u64)
    }
}

/// The ring of seconds.
pub struct Minute {
    places: Box<[AtomicU64]>,
    swept: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Place {
    second: u64,
    amount: i64,
}

impl Place {
    fn unpack(word: u64) -> Self {
        // Shifted up and down again, so that the sign comes with it.
        let amount = (((word & AMOUNT_MASK) << (64 - AMOUNT_BITS)) as i64) >> (64 - AMOUNT_BITS);
        Self { second: word >> AMOUNT_BITS, amount }
    }

    fn pack(self) -> u64 {
        let amount = self.amount.clamp(-AMOUNT_MAX, AMOUNT_MAX) as u64 & AMOUNT_MASK;
        ((self.second & SECOND_MASK) << AMOUNT_BITS) | amount
    }

    /// Seconds from this place's second to that one; very large if it is later.
    fn age_at(self, at: Second) -> u64 {
        at.0.wrapping_sub(self.second) & SECOND_MASK
    }
}

impl Default for Minute {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), swept: AtomicU64::new(0) }
    }
}

impl Minute {
    fn place(&self, at: Second) -> &AtomicU64 {
        &self.places[at.0 as usize % PLACES]
    }

    /// Adds to a second that still counts, and returns what its place held of an older one, whose minute is over. `None`: the
    /// second itself is over, and nothing was added.
    pub fn add(&self, at: Second, amount: i64) -> Option<i64> {
        let mut over = 0;
        let added = self.place(at).fetch_update(SeqCst, SeqCst, |word| {
            let place = Place::unpack(word);
            let (later, same) = (place.age_at(at) > SECOND_MASK / 2, place.age_at(at) == 0);
            over = if same { 0 } else { place.amount };
            let amount = if same { place.amount.saturating_add(amount) } else { amount };
            (!later).then(|| Place { second: at.0, amount }.pack())
        });
        added.is_ok().then_some(over)
    }

    /// Takes out everything whose minute is over, and returns the sums found, one call of `over` each.
    pub fn sweep(&self, now: Second, mut over: impl FnMut(i64)) {
        let swept = self.swept.load(SeqCst);
        if swept >= now.0 {
            return;
        }
        let first = (swept + 1).max(now.0.saturating_sub(PLACES as u64 - 1));
        for second in first..=now.0 {
            let place = self.place(Second(second.wrapping_sub(COUNTS_SECONDS + 1)));
            let taken = place.fetch_update(SeqCst, SeqCst, |word| {
                let place = Place::unpack(word);
                let age = place.age_at(now);
                let is_over = age > COUNTS_SECONDS && age <= SECOND_MASK / 2;
                (place.amount != 0 && is_over).then(|| Place { second: now.0, amount: 0 }.pack())
            });
            if let Ok(word) = taken {
                over(Place::unpack(word).amount);
            }
        }
        self.swept.fetch_max(now.0, SeqCst);
    }

    /// Takes out up to so much of what is noted, and returns how much that was.
    pub fn forgive(&self, amount: i64) -> i64 {
        let mut left = amount;
        for place in &self.places {
            let mut taken = 0;
            let changed = place.fetch_update(SeqCst, SeqCst, |word| {
                let place = Place::unpack(word);
                taken = place.amount.clamp(0, left);
                (taken > 0).then(|| Place { amount: place.amount - taken, ..place }.pack())
            });
            left -= if changed.is_ok() { taken } else { 0 };
        }
        amount - left
    }

    /// What is noted: the age of each second, and its amount.
    pub fn noted(&self, now: Second) -> Vec<(u64, i64)> {
        let noted = |age: u64| {
            let second = Second(now.0.saturating_sub(age));
            let place = Place::unpack(self.place(second).load(SeqCst));
            (place.age_at(second) == 0 && place.amount != 0).then_some((age, place.amount))
        };
        (0..=COUNTS_SECONDS).filter_map(noted).collect()
    }

    /// Seconds until `missing` will have come back; `None` if that is more than the minute holds.
    pub fn seconds_until(&self, missing: i64, now: Second) -> Option<u64> {
        let mut back = 0i64;
        for age in (0..=COUNTS_SECONDS).rev() {
            let second = Second(now.0.saturating_sub(age));
            let place = Place::unpack(self.place(second).load(SeqCst));
            if place.age_at(second) == 0 {
                back = back.saturating_add(place.amount);
            }
            if back >= missing {
                return Some(COUNTS_SECONDS + 1 - age);
            }
        }
        None
    }

    /// The sum of all that is noted.
    #[cfg(test)]
    pub fn sum(&self) -> i64 {
        self.places.iter().map(|place| Place::unpack(place.load(SeqCst)).amount).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_comes_back_before_its_minute_is_over_or_never() {
        let minute = Minute::default();
        let swept = |at: u64| {
            let mut sum = 0;
            minute.sweep(Second(at), |over| sum += over);
            sum
        };
        assert_eq!(
            (minute.add(Second(100), 7), minute.add(Second(100), -2), minute.add(Second(101), 3)),
            (Some(0), Some(0), Some(0))
        );
        assert_eq!((swept(160), minute.sum()), (0, 8));
        assert_eq!((swept(161), swept(161), swept(162)), (5, 0, 3));
        assert_eq!(minute.add(Second(100), 1), None, "a second that is over takes nothing any more");
        // Long idle, then busy again: nothing is found twice, nothing is lost.
        minute.add(Second(1000), 9);
        assert_eq!((swept(100_000), minute.sum()), (9, 0));
    }

    #[test]
    fn a_place_that_is_used_again_swallows_what_it_held() {
        let minute = Minute::default();
        minute.add(Second(100), 7);
        assert_eq!(minute.add(Second(164), 2), Some(7), "nobody swept in between");
        assert_eq!((minute.add(Second(100), -7), minute.sum()), (None, 2));
    }

    #[test]
    fn the_wait_is_told_too_short() {
        let minute = Minute::default();
        for (second, amount) in [(100, 4), (110, 4), (120, 1)] {
            minute.add(Second(second), amount);
        }
        let wait = |missing| minute.seconds_until(missing, Second(120));
        assert_eq!((wait(4), wait(5), wait(9), wait(10)), (Some(41), Some(51), Some(61), None));
    }

    #[test]
    fn a_debt_loses_its_sign_on_its_way_through_a_word() {
        for amount in [0, 1, -1, AMOUNT_MAX, -AMOUNT_MAX] {
            let place = Place { second: 0xab_cdef, amount };
            assert!(Place::unpack(place.pack()) == place, "{amount}");
        }
    }
}
