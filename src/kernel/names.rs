//! Names that records carry as numbers: upstreams and principals. Append-only for the life of the process, so that a number
//! means the same thing in every snapshot and in every record on its way to the journal.
//!
//! Lock-free: shards ask it for callers they see for the first time (`principal_at_first_sight`), the journal resolves
//! what they send up. The control plane's own names are as many as the configuration and the journal have; what shards add is
//! bounded by `PRINCIPALS_MAX`.

use super::{ids::PrincipalId, keys::Principal, limits::PRINCIPALS_MAX};
use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

/// A name's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

/// The tables.
#[derive(Default)]
pub struct Names {
    names: Interned<str>,
    principals: Interned<Principal>,
}

/// Values by place and places by value. A value has its place in `values` before anybody can learn the place.
struct Interned<T: ?Sized> {
    values: papaya::HashMap<u32, Arc<T>>,
    places: papaya::HashMap<Arc<T>, u32>,
    next: AtomicU32,
}

impl<T: ?Sized + Hash + Eq> Default for Interned<T> {
    fn default() -> Self {
        Self { values: papaya::HashMap::new(), places: papaya::HashMap::new(), next: AtomicU32::new(0) }
    }
}

impl<T: ?Sized + Hash + Eq> Interned<T> {
    /// The place of a value. Of several threads that bring the same one at once, all get the same place; a place may be lost.
    fn intern(&self, value: &T, most: u32, owned: impl FnOnce() -> Arc<T>) -> Option<u32> {
        let places = self.places.pin();
        if let Some(place) = places.get(value) {
            return Some(*place);
        }
        let place = self.next.fetch_update(SeqCst, SeqCst, |next| (next < most).then(|| next + 1)).ok()?;
        let (values, value) = (self.values.pin(), owned());
        values.insert(place, value.clone());
        match places.try_insert(value, place) {
            Ok(_) => Some(place),
            Err(taken) => {
                values.remove(&place);
                Some(*taken.current)
            }
        }
    }

    fn value(&self, place: u32) -> Option<Arc<T>> {
        self.values.pin().get(&place).cloned()
    }
}

impl Names {
    /// The number of a name, new or old. For names of the configuration and the journal, which are bounded elsewhere.
    pub fn name(&self, text: &str) -> NameId {
        NameId(self.names.intern(text, u32::MAX, || text.into()).unwrap_or(u32::MAX))
    }

    /// The name of a number; empty for a number never given out.
    pub fn name_of(&self, id: NameId) -> Arc<str> {
        self.names.value(id.0).unwrap_or_else(|| "".into())
    }

    /// The number of a principal, new or old. For principals of the configuration and the journal, which are bounded elsewhere.
    pub fn principal(&self, principal: &Principal) -> PrincipalId {
        PrincipalId(self.principals.intern(principal, u32::MAX, || Arc::new(principal.clone())).unwrap_or(u32::MAX))
    }

    /// The number of a principal that a shard sees, perhaps for the first time. `None`: there are `PRINCIPALS_MAX` already,
    /// and it is none of them. Neither locks nor waits; a new one costs an allocation.
    pub fn principal_at_first_sight(&self, principal: &Principal) -> Option<PrincipalId> {
        self.principals.intern(principal, PRINCIPALS_MAX, || Arc::new(principal.clone())).map(PrincipalId)
    }

    /// The principal of a number; an empty one for a number never given out.
    pub fn principal_of(&self, id: PrincipalId) -> Arc<Principal> {
        self.principals.value(id.0).unwrap_or_default()
    }

    /// How many principals have a number.
    pub fn principals(&self) -> usize {
        self.principals.places.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_a_number_across_reloads() {
        let names = Names::default();
        let a = names.name("a");
        assert_ne!(a, names.name("b"));
        assert_eq!(a, names.name("a"));
        assert_eq!(&*names.name_of(a), "a");
        let p = Principal { team: "t".into(), ..Principal::default() };
        assert_eq!(names.principal(&p), names.principal(&p.clone()));
        assert_eq!(names.principal_at_first_sight(&p), Some(names.principal(&p)));
        assert_eq!(names.principal_of(names.principal(&p)).team, "t");
        assert_eq!((names.principal_of(PrincipalId(77)), &*names.name_of(NameId(77))), (Arc::default(), ""));
    }

    #[test]
    fn shards_that_see_a_principal_at_the_same_time_give_it_two_numbers() {
        let names = Names::default();
        let who = |n: usize| Principal { user: format!("user-{n}"), ..Principal::default() };
        let seen: Vec<Vec<PrincipalId>> = std::thread::scope(|scope| {
            let shards: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..500).map(|n| names.principal_at_first_sight(&who(n)).unwrap()).collect()))
                .collect();
            shards.into_iter().map(|shard| shard.join().unwrap()).collect()
        });
        assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(names.principals(), 500);
        assert!((0..500).all(|n| *names.principal_of(seen[0][n]) == who(n)));
    }

    #[test]
    fn a_full_table_grows_or_forgets_whom_it_knows() {
        let table = Interned::<str>::default();
        let intern = |text: &str, most| table.intern(text, most, || text.into());
        assert_eq!((intern("a", 1), intern("b", 1), intern("a", 1), intern("b", 2)), (Some(0), None, Some(0), Some(1)));
    }
}
