//! Deadlines without timers: each connection has a few words that say until when something must have happened, and a sweeper
//! looks at all of them a few times a second. A deadline that has passed shuts its socket down; the read or write in flight
//! then comes back by itself, so nothing is ever taken from the kernel (law 10).

use crate::{
    kernel::time::{MonoUs, UnixMs},
    sys::socket::Kill,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

/// What a deadline waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// A byte from the peer. At the deadline only reading ends, so that the peer can still be told.
    Read,
    /// The peer taking a byte.
    Write,
    /// The whole exchange.
    Whole,
}

/// The deadlines of one connection.
pub struct Deadlines {
    until: [Cell<u64>; 3],
    passed: Cell<Option<Awaited>>,
    kill: Kill,
}

const NEVER: u64 = u64::MAX;

impl Deadlines {
    /// Something must have happened by then.
    pub fn arm(&self, awaited: Awaited, until: MonoUs) {
        self.until[awaited as usize].set(until.0);
    }

    /// The same, unless it must have happened earlier already.
    pub fn arm_sooner(&self, awaited: Awaited, until: MonoUs) {
        let place = &self.until[awaited as usize];
        place.set(place.get().min(until.0));
    }

    /// It has happened.
    pub fn disarm(&self, awaited: Awaited) {
        self.until[awaited as usize].set(NEVER);
    }

    /// Stops the time of a deadline, and returns what was left of it; `None` if none was armed.
    pub fn pause(&self, awaited: Awaited, now: MonoUs) -> Option<Duration> {
        let until = self.until[awaited as usize].replace(NEVER);
        (until != NEVER).then(|| Duration::from_micros(until.saturating_sub(now.0)))
    }

    /// The deadline that passed first, if one has.
    pub fn passed(&self) -> Option<Awaited> {
        self.passed.get()
    }

    /// The switch of the connection.
    pub fn kill(&self) -> &Kill {
        &self.kill
    }

    /// Ends what is overdue. A peer that was too slow to send may be too slow to take the answer as well, so the other
    /// deadlines run on.
    fn check(&self, now: MonoUs) {
        for awaited in [Awaited::Whole, Awaited::Write, Awaited::Read] {
            if self.until[awaited as usize].get() > now.0 {
                continue;
            }
            self.disarm(awaited);
            if self.passed.get().is_none() {
                self.passed.set(Some(awaited));
            }
            match awaited {
                Awaited::Read => self.kill.end_reading(),
                Awaited::Write | Awaited::Whole => self.kill.end(),
            }
        }
    }
}

/// All deadlines of a shard, and its coarse clock.
pub struct Sweeper {
    all: RefCell<Vec<Rc<Deadlines>>>,
    now: Cell<MonoUs>,
    /// By how many microseconds the wall clock was ahead of the monotonic one at the last tick.
    ahead: Cell<u64>,
}

impl Sweeper {
    /// A sweeper that watches nobody yet.
    pub fn new(now: MonoUs, ahead_us: u64) -> Self {
        Self { all: RefCell::default(), now: Cell::new(now), ahead: Cell::new(ahead_us) }
    }

    /// Watches a connection for as long as somebody holds what this returns.
    pub fn watch(&self, kill: Kill) -> Rc<Deadlines> {
        let deadlines = Rc::new(Deadlines { until: [const { Cell::new(NEVER) }; 3], passed: Cell::new(None), kill });
        self.all.borrow_mut().push(deadlines.clone());
        deadlines
    }

    /// The time as of the last tick; free to read.
    pub fn now(&self) -> MonoUs {
        self.now.get()
    }

    /// The wall clock as of the last tick.
    pub fn unix(&self) -> UnixMs {
        self.unix_at(self.now.get())
    }

    /// What the wall clock showed at a moment not long ago. Whoever has read one clock need not read the other; where somebody
    /// sets the wall clock, that is seen with the next tick.
    pub fn unix_at(&self, moment: MonoUs) -> UnixMs {
        UnixMs(moment.0.saturating_add(self.ahead.get()) / 1000)
    }

    /// A moment that far from now.
    pub fn in_(&self, duration: Duration) -> MonoUs {
        self.now.get().after(duration)
    }

    /// Moves the coarse clock.
    pub fn advance(&self, now: MonoUs, ahead_us: u64) {
        self.now.set(now);
        self.ahead.set(ahead_us);
    }

    /// Ends what is overdue, and forgets connections that are gone.
    pub fn sweep(&self) {
        let now = self.now.get();
        self.all.borrow_mut().retain(|deadlines| {
            let held = Rc::strong_count(deadlines) > 1;
            if held {
                deadlines.check(now);
            }
            held
        });
    }

    /// Ends every connection: the drain's deadline has passed. What breaks off so must not look whole to anybody.
    pub fn end_all(&self) {
        for deadlines in self.all.borrow().iter() {
            deadlines.passed.set(deadlines.passed.get().or(Some(Awaited::Whole)));
            deadlines.kill.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_dated_by_a_clock_that_somebody_has_set_since() {
        let sweeper = Sweeper::new(MonoUs(1_000), 5_000_000);
        assert_eq!((sweeper.unix(), sweeper.unix_at(MonoUs(2_999))), (UnixMs(5_001), UnixMs(5_002)));
        // An hour ahead, since the last tick.
        sweeper.advance(MonoUs(21_000), 3_605_000_000);
        assert_eq!((sweeper.unix(), sweeper.unix_at(MonoUs(22_000))), (UnixMs(3_605_021), UnixMs(3_605_022)));
    }
}
