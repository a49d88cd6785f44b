//! What requests of a kind usually cost, as a share of the most they can cost (design.md §5, `reserve = "expected"`).
//!
//! Per key and model: a high-water mark that follows a dearer request at once and sinks slowly, so that it stays near the top
//! of what is seen. Until a kind has been seen a few times its bound is expected: a new key starts careful.

use crate::kernel::{
    ids::{Mixing, PrincipalId},
    limits::EXPECTATIONS_MAX,
    money::Nanos,
    routing::hash,
};
use std::{collections::HashMap, hash::BuildHasher, hash::RandomState};

/// Requests of a kind before it is trusted.
const SEEN_MIN: u32 = 5;
/// How much of the mark is left after a cheaper request.
const SINK: f32 = 0.995;
/// The least share of its bound that is expected of any request. It bounds what a sudden change can do: requests that all turn out
/// as dear as they can be cost eight times what was held for them, and so pass a cap by at most seven times the room that was
/// left, and by one request.
pub const SHARE_MIN: f32 = 0.125;
/// Added to the mark, since the next request of an agent is usually a little larger than the last.
const MARGIN: f32 = 1.25;

/// The marks of a shard.
pub struct Expectations {
    marks: HashMap<u64, Mark, Mixing>,
    /// What nobody outside knows.
    seed: u64,
}

#[derive(Clone, Copy)]
struct Mark {
    share: f32,
    seen: u32,
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind(u64);

impl Default for Expectations {
    fn default() -> Self {
        Self { marks: HashMap::default(), seed: RandomState::new().hash_one(0u64) }
    }
}

impl Expectations {
    /// The kind of a request. A client may choose names of models whose hashes are the same, and so share a mark between
    /// kinds of its own; another's kind it cannot name, since the seed comes in before the principal does.
    pub fn kind(&self, principal: PrincipalId, model: &str) -> Kind {
        Kind(hash::mix(self.seed ^ hash::bytes(self.seed, model.as_bytes()), u64::from(principal.0)))
    }

    /// What a request of this kind with this bound will cost, usually.
    pub fn expected(&self, kind: Kind, bound: Nanos) -> Nanos {
        match self.marks.get(&kind.0) {
            Some(mark) if mark.seen >= SEEN_MIN => {
                Nanos((bound.0 as f64 * f64::from((mark.share * MARGIN).clamp(SHARE_MIN, 1.0))).ceil() as i64)
            }
            _ => bound,
        }
    }

    /// Learns from a settled request.
    pub fn learn(&mut self, kind: Kind, bound: Nanos, cost: Nanos) {
        if bound.0 <= 0 {
            return;
        }
        let share = (cost.0 as f64 / bound.0 as f64) as f32;
        if self.marks.len() >= EXPECTATIONS_MAX && !self.marks.contains_key(&kind.0) {
            // Full: start over rather than keep a list of ages; every kind is careful for a few requests.
            self.marks.clear();
        }
        let mark = self.marks.entry(kind.0).or_insert(Mark { share, seen: 0 });
        mark.share = if share > mark.share { share } else { (mark.share * SINK).max(share) };
        mark.seen = mark.seen.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dearer_request_raises_the_expectation_at_once_and_a_new_kind_starts_careful() {
        let mut e = Expectations::default();
        let kind = e.kind(PrincipalId(1), "m");
        assert_eq!(e.expected(kind, Nanos(1000)), Nanos(1000));
        for _ in 0..10 {
            e.learn(kind, Nanos(1000), Nanos(200));
        }
        let usual = e.expected(kind, Nanos(1000));
        assert!(usual >= Nanos(200) && usual < Nanos(300), "{usual}");
        e.learn(kind, Nanos(1000), Nanos(800));
        assert_eq!(e.expected(kind, Nanos(1000)), Nanos(1000));
        assert_eq!(e.expected(e.kind(PrincipalId(2), "m"), Nanos(7)), Nanos(7));
    }

    #[test]
    fn requests_that_are_nearly_free_may_turn_dear_without_a_bound() {
        let mut e = Expectations::default();
        let kind = e.kind(PrincipalId(1), "m");
        for _ in 0..1000 {
            e.learn(kind, Nanos(1000), Nanos(1));
        }
        assert_eq!(e.expected(kind, Nanos(1000)), Nanos(125));
    }
}
