//! One target out of many.
//!
//! Ranks come first: a target of a later rank is only asked when none of an earlier one will take the request. Within a rank,
//! weights and sessions are served by one mechanism, a race: each target draws a time from its own hash of the key, divided
//! by its weight, and the earliest wins (`race`). With the session as key the same session wins the same target everywhere, and
//! when a target goes, only its own sessions move. With chance as key it is a weighted draw. No allocation, one pass.
//!
//! The race is run as if everybody were well, since nearly always everybody is: nobody is faster than that, so a winner who
//! takes its whole share has won. And it is run by bounds of the times, which cost far less than the times: a winner whose time
//! is before everybody else's bound has won. Only else are times and standings of the others looked at.

use super::{hash::mix, race};
use crate::kernel::models::{Strategy, Target, Weight};

/// What a target is like at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How much of its usual traffic it takes, thousandths: 1000 when it is well, less while it comes back, 0 for none.
    pub share: u16,
    /// Requests that are running there, of this shard.
    pub in_flight: u32,
    /// How long its answers have lately taken to begin, microseconds; 0 while nobody knows.
    pub latency_us: u32,
}

impl Standing {
    /// Takes nothing now.
    pub const CLOSED: Self = Self { share: 0, in_flight: 0, latency_us: 0 };
    /// Takes everything, and nothing is known of it.
    pub const OPEN: Self = Self { share: 1000, in_flight: 0, latency_us: 0 };

    /// What a request would have to wait for here, in no unit: less is better.
    fn load(&self, weight: Weight) -> f64 {
        // One who has not been asked yet is neither the fastest nor the slowest.
        const UNKNOWN_US: u32 = 1000;
        let latency = if self.latency_us == 0 { UNKNOWN_US } else { self.latency_us };
        f64::from(self.in_flight + 1) * f64::from(latency) / f64::from(weight.share())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// How targets of one rank are chosen between.
    pub strategy: Strategy,
    /// The session, hashed; none where the request belongs to none.
    pub session: Option<u64>,
    /// The target that the session is bound to.
    pub bound: Option<usize>,
    /// Places of targets that have been tried, as bits.
    pub tried: u64,
    /// Chance.
    pub random: u64,
}

/// The target to ask. `targets` stand in the order of their ranks. None if nobody takes it.
pub fn pick(targets: &[Target], ask: &Ask, standing: impl Fn(&Target) -> Standing) -> Option<usize> {
    let mut from = 0;
    while let Some(first) = targets.get(from) {
        let to = match targets.last() {
            Some(last) if last.rank == first.rank => targets.len(),
            _ => from + targets[from..].iter().take_while(|target| target.rank == first.rank).count(),
        };
        if let Some(place) = (Rank { targets, from, to }).pick(ask, &standing) {
            return Some(place);
        }
        from = to;
    }
    None
}

/// The targets of one rank: those at the places from `from` to `to`.
#[derive(Clone, Copy)]
struct Rank<'a> {
    targets: &'a [Target],
    from: usize,
    to: usize,
}

impl Ask {
    fn has_tried(&self, place: usize) -> bool {
        self.tried >> (place & 63) & 1 == 1
    }
}

/// When a target is through at the soonest, and its place, in one number: the least of them is the soonest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Soon(u64);

impl Soon {
    /// Of one who does not run.
    const NEVER: Self = Self(u64::MAX);
    /// The low bits of a time make room for a place: more than `TARGETS_MAX` of them.
    const PLACES: u64 = 1 << 16;

    fn new(not_before: u64, place: usize) -> Self {
        Self(not_before & !(Self::PLACES - 1) | place as u64 & (Self::PLACES - 1))
    }

    fn place(self) -> Option<usize> {
        (self != Self::NEVER).then_some((self.0 & (Self::PLACES - 1)) as usize)
    }

    /// Is it certain that this one, and so every one that comes after it, does not win against a time?
    fn is_behind(self, time: f32) -> bool {
        self == Self::NEVER || race::bound(self.0 & !(Self::PLACES - 1)) >= time
    }
}

#[derive(Clone, Copy)]
struct Winner {
    place: usize,
    time: f32,
    standing: Standing,
}

impl Winner {
    fn is_before(&self, other: &Self) -> bool {
        (self.time, self.place) < (other.time, other.place)
    }
}

impl<'a> Rank<'a> {
    fn places(self) -> impl Iterator<Item = (usize, &'a Target)> {
        (self.from..).zip(&self.targets[self.from..self.to])
    }

