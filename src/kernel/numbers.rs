//! Small numbers for things that come and go: shards index tables of their own by them. A number is given back when its
//! owner is dropped, wherever that happens, and given out again, so that those tables stay as small as what is alive.
//!
//! Lock-free: a stack of free numbers as an index list, its head tagged against a number that came back in between.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
};

/// Numbers that can be given out again; further ones are unique for the life of the process.
const REUSED_MAX: usize = 1 << 19;
/// The end of the list.
const NONE: u32 = u32::MAX;

/// Where numbers come from.
pub struct Numbers {
    fresh: AtomicU32,
    /// The tag in the upper half, the first free number in the lower.
    head: AtomicU64,
    next: Box<[AtomicU32]>,
}

/// A number, its owner's alone until it is dropped.
pub struct Number {
    value: u32,
    home: Arc<Numbers>,
}

impl Default for Numbers {
    fn default() -> Self {
        Self::with_reuse(REUSED_MAX)
    }
}

impl Numbers {
    fn with_reuse(reused_max: usize) -> Self {
        let next = (0..reused_max).map(|_| AtomicU32::new(NONE)).collect();
        Self { fresh: AtomicU32::new(0), head: AtomicU64::new(u64::from(NONE)), next }
    }

    /// The number given back last, or a new one.
    pub fn take(self: &Arc<Self>) -> Number {
        let mut head = self.head.load(SeqCst);
        while let Some(after) = self.next.get(head as u32 as usize) {
            let next = tagged(head, after.load(SeqCst));
            match self.head.compare_exchange(head, next, SeqCst, SeqCst) {
                Ok(_) => return Number { value: head as u32, home: self.clone() },
                Err(now) => head = now,
            }
        }
        Number { value: self.fresh.fetch_add(1, SeqCst), home: self.clone() }
    }

    fn give_back(&self, value: u32) {
        let Some(place) = self.next.get(value as usize) else { return };
        let mut head = self.head.load(SeqCst);
        loop {
            place.store(head as u32, SeqCst);
            match self.head.compare_exchange(head, tagged(head, value), SeqCst, SeqCst) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

fn tagged(before: u64, value: u32) -> u64 {
    ((before >> 32).wrapping_add(1) << 32) | u64::from(value)
}

impl Number {
    /// The number.
    pub fn value(&self) -> u32 {
        self.value
    }
}

impl Drop for Number {
    fn drop(&mut self) {
        self.home.give_back(self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, sync::Mutex};

    #[test]
    fn a_number_has_two_owners_at_a_time_or_is_never_used_again() {
        let numbers = Arc::new(Numbers::with_reuse(64));
        let taken = Mutex::new(HashSet::new());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..5000 {
                        let mine: Vec<Number> = (0..1 + round % 5).map(|_| numbers.take()).collect();
                        for number in &mine {
                            assert!(taken.lock().unwrap().insert(number.value()), "{} twice", number.value());
                        }
                        for number in mine {
                            assert!(taken.lock().unwrap().remove(&number.value()));
                        }
                    }
                });
            }
        });
        assert!(numbers.take().value() < 20, "never more than four times five at once");
    }

    #[test]
    fn numbers_beyond_those_that_come_back_run_out() {
        let numbers = Arc::new(Numbers::with_reuse(1));
        let (first, second) = (numbers.take(), numbers.take());
        drop((first, second));
        let first = numbers.take();
        assert_eq!((first.value(), numbers.take().value()), (0, 2), "the second one never comes back");
    }
}
