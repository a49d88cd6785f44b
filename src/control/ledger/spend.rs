//! What each scope spent on each day: what budgets are rebuilt from at start.

use crate::kernel::{
    account::Scope,
    ids::{Mixing, PrincipalId},
    keys::Principal,
    money::Nanos,
    names::Names,
    sessions::{Owner, SessionSpend},
    window::Window,
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
    // Where a principal's spending is booked, so that a record needs no text.
    booked: HashMap<Option<PrincipalId>, Booked, Mixing>,
    /// Shards look at it.
    pub sessions: Arc<SessionSpend>,
}

/// A principal, and the places of its scopes.
struct Booked {
    /// Of its sessions; none for a caller without a valid credential.
    owner: Option<Owner>,
    places: Box<[usize]>,
}

impl Spend {
    /// Books what was spent.
    pub fn add(&mut self, spent: &Spent<'_>, names: &Names) {
        if spent.cost == Nanos::ZERO {
            return;
        }
        let Self { scopes, days, booked, sessions } = self;
        let Booked { owner, places } = booked.entry(spent.principal).or_insert_with(|| {
            let principal = spent.principal.map(|id| names.principal_of(id));
            let scopes_of = scopes_of(principal.as_deref()).into_iter();
            let owner = principal.as_deref().map(|principal| sessions.owner(principal));
            Booked { places: scopes_of.map(|scope| place(scopes, days, scope)).collect(), owner }
        });
        if let Some(owner) = owner
            && !spent.session.is_empty()
        {
            sessions.add(owner, spent.session, spent.began_seconds, spent.cost);
        }
        let day = spent.began_seconds.div_euclid(DAY_SECONDS);
        for place in places.iter() {
            *days[*place].entry(day).or_default() += spent.cost;
        }
    }

    /// Everybody who ever spent something.
    pub fn spenders(&self) -> impl Iterator<Item = PrincipalId> {
        self.booked.keys().filter_map(|principal| *principal)
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

fn place(scopes: &mut HashMap<Scope, usize>, days: &mut Vec<BTreeMap<i64, Nanos>>, scope: Scope) -> usize {
    *scopes.entry(scope).or_insert_with(|| {
        days.push(BTreeMap::new());
        days.len() - 1
    })
}

fn scopes_of(principal: Option<&Principal>) -> Vec<Scope> {
    let mut scopes = vec![Scope::Org];
    if let Some(principal) = principal {
        scopes.push(Scope::Team(principal.team.clone()));
        scopes.push(Scope::Project(principal.project.clone()));
        scopes.push(Scope::User(principal.user.clone()));
        scopes.push(Scope::Key(principal.key.clone()));
    }
    scopes
}
