//! Turns that are under way, so that the same one asked for twice is recognised: a client that gave up waiting and asked again
//! while its first request still runs. What is the same: caller, session, model and every byte of the body.
//!
//! One table for all shards, without a lock, since a client's second try comes on a new connection, and that may lead to
//! another shard. It holds only what runs, at most `TURNS_MAX`; what does not fit is not recognised, and counted.

use super::{ids::RequestId, limits::TURNS_MAX, money::Nanos, routing::hash};
use std::sync::{
    Arc, OnceLock,
    atomic::{
        AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

/// What becomes of the first of two identical requests (`limits.duplicates`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// Nobody looks.
    #[default]
    Off,
    /// It is noted in both records, and counted.
    Count,
    /// The first is ended, as if its client had left: nobody waits for it any more.
    CancelFirst,
}

/// What makes two requests the same turn. Aligned as a word is, as `RequestId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(Rust, packed(8))]
pub struct TurnKey(u128);

impl TurnKey {
    /// `whose`: caller, session and model, hashed. `digest`: of the whole body.
    pub fn new(whose: u64, digest: &[u8; 32]) -> Self {
        let word = |at: usize| {
            let mut word = [0; 8];
            word.copy_from_slice(&digest[at..at + 8]);
            u64::from_le_bytes(word)
        };
        let (high, low) = (hash::mix(whose, word(0)) ^ word(16), hash::mix(word(8), whose) ^ word(24));
        Self(u128::from(high) << 64 | u128::from(low))
    }
}

const RUNNING: u8 = 0;
const FOLLOWED: u8 = 1;
const OVER: u8 = 2;

/// One turn under way.
pub struct Turn {
    /// Which request asks for it.
    pub id: RequestId,
    life: AtomicU8,
    follower: OnceLock<Arc<Turn>>,
    cut: AtomicBool,
    ended: AtomicU8,
    cost: AtomicI64,
    counted: AtomicBool,
}

/// How a turn has ended.
const NOT_YET: u8 = 0;
const COMPLETED: u8 = 1;
const ENDED: u8 = 2;

impl Turn {
    /// A request's.
    pub fn new(id: RequestId) -> Self {
        Self {
            id,
            life: AtomicU8::new(RUNNING),
            follower: OnceLock::new(),
            cut: AtomicBool::new(false),
            ended: AtomicU8::new(NOT_YET),
            cost: AtomicI64::new(0),
            counted: AtomicBool::new(false),
        }
    }

    /// Another request asks for the same. False if this one is over already.
    fn follow(&self, other: &Arc<Self>) -> bool {
        // Each is followed by one at most, since the table has forgotten it by now: nobody else sets this.
        let _first = self.follower.set(other.clone());
        self.life.compare_exchange(RUNNING, FOLLOWED, SeqCst, SeqCst).is_ok()
    }

    /// It is over. Returns who has asked for the same meanwhile.
    fn end(&self, cost: Nanos, completed: bool) -> Option<Arc<Self>> {
        let followed = self.life.swap(OVER, SeqCst) == FOLLOWED;
        self.cost.store(cost.0, SeqCst);
        self.ended.store(if completed { COMPLETED } else { ENDED }, SeqCst);
        self.follower.get().filter(|_| followed).cloned()
    }

    /// Is it to be ended, in favour of the one that follows it?
    pub fn is_cut(&self) -> bool {
        self.cut.load(SeqCst)
    }

    /// What it has saved to cut this turn in favour of another: what it would have cost to its end is what the other did. Known
    /// once both are over; said once.
    pub fn saved_for(&self, other: &Self) -> Option<Nanos> {
        let known = self.is_cut() && self.ended.load(SeqCst) != NOT_YET && other.ended.load(SeqCst) == COMPLETED;
        let first = known && !self.counted.swap(true, SeqCst);
        first.then(|| Nanos(other.cost.load(SeqCst).saturating_sub(self.cost.load(SeqCst)).max(0)))
    }
}

/// All turns under way.
#[derive(Default)]
pub struct Turns {
    running: papaya::HashMap<TurnKey, Arc<Turn>>,
    count: AtomicUsize,
    cuts: AtomicU64,
    untracked: AtomicU64,
}

/// What a request that asks for a turn finds.
pub enum Begun {
    /// Nobody asks for the same.
    First,
    /// This one does, and runs.
    Again(Arc<Turn>),
    /// The table is full.
    Untracked,
}

impl Turns {
    /// A request asks for a turn. It takes the place of one that asked before.
    pub fn begin(&self, key: TurnKey, turn: &Arc<Turn>) -> Begun {
        if self.count.load(Relaxed) >= TURNS_MAX {
            self.untracked.fetch_add(1, Relaxed);
            return Begun::Untracked;
        }
        let running = self.running.pin();
        match running.insert(key, turn.clone()) {
            None => {
                self.count.fetch_add(1, Relaxed);
                Begun::First
            }
            Some(before) if before.follow(turn) => Begun::Again(before.clone()),
            Some(_) => Begun::First,
        }
    }

    /// A turn is over. Returns who has asked for the same meanwhile.
    pub fn end(&self, key: TurnKey, turn: &Arc<Turn>, cost: Nanos, completed: bool) -> Option<Arc<Turn>> {
        let follower = turn.end(cost, completed);
        if let Ok(Some(_)) = self.running.pin().remove_if(&key, |_, there| Arc::ptr_eq(there, turn)) {
            self.count.fetch_sub(1, Relaxed);
        }
        follower
    }

    /// Ends a turn; its own shard looks at its next tick.
    pub fn cut(&self, turn: &Turn) {
        turn.cut.store(true, SeqCst);
        self.cuts.fetch_add(1, SeqCst);
    }

    /// How many were cut: as long as this does not grow, no shard has to look.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(SeqCst)
    }

    /// Requests that found the table full.
    pub fn untracked(&self) -> u64 {
        self.untracked.load(Relaxed)
    }

    /// How many are under way.
    pub fn len(&self) -> usize {
        self.running.len()
    }

    /// Is none under way?
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::HashSet, sync::Mutex};

    fn turn(n: u128) -> Arc<Turn> {
        Arc::new(Turn::new(RequestId(n << 64 | (n + 1))))
    }

    #[test]
    fn a_third_try_is_taken_for_a_copy_of_the_first_or_one_that_is_over_for_a_copy() {
        let turns = Turns::default();
        let key = TurnKey::new(7, &[1; 32]);
        let (one, two, three) = (turn(1), turn(2), turn(3));
        assert!(matches!(turns.begin(key, &one), Begun::First));
        assert!(matches!(turns.begin(key, &two), Begun::Again(first) if first.id == one.id));
        let end = |turn: &Arc<Turn>, cost, completed| turns.end(key, turn, Nanos(cost), completed).map(|by| by.id);
        assert_eq!(end(&one, 5, true), Some(two.id), "its place is the second's by now");
        assert!(matches!(turns.begin(key, &three), Begun::Again(second) if second.id == two.id));
        turns.cut(&two);
        assert!(two.is_cut() && !three.is_cut() && two.saved_for(&three).is_none());
        assert_eq!((end(&three, 7, true), turns.len()), (None, 0));
        assert!(two.saved_for(&three).is_none(), "it runs");
        assert_eq!(end(&two, 3, false), Some(three.id));
        assert_eq!(two.saved_for(&three), Some(Nanos(4)));
        assert_eq!((two.saved_for(&three), one.saved_for(&two)), (None, None), "said once, and only of what was cut");
        assert!(matches!(turns.begin(key, &turn(4)), Begun::First));
    }

    #[test]
    fn other_sessions_callers_or_bodies_are_the_same_turn() {
        let keys: HashSet<TurnKey> = (0..50_u64)
            .flat_map(|whose| (0..50_u8).map(move |last| (whose, last)))
            .map(|(whose, last)| {
                let mut digest = [9; 32];
                digest[31] = last;
                TurnKey::new(whose, &digest)
            })
            .collect();
        assert_eq!(keys.len(), 2500);
    }

    #[test]
    fn two_shards_take_each_other_for_the_first_or_a_turn_stays_in_the_table() {
        let turns = Turns::default();
        let key = TurnKey::new(7, &[2; 32]);
        let (firsts, followers) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for shard in 0..4_u128 {
                let (turns, firsts, followers) = (&turns, &firsts, &followers);
                scope.spawn(move || {
                    for n in 0..2000 {
                        let mine = turn(shard * 10_000 + n + 1);
                        if let Begun::Again(first) = turns.begin(key, &mine) {
                            firsts.lock().unwrap().push((first.id, mine.id));
                        }
                        if let Some(follower) = turns.end(key, &mine, Nanos(1), true) {
                            followers.lock().unwrap().push((mine.id, follower.id));
                        }
                    }
                });
            }
        });
        let (mut told, mut heard) = (firsts.into_inner().unwrap(), followers.into_inner().unwrap());
        told.sort_unstable();
        heard.sort_unstable();
        assert_eq!(told, heard, "both sides of each pair know of each other");
        assert_eq!((turns.len(), turns.count.load(Relaxed)), (0, 0));
    }
}
