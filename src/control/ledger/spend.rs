//! What each scope spent on each day: what budgets are rebuilt from at start.

use crate::kernel::{
    account::Scope, ids::PrincipalId, money::Nanos, names::Names, record::Record, sessions::SessionSpend,
    window::Window,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const DAY_SECONDS: i64 = 86_400;

/// Sums by scope and day.
#[derive(Default)]
pub(super) struct Spend {
    scopes: HashMap<Scope, usize>,
    days: Vec<BTreeMap<i64, Nanos>>,
    // The places a principal's spending is booked at, so that a record needs no text.
    places: HashMap<Option<PrincipalId>, Box<[usize]>>,
    /// Shards look at it.
    pub sessions: Arc<SessionSpend>,
}

impl Spend {
    pub fn add(&mut self, record: &Record, names: &Names) {
        if record.cost == Nanos::ZERO {
            return;
        }
        if !self.places.contains_key(&record.principal) {
            let places = scopes_of(record.principal, names).into_iter().map(|scope| self.place(scope)).collect();
            self.places.insert(record.principal, places);
        }
        if let Some(id) = record.principal
            && !record.session.is_empty()
        {
            let began = record.started_at.seconds();
            self.sessions.add(&names.principal_of(id), &record.session, began, record.cost);
        }
        let day = record.started_at.seconds().div_euclid(DAY_SECONDS);
        for place in self.places.get(&record.principal).into_iter().flatten() {
            *self.days[*place].entry(day).or_default() += record.cost;
        }
    }

    fn place(&mut self, scope: Scope) -> usize {
        *self.scopes.entry(scope).or_insert_with(|| {
            self.days.push(BTreeMap::new());
            self.days.len() - 1
        })
    }

    /// Everybody who ever spent something.
    pub fn spenders(&self) -> impl Iterator<Item = PrincipalId> {
        self.places.keys().filter_map(|principal| *principal)
    }

    pub fn spent(&self, scope: &Scope, window: Window) -> Nanos {
        if let Scope::Session(session) = scope {
            return self.sessions.spent(session, window);
        }
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
