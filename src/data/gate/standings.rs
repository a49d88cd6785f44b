//! Callers that no key of the snapshot stands for: what they are held to, worked out when they are seen first.

use crate::kernel::{
    ids::SnapshotVersion,
    keys::{Key, KeyDigest, Principal},
    limits::TOKENS_KEPT_MAX,
    names::Names,
    policy::AllowList,
    snapshot::{BudgetIx, RateLimitIx, Snapshot},
};
use std::{collections::HashMap, rc::Rc};

/// The callers of a shard, for one snapshot.
#[derive(Default)]
pub struct Standings {
    version: SnapshotVersion,
    known: HashMap<Principal, Rc<Key>>,
}

impl Standings {
    /// What a caller is held to: every budget and limit of the snapshot that covers it.
    pub fn of(&mut self, principal: Principal, snapshot: &Snapshot, names: &Names) -> Rc<Key> {
        if self.version != snapshot.version || self.known.len() >= TOKENS_KEPT_MAX {
            self.known.clear();
            self.version = snapshot.version;
        }
        if let Some(known) = self.known.get(&principal) {
            return known.clone();
        }
        let budgets = snapshot
            .budgets
            .iter()
            .enumerate()
            .filter(|(_, budget)| budget.accounts.first().is_some_and(|account| account.scope.covers(&principal)));
        let limits =
            snapshot.rate_limits.iter().enumerate().filter(|(_, limit)| limit.limiter.scope.covers(&principal));
        let key = Rc::new(Key {
            principal: names.principal(&principal),
            id: principal.key.as_str().into(),
            digest: KeyDigest([0; 32]),
            retiring: None,
            models: AllowList::everything(),
            expires: None,
            trusted_peers: Box::default(),
            budgets: budgets.map(|(place, _)| BudgetIx(place as u32)).collect(),
            rate_limits: limits.map(|(place, _)| RateLimitIx(place as u32)).collect(),
        });
        self.known.insert(principal, key.clone());
        key
    }
}
