//! One target out of many.
//!
//! Ranks come first: a target of a later rank is only asked when none of an earlier one will take the request. Within a rank,
//! weights and sessions are served by one mechanism, a race: each target draws a time from its own hash of the key, divided
//! by its weight, and the earliest wins (weighted rendezvous hashing; the times are exponentially distributed, so the chance
//! to win is the share of the weight). With the session as key the same session wins the same target everywhere, and when a
//! target goes, only its own sessions move. With chance as key it is a weighted draw. No allocation, one pass.

use super::hash::{mix, unit};
use crate::kernel::models::{Strategy, Target};

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
    fn load(&self, weight: u32) -> f64 {
        // One who has not been asked yet is neither the fastest nor the slowest.
        const UNKNOWN_US: u32 = 1000;
        let latency = if self.latency_us == 0 { UNKNOWN_US } else { self.latency_us };
        f64::from(self.in_flight + 1) * f64::from(latency) / f64::from(weight.max(1))
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
        let to = from + targets[from..].iter().take_while(|target| target.rank == first.rank).count();
        if let Some(place) = pick_of_rank(targets, from..to, ask, &standing) {
            return Some(place);
        }
        from = to;
    }
    None
}

fn pick_of_rank(
    targets: &[Target],
    rank: std::ops::Range<usize>,
    ask: &Ask,
    standing: &impl Fn(&Target) -> Standing,
) -> Option<usize> {
    if let Some(bound) = ask.bound
        && rank.contains(&bound)
        && !ask.has_tried(bound)
        && standing(&targets[bound]).share > 0
    {
        return Some(bound);
    }
    match (ask.strategy, ask.session) {
        (Strategy::Ordered, _) => first_open(targets, rank, ask, standing),
        (Strategy::Weighted, _) => race(targets, rank, ask, ask.random, standing).map(|winner| winner.place),
        (Strategy::Affinity, Some(session)) => race(targets, rank, ask, session, standing).map(|winner| winner.place),
        (Strategy::LeastBusy | Strategy::Affinity, _) => less_busy(targets, rank, ask, standing),
    }
}

impl Ask {
    fn has_tried(&self, place: usize) -> bool {
        self.tried >> (place & 63) & 1 == 1
    }
}

/// The first that takes the request. One that is coming back takes its share of requests only, while there are others.
fn first_open(
    targets: &[Target],
    rank: std::ops::Range<usize>,
    ask: &Ask,
    standing: &impl Fn(&Target) -> Standing,
) -> Option<usize> {
    let mut in_need = None;
    for place in rank {
        let share = standing(&targets[place]).share;
        if share == 0 || ask.has_tried(place) {
            continue;
        }
        if share >= 1000 || mix(ask.random, targets[place].salt) % 1000 < u64::from(share) {
            return Some(place);
        }
        in_need = in_need.or(Some(place));
    }
    in_need
}

#[derive(Clone, Copy)]
struct Winner {
    place: usize,
    time: f64,
    standing: Standing,
}

/// The winner of the race for a key.
fn race(
    targets: &[Target],
    rank: std::ops::Range<usize>,
    ask: &Ask,
    key: u64,
    standing: &impl Fn(&Target) -> Standing,
) -> Option<Winner> {
    let mut best: Option<Winner> = None;
    let mut bar = f64::INFINITY;
    for place in rank {
        if let Some(runner) = run(targets, place, ask, key, bar, standing) {
            bar = runner.time;
            best = Some(runner);
        }
    }
    best
}

/// A target's time in the race, if it beats the bar. Nearly all do not, and are seen not to before a logarithm is taken or
/// their standing looked at: -ln(u) is never less than 1 - u, and nobody is faster than at full share.
#[inline]
fn run(
    targets: &[Target],
    place: usize,
    ask: &Ask,
    key: u64,
    bar: f64,
    standing: &impl Fn(&Target) -> Standing,
) -> Option<Winner> {
    let target = &targets[place];
    let weight = f64::from(target.weight.max(1));
    let drawn = unit(mix(key, target.salt));
    if 1.0 - drawn >= bar * weight || ask.has_tried(place) {
        return None;
    }
    let standing = standing(target);
    if standing.share == 0 {
        return None;
    }
    let time = -drawn.ln() * 1000.0 / (weight * f64::from(standing.share));
    (time < bar).then_some(Winner { place, time, standing })
}

/// The power of two choices: the first two of the race for chance are two different targets drawn by weight; the one with less
/// to do gets the request. Better than the least busy of all, whom every shard would choose at once.
fn less_busy(
    targets: &[Target],
    rank: std::ops::Range<usize>,
    ask: &Ask,
    standing: &impl Fn(&Target) -> Standing,
) -> Option<usize> {
    let (mut first, mut second): (Option<Winner>, Option<Winner>) = (None, None);
    for place in rank {
        let bar = second.map_or(f64::INFINITY, |winner| winner.time);
        let Some(runner) = run(targets, place, ask, ask.random, bar, standing) else { continue };
        if first.is_none_or(|winner| runner.time < winner.time) {
            second = first;
            first = Some(runner);
        } else {
            second = Some(runner);
        }
    }
    let load = |winner: &Winner| winner.standing.load(targets[winner.place].weight);
    match (first, second) {
        (Some(one), Some(other)) if load(&other) < load(&one) => Some(other.place),
        (one, _) => one.map(|winner| winner.place),
    }
}
