//! What each scope spent on each day: what budgets are rebuilt from at start.

use crate::kernel::{account::Scope, ids::PrincipalId, money::Nanos, names::Names, window::Window};
use std::collections::{BTreeMap, HashMap};

const DAY_SECONDS: i64 = 86_400;

/// Sums by scope and day.
#[derive(Default)]
pub(super) struct Spend {
    scopes: HashMap<Scope, usize>,
    days: Vec<BTreeMap<i64, Nanos>>,
    // The places a principal's spending is booked at, so that a record needs no text.
    places: HashMap<Option<PrincipalId>, Box<[usize]>>,
}

impl Spend {
    /// Books what a principal spent on a request, or on several, that began at this Unix second.
    pub fn add(&mut self, principal: Option<PrincipalId>, began_seconds: i64, cost: Nanos, names: &Names) {
        if cost == Nanos::ZERO {
            return;
        }
        if !self.places.contains_key(&principal) {
            let places = scopes_of(principal, names).into_iter().map(|scope| self.place(scope)).collect();
            self.places.insert(principal, places);
        }
        let day = began_seconds.div_euclid(DAY_SECONDS);
        for place in self.places.get(&principal).into_iter().flatten() {
            *self.days[*place].entry(day).or_default() += cost;
        }
    }

    /// Everybody who ever spent something.
    pub fn spenders(&self) -> impl Iterator<Item = PrincipalId> {
        self.places.keys().filter_map(|principal| *principal)
    }

    fn place(&mut self, scope: Scope) -> usize {
        *self.scopes.entry(scope).or_insert_with(|| {
            self.days.push(BTreeMap::new());
            self.days.len() - 1
        })
    }

    pub fn spent(&self, scope: &Scope, window: Window) -> Nanos {
        let Some(days) = self.scopes.get(scope).map(|place| &self.days[*place]) else { return Nanos::ZERO };
        if window.end <= window.start {
            return Nanos::ZERO;
        }
        let (first, last) = (window.start.div_euclid(DAY_SECONDS), (window.end - 1).div_euclid(DAY_SECONDS));
        days.range(first..=last).map(|(_, sum)| *sum).sum()
    }
}

fn scopes_of(principal: Option<PrincipalId>, names: &Names) -> Vec<Scope> {
    let mut scopes = vec![Scope::Org];
    if let Some(id) = principal {
        let principal = names.principal_of(id);
        scopes.push(Scope::Team(principal.team.clone()));
        scopes.push(Scope::Project(principal.project.clone()));
        scopes.push(Scope::User(principal.user.clone()));
        scopes.push(Scope::Key(principal.key.clone()));
    }
    scopes
}
