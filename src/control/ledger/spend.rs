//! What each scope spent on each day: what budgets are rebuilt from at start.

use crate::kernel::{
    account::Scope, ids::PrincipalId, money::Nanos, names::Names, sessions::SessionSpend, window::Window,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

const DAY_SECONDS: i64 = 86_400;

/// What one request cost, or several of one session that began in the same hour.
pub(super) struct Spent<'a> {
    /// Whose.
    pub principal: Option<PrincipalId>,
    /// Its session; empty where it had none, or where old hours have been folded.
    pub session: &'a str,
    /// When it began, Unix seconds.
    pub began_seconds: i64,
    /// What it cost.
    pub cost: Nanos,
}

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
    /// Books what was spent.
    pub fn add(&mut self, spent: &Spent<'_>, names: &Names) {
        if spent.cost == Nanos::ZERO {
            return;
        }
        if !self.places.contains_key(&spent.principal) {
            let places = scopes_of(spent.principal, names).into_iter().map(|scope| self.place(scope)).collect();
            self.places.insert(spent.principal, places);
        }
        if let Some(id) = spent.principal
            && !spent.session.is_empty()
        {
            self.sessions.add(&names.principal_of(id), spent.session, spent.began_seconds, spent.cost);
        }
        let day = spent.began_seconds.div_euclid(DAY_SECONDS);
        for place in self.places.get(&spent.principal).into_iter().flatten() {
            *self.days[*place].entry(day).or_default() += spent.cost;
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
