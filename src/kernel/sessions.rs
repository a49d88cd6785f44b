//! What each session has spent, day by day, as the ledger knows it: where the account of a session begins that was seen
//! before, be it before a restart or before it had been idle for so long that its account was dropped.
//!
//! One thread writes (the journal's, with the ledger), shards read without a lock. Bounded by `SESSIONS_KEPT_MAX`: when there
//! are more, the half that was heard of longest ago is forgotten, and would begin anew.

use super::{
    account::Session, ids::Mixing, keys::Principal, limits::SESSIONS_KEPT_MAX, money::Nanos, routing::hash,
    window::Window,
};
use std::{
    hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState},
    sync::atomic::{AtomicI64, Ordering::Relaxed},
};

const DAY_SECONDS: i64 = 86_400;

/// Sums by session and day.
pub struct SessionSpend {
    sums: papaya::HashMap<u128, Sums, Mixing>,
    keyed: RandomState,
    seed: u64,
}

impl Default for SessionSpend {
    fn default() -> Self {
        let keyed = RandomState::new();
        Self { sums: papaya::HashMap::default(), seed: keyed.hash_one("seed"), keyed }
    }
}

/// Whose sessions: what each of their places has in common, so that it is hashed once for all of them.
pub struct Owner {
    keyed: DefaultHasher,
    mixed: u64,
}

/// One session's. The one who writes adds in place: a new entry for each request would be memory to be freed behind the readers'
/// backs, which costs every thread of the process an interrupt now and then.
struct Sums {
    last_seconds: AtomicI64,
    days: Box<[(i64, AtomicI64)]>,
}

impl Sums {
    /// Adds in place; false if the day has no place yet.
    fn add(&self, began_seconds: i64, cost: Nanos) -> bool {
        let day = began_seconds.div_euclid(DAY_SECONDS);
        let Some((_, sum)) = self.days.iter().find(|(of, _)| *of == day) else { return false };
        sum.store((Nanos(sum.load(Relaxed)) + cost).0, Relaxed);
        self.last_seconds.store(self.last_seconds.load(Relaxed).max(began_seconds), Relaxed);
        true
    }

    /// The same with one more day.
    fn with(old: Option<&Self>, began_seconds: i64, cost: Nanos) -> Self {
        let day = (began_seconds.div_euclid(DAY_SECONDS), AtomicI64::new(cost.0));
        let days = old.map_or(&[][..], |old| &old.days).iter().map(|(day, sum)| (*day, sum.load(Relaxed).into()));
        let last_seconds = old.map_or(began_seconds, |old| old.last_seconds.load(Relaxed).max(began_seconds));
        Self { last_seconds: last_seconds.into(), days: days.chain([day]).collect() }
    }
}

impl Owner {
    /// A session's place. Its parts come from clients and providers, so that half of it is a hash that nobody can aim with without
    /// this process's key; the other half, which only chance has to be kept from, hangs on a secret of it, too.
    fn place(&self, id: &str) -> u128 {
        let mut keyed = self.keyed.clone();
        id.hash(&mut keyed);
        u128::from(keyed.finish()) << 64 | u128::from(hash::bytes(self.mixed, id.as_bytes()))
    }
}

impl SessionSpend {
    /// Whoever has this key and this name.
    fn owner_of(&self, key: &str, user: &str) -> Owner {
        let mut keyed = self.keyed.build_hasher();
        let mut mixed = self.seed;
        for part in [key, user] {
            part.hash(&mut keyed);
            mixed = hash::bytes(mixed, part.as_bytes());
        }
        Owner { keyed, mixed }
    }

    /// A principal, to `add` to its sessions.
    pub fn owner(&self, principal: &Principal) -> Owner {
        self.owner_of(&principal.key, &principal.user)
    }

    /// Books what a session spent on a request, or on several, that began at this Unix second. By one thread; the owner is of these
    /// sums.
    pub fn add(&self, owner: &Owner, session: &str, began_seconds: i64, cost: Nanos) {
        let sums = self.sums.pin();
        let place = owner.place(session);
        let old = sums.get(&place);
        if old.is_some_and(|old| old.add(began_seconds, cost)) {
            return;
        }
        sums.insert(place, Sums::with(old, began_seconds, cost));
        if sums.len() > SESSIONS_KEPT_MAX {
            let mut ages: Vec<i64> = sums.values().map(|sums| sums.last_seconds.load(Relaxed)).collect();
            let half = ages.len() / 2;
            let (_, middle, _) = ages.select_nth_unstable(half);
            let middle = *middle;
            // Of those of the same second some must go too, or nobody would.
            let mut left = half;
            sums.retain(|_, sums| {
                let stays = sums.last_seconds.load(Relaxed) >= middle && left > 0;
                left -= usize::from(stays);
                stays
            });
        }
    }

    /// What a session has spent on requests that began in a window. Lock-free.
    pub fn spent(&self, session: &Session, window: Window) -> Nanos {
        let sums = self.sums.pin();
        let Some(sums) = sums.get(&self.owner_of(&session.key, &session.user).place(&session.id)) else {
            return Nanos::ZERO;
        };
        let days = sums.days.iter().filter(|(day, _)| window.contains(day * DAY_SECONDS));
        days.map(|(_, sum)| Nanos(sum.load(Relaxed))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::window::Period;

    fn session(user: &str, id: &str) -> Session {
        Session { key: "k".into(), user: user.into(), id: id.into() }
    }

    fn principal(user: &str) -> Principal {
        Principal { key: "k".into(), user: user.into(), ..Principal::default() }
    }

    #[test]
    fn a_session_is_booked_on_another_or_on_another_day() {
        let spend = SessionSpend::default();
        for (user, id, day, cost) in [("a", "s", 1, 5), ("a", "s", 1, 6), ("a", "s", 2, 7), ("b", "s", 2, 8)] {
            spend.add(&spend.owner(&principal(user)), id, day * DAY_SECONDS + 9, Nanos(cost));
        }
        let spent = |user: &str, window| spend.spent(&session(user, "s"), window).0;
        assert_eq!((spent("a", Window::ALWAYS), spent("b", Window::ALWAYS), spent("c", Window::ALWAYS)), (18, 8, 0));
        assert_eq!([1, 2, 3].map(|day| spent("a", Period::Daily.window(day * DAY_SECONDS))), [11, 7, 0]);
        let merged = session("", "ks");
        assert_eq!(spend.spent(&Session { key: "ka".into(), ..merged }, Window::ALWAYS), Nanos::ZERO);
    }

    #[test]
    fn sessions_that_clients_invent_grow_the_table_without_bound() {
        let spend = SessionSpend::default();
        let owner = spend.owner(&principal("a"));
        for n in 0..=SESSIONS_KEPT_MAX {
            spend.add(&owner, &n.to_string(), n as i64 / 1000, Nanos(1));
        }
        assert_eq!(spend.sums.len(), SESSIONS_KEPT_MAX.div_ceil(2));
        let newest = session("a", &SESSIONS_KEPT_MAX.to_string());
        assert_eq!(spend.spent(&newest, Window::ALWAYS), Nanos(1));
        assert_eq!(spend.spent(&session("a", "0"), Window::ALWAYS), Nanos::ZERO);
    }
}
