//! A table that the control plane and all shards share without a lock: budget accounts, and rate limiters. Whoever asks first
//! opens an entry, and everybody gets that one.
//!
//! Bounded: shards open at most `FIRST_SIGHT_MAX` entries, of which single sessions may take `FIRST_SIGHT_SESSIONS_MAX`; beyond
//! that the caller is refused, and that is counted. What the control plane opens is bounded by its configuration.

use super::{
    account::{Scope, ScopeKind},
    limits::{FIRST_SIGHT_MAX, FIRST_SIGHT_SESSIONS_MAX},
    numbers::{Number, Numbers},
};
use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering::SeqCst, fence},
    },
};

/// The life of an entry: it may be used, its table looks whether anybody does, nobody may use it any more.
const OPEN: u8 = 0;
const CLOSING: u8 = 1;
const CLOSED: u8 = 2;

/// What an entry knows of its place in the table.
#[derive(Default)]
pub struct Presence {
    life: AtomicU8,
    at_first_sight: AtomicBool,
}

impl Presence {
    /// A shard opened it, for a caller it saw for the first time; or it has outlived what the control plane opened it for.
    pub fn is_at_first_sight(&self) -> bool {
        self.at_first_sight.load(SeqCst)
    }
}

/// What can be in a table.
pub trait Shared: Sized {
    /// Whom it limits.
    fn scope(&self) -> &Scope;

    /// Its place in the table.
    fn presence(&self) -> &Presence;

    /// A share in it, unless it has been closed. One that is just being closed stays open.
    fn share(self: &Arc<Self>) -> Option<Arc<Self>> {
        let share = self.clone();
        fence(SeqCst);
        let life = &self.presence().life;
        let closed = life.load(SeqCst) != OPEN
            && life.compare_exchange(CLOSING, OPEN, SeqCst, SeqCst).is_err_and(|life| life == CLOSED);
        (!closed).then_some(share)
    }

    /// Closes it, if only its table holds it. `false`: somebody is using it. By one thread at a time.
    fn close(self: &Arc<Self>) -> bool {
        let life = &self.presence().life;
        if life.load(SeqCst) == CLOSED {
            return true;
        }
        life.store(CLOSING, SeqCst);
        // Whoever takes a share counts first and then looks at `life`; here it is the other way round. One sees the other.
        fence(SeqCst);
        let next = if Arc::strong_count(self) == 1 { CLOSED } else { OPEN };
        life.compare_exchange(CLOSING, next, SeqCst, SeqCst).is_ok() && next == CLOSED
    }
}

/// Entries that shards opened, and how many of a kind there may be.
#[derive(Default)]
struct Count(AtomicUsize);

impl Count {
    fn add(&self, most: usize) -> bool {
        self.0.fetch_update(SeqCst, SeqCst, |count| (count < most).then_some(count + 1)).is_ok()
    }