    fn pick(self, ask: &Ask, standing: &impl Fn(&Target) -> Standing) -> Option<usize> {
        if let Some(bound) = ask.bound
            && (self.from..self.to).contains(&bound)
            && let Some(target) = self.targets.get(bound)
            && !ask.has_tried(bound)
            && standing(target).share > 0
        {
            return Some(bound);
        }
        match (ask.strategy, ask.session) {
            (Strategy::Ordered, _) => self.first_open(ask, standing),
            (Strategy::Weighted, _) => self.first(ask, ask.random, standing),
            (Strategy::Affinity, Some(session)) => self.first(ask, session, standing),
            (Strategy::LeastBusy | Strategy::Affinity, _) => self.less_busy(ask, standing),
        }
    }

    /// The first that takes the request. One that is coming back takes its share of requests only, while there are others.
    fn first_open(self, ask: &Ask, standing: &impl Fn(&Target) -> Standing) -> Option<usize> {
        let mut in_need = None;
        for (place, target) in self.places() {
            let share = standing(target).share;
            if share == 0 || ask.has_tried(place) {
                continue;
            }
            if share >= 1000 || mix(ask.random, target.salt) % 1000 < u64::from(share) {
                return Some(place);
            }
            in_need = in_need.or(Some(place));
        }
        in_need
    }

    /// The winner of the race for a key.
    fn first(self, ask: &Ask, key: u64, standing: &impl Fn(&Target) -> Standing) -> Option<usize> {
        let [first, second, _] = self.soonest(ask, key);
        let target = &self.targets[first.place()?];
        if second.is_behind(race::time(key, target.salt, target.weight)) && standing(target).share >= 1000 {
            return first.place();
        }
        self.first_two(ask, key, standing)[0].map(|winner| winner.place)
    }

    /// The power of two choices: the first two of the race for chance are two different targets drawn by weight; the one with
    /// less to do gets the request. Better than the least busy of all, whom every shard would choose at once.
    fn less_busy(self, ask: &Ask, standing: &impl Fn(&Target) -> Standing) -> Option<usize> {
        let [first, second, third] = self.soonest(ask, ask.random);
        let well = [first, second].map(|soon| {
            let place = soon.place()?;
            let target = &self.targets[place];
            let time = race::time(ask.random, target.salt, target.weight);
            let standing = third.is_behind(time).then(|| standing(target))?;
            (standing.share >= 1000).then_some(Winner { place, time, standing })
        });
        let two = match well {
            [Some(one), Some(other)] if other.is_before(&one) => [Some(other), Some(one)],
            [Some(_), Some(_)] => well,
            _ => self.first_two(ask, ask.random, standing),
        };
        let load = |winner: &Winner| winner.standing.load(self.targets[winner.place].weight);
        match two {
            [Some(one), Some(other)] if load(&other) < load(&one) => Some(other.place),
            [one, _] => one.map(|winner| winner.place),
        }
    }

    /// The first three of the race for a key, if all were well, as far as their bounds tell. Without a branch that depends on a
    /// hash: mispredicted ones would cost more than all the arithmetic.
    #[inline]
    fn soonest(self, ask: &Ask, key: u64) -> [Soon; 3] {
        let [mut first, mut second, mut third] = [Soon::NEVER; 3];
        for (place, target) in self.places() {
            let soon = Soon::new(race::not_before(key, target.salt, target.weight), place);
            let soon = if ask.has_tried(place) { Soon::NEVER } else { soon };
            third = third.min(second.max(soon));
            second = second.min(first.max(soon));
            first = first.min(soon);
        }
        [first, second, third]
    }

    /// The first two of the race for a key, by what each takes now.
    fn first_two(self, ask: &Ask, key: u64, standing: &impl Fn(&Target) -> Standing) -> [Option<Winner>; 2] {
        let (mut first, mut second): (Option<Winner>, Option<Winner>) = (None, None);
        for (place, target) in self.places() {
            let best = race::time(key, target.salt, target.weight);
            // Nobody is faster than at full share, so most need not be looked at.
            if second.is_some_and(|winner| best >= winner.time) || ask.has_tried(place) {
                continue;
            }
            let standing = standing(target);
            if standing.share == 0 {
                continue;
            }
            let time = best * (1000.0 / f32::from(standing.share));
            let mine = Some(Winner { place, time, standing });
            if first.is_none_or(|winner| time < winner.time) {
                (first, second) = (mine, first);
            } else if second.is_none_or(|winner| time < winner.time) {
                second = mine;
            }
        }
        [first, second]
    }
}
