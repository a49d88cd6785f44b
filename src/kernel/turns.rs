//! Turns that are under way, so that the same one asked for twice is recognised: a client that gave up waiting and asked again
//! while its first request still runs. What is the same: caller, session, model and every byte of the body.
//!
//! One table for all shards, without a lock, since a client's second try comes on a new connection, and that may lead to
//! another shard. It holds only what runs, at most `TURNS_MAX`; what does not fit is not recognised, and counted.

use super::{ids::RequestId, limits::TURNS_MAX, money::Nanos, routing::hash};
use std::sync::{
    Arc,
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

/// What makes two requests the same turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    follower: [AtomicU64; 2],
    cut: AtomicBool,
    over: AtomicBool,
    cost: AtomicI64,
}

impl Turn {
    /// A request's.
    pub fn new(id: RequestId) -> Self {
        Self {
            id,
            life: AtomicU8::new(RUNNING),
            follower: Default::default(),
            cut: AtomicBool::new(false),
            over: AtomicBool::new(false),
            cost: AtomicI64::new(0),
        }
    }

    /// Another request asks for the same. False if this one is over already.
    fn follow(&self, other: RequestId) -> bool {
        // Each is followed by one at most: the table has forgotten it since.
        self.follower[0].store((other.0 >> 64) as u64, SeqCst);
        self.follower[1].store(other.0 as u64, SeqCst);
        self.life.compare_exchange(RUNNING, FOLLOWED, SeqCst, SeqCst).is_ok()
    }

    /// It is over, and cost this. Returns who has asked for the same meanwhile.
    fn end(&self, cost: Nanos) -> Option<RequestId> {
        let followed = self.life.swap(OVER, SeqCst) == FOLLOWED;
        self.cost.store(cost.0, SeqCst);
        self.over.store(true, SeqCst);
        let [high, low] = [&self.follower[0], &self.follower[1]].map(|half| u128::from(half.load(SeqCst)));
        followed.then_some(RequestId(high << 64 | low))
    }

    /// Is it to be ended, in favour of the one that follows it?
    pub fn is_cut(&self) -> bool {
        self.cut.load(SeqCst)
    }

    /// What it came to cost, if it was cut and is over.
    pub fn cost_if_cut(&self) -> Option<Nanos> {
        (self.is_cut() && self.over.load(SeqCst)).then(|| Nanos(self.cost.load(SeqCst)))
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
            Some(before) if before.follow(turn.id) => Begun::Again(before.clone()),
            Some(_) => Begun::First,
        }
    }

    /// A turn is over. Returns who has asked for the same meanwhile.
    pub fn end(&self, key: TurnKey, turn: &Arc<Turn>, cost: Nanos) -> Option<RequestId> {
        let follower = turn.end(cost);
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
        assert_eq!(turns.end(key, &one, Nanos(5)), Some(two.id), "its place is the second's by now");
        assert!(matches!(turns.begin(key, &three), Begun::Again(second) if second.id == two.id));
        turns.cut(&two);
        assert!(two.is_cut() && two.cost_if_cut().is_none() && !three.is_cut());
        assert_eq!(turns.end(key, &two, Nanos(6)), Some(three.id));
        assert_eq!(two.cost_if_cut(), Some(Nanos(6)));
        assert_eq!((turns.end(key, &three, Nanos(7)), turns.len()), (None, 0));
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
                        if let Some(follower) = turns.end(key, &mine, Nanos(1)) {
                            followers.lock().unwrap().push((mine.id, follower));
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