    fn sub(&self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// The table.
pub struct SharedTable<K, V> {
    entries: papaya::HashMap<K, Arc<V>>,
    numbers: Arc<Numbers>,
    at_first_sight: Count,
    sessions: Count,
    refused: AtomicU64,
}

impl<K: Hash + Eq, V> Default for SharedTable<K, V> {
    fn default() -> Self {
        Self {
            entries: papaya::HashMap::new(),
            numbers: Arc::default(),
            at_first_sight: Count::default(),
            sessions: Count::default(),
            refused: AtomicU64::new(0),
        }
    }
}

impl<K: Hash + Eq + Clone, V: Shared> SharedTable<K, V> {
    /// The entry, if there is one.
    pub fn find(&self, key: &K) -> Option<Arc<V>> {
        self.entries.pin().get(key).and_then(Shared::share)
    }

    /// The entry; if nobody has opened it yet, `make` makes it, under the number it is given. For the control plane: it is
    /// never refused.
    pub fn open(&self, key: &K, make: impl Fn(Number) -> V) -> Arc<V> {
        loop {
            if let Some(entry) = self.find(key).or_else(|| self.insert(key, make(self.numbers.take()))) {
                return entry;
            }
        }
    }

    /// As `open`, for a caller that a shard sees for the first time. `None`: there are too many entries; the caller must be
    /// refused, and that is counted here. Neither locks nor waits: a thread that finds another ahead of it takes its entry.
    pub fn open_at_first_sight(&self, key: &K, make: impl Fn(Number) -> V) -> Option<Arc<V>> {
        loop {
            if let Some(entry) = self.find(key) {
                return Some(entry);
            }
            let entry = make(self.numbers.take());
            let session = entry.scope().kind() == ScopeKind::Session;
            if !self.make_room(session) {
                self.refused.fetch_add(1, SeqCst);
                return None;
            }
            entry.presence().at_first_sight.store(true, SeqCst);
            match self.insert(key, entry) {
                Some(entry) => return Some(entry),
                None => self.leave_room(session),
            }
        }
    }

    /// Counts an entry that the control plane opened among those that shards opened, since it keeps it for callers that no
    /// key stands for. `false`: there are too many of them.
    pub fn adopt(&self, entry: &V) -> bool {
        if entry.presence().is_at_first_sight() {
            return true;
        }
        let session = entry.scope().kind() == ScopeKind::Session;
        let room = self.make_room(session);
        if room && entry.presence().at_first_sight.swap(true, SeqCst) {
            self.leave_room(session);
        }
        room
    }

    fn make_room(&self, session: bool) -> bool {
        if session && !self.sessions.add(FIRST_SIGHT_SESSIONS_MAX) {
            return false;
        }
        let room = self.at_first_sight.add(FIRST_SIGHT_MAX);
        if !room && session {
            self.sessions.sub();
        }
        room
    }

    fn leave_room(&self, session: bool) {
        self.at_first_sight.sub();
        if session {
            self.sessions.sub();
        }
    }

    /// Puts a new entry in; `None` if another is there by now.
    fn insert(&self, key: &K, entry: V) -> Option<Arc<V>> {
        let (entries, entry) = (self.entries.pin(), Arc::new(entry));
        // One that has been closed may still be there; who closed it takes it out, or we do.
        self.take_out(key, |there| there.share().is_none());
        entries.try_insert(key.clone(), entry.clone()).is_ok().then_some(entry)
    }

    fn take_out(&self, key: &K, which: impl Fn(&Arc<V>) -> bool) {
        if let Ok(Some((_, old))) = self.entries.pin().remove_if(key, |_, there| which(there))
            && old.presence().is_at_first_sight()
        {
            self.leave_room(old.scope().kind() == ScopeKind::Session);
        }
    }

    /// Takes an entry out, used or not: who holds it goes on with it, who asks gets another one.
    pub fn remove(&self, key: &K, entry: &Arc<V>) {
        self.take_out(key, |there| Arc::ptr_eq(there, entry));
    }

    /// Takes an entry out if nobody holds it but this table, and nobody can from then on. By one thread at a time.
    pub fn remove_unused(&self, key: &K) -> bool {
        let closed = self.entries.pin().get(key).is_some_and(Shared::close);
        if closed {
            self.take_out(key, |there| there.share().is_none());
        }
        closed
    }

    /// Looks at every entry, in no order. What is opened meanwhile may be missed.
    pub fn for_each(&self, mut look: impl FnMut(&K, &Arc<V>)) {
        self.entries.pin().iter().for_each(|(key, entry)| look(key, entry));
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many are kept for callers that no key stands for: all, and those of single sessions.
    pub fn at_first_sight(&self) -> (usize, usize) {
        (self.at_first_sight.0.load(SeqCst), self.sessions.0.load(SeqCst))
    }

    /// How often a caller was refused because there were too many entries.
    pub fn refused(&self) -> u64 {
        self.refused.load(SeqCst)
    }
}

#[cfg(test)]
mod tests;
