//! Names that records carry as numbers: upstreams and principals. Append-only for the life of the process, so that a number
//! means the same thing in every snapshot. Only the control plane takes its lock; shards get numbers in their snapshots.

use super::{ids::PrincipalId, keys::Principal};
use parking_lot::RwLock;
use std::{collections::HashMap, sync::Arc};

/// A name's number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NameId(pub u32);

/// The tables.
#[derive(Default)]
pub struct Names {
    names: RwLock<Interned<str>>,
    principals: RwLock<Interned<Principal>>,
}

struct Interned<T: ?Sized> {
    list: Vec<Arc<T>>,
    places: HashMap<Arc<T>, u32>,
}

impl<T: ?Sized> Default for Interned<T> {
    fn default() -> Self {
        Self { list: Vec::new(), places: HashMap::new() }
    }
}

impl<T: ?Sized + Eq + std::hash::Hash> Interned<T> {
    fn intern(&mut self, value: Arc<T>) -> u32 {
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        let place = self.list.len() as u32;
        self.list.push(value.clone());
        self.places.insert(value, place);
        place
    }
}

impl Names {
    /// The number of a name, new or old.
    pub fn name(&self, text: &str) -> NameId {
        NameId(self.names.write().intern(text.into()))
    }

    /// The name of a number; empty for a number never given out.
    pub fn name_of(&self, id: NameId) -> Arc<str> {
        self.names.read().list.get(id.0 as usize).cloned().unwrap_or_else(|| "".into())
    }

    /// The number of a principal, new or old.
    pub fn principal(&self, principal: &Principal) -> PrincipalId {
        let known = self.principals.read().places.get(principal).copied();
        PrincipalId(known.unwrap_or_else(|| self.principals.write().intern(Arc::new(principal.clone()))))
    }

    /// The principal of a number; an empty one for a number never given out.
    pub fn principal_of(&self, id: PrincipalId) -> Arc<Principal> {
        self.principals.read().list.get(id.0 as usize).cloned().unwrap_or_default()
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
        assert_eq!(names.principal_of(names.principal(&p)).team, "t");
    }
}
