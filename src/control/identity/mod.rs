//! The keys that issuers of tokens publish: fetched, kept, and handed to the shards in a snapshot.
//!
//! `fetch` asks for one set, bounded in time and size; `refresh` decides when: at the start, regularly, and when a shard has met a
//! token whose key it does not know, which is capped; `IssuerBook` keeps what came last. Invariants: a set that cannot be fetched
//! or read never replaces one that could; an issuer without keys is a warning, never an obstacle to a start or a reload; no request
//! waits for any of this. Deliberately absent: verification (`kernel::identity`), redirects, and any address that is not configured.

mod fetch;
mod pace;
mod refresh;

#[cfg(test)]
mod tests;

pub use fetch::Source;
pub use refresh::{Refresher, TrustDesk};

use super::config::{Config, JwtConfig, KeySource};
use crate::kernel::{
    identity::{Issuer, IssuerKeys, IssuerTable, KeySet, VerifyingKey},
    keys::KeyDigest,
    policy::AllowList,
};
use std::{collections::HashMap, sync::Arc};

/// The newest good keys of every issuer.
#[derive(Default)]
pub struct IssuerBook {
    sets: HashMap<Source, Kept>,
    /// The table that was made last, and of which configuration; the same object as long as nothing has changed.
    made: Option<(Arc<Config>, Arc<IssuerTable>)>,
}

struct Kept {
    set: Arc<KeySet>,
    as_of: i64,
}

impl IssuerBook {
    /// The table of a configuration. Sets that it does not name are forgotten.
    pub fn table(&mut self, config: &Arc<Config>) -> Arc<IssuerTable> {
        if let Some((of, table)) = &self.made
            && Arc::ptr_eq(of, config)
        {
            return table.clone();
        }
        let sources: Vec<Source> = config.jwt.iter().filter_map(Source::of).collect();
        self.sets.retain(|source, _| sources.contains(source));
        let table = Arc::new(IssuerTable::new(config.jwt.iter().map(|issuer| self.issuer(issuer)).collect()));
        self.made = Some((config.clone(), table.clone()));
        table
    }

    /// Takes a set that has just been fetched.
    pub fn keep(&mut self, source: Source, set: KeySet, as_of: i64) {
        self.sets.insert(source, Kept { set: Arc::new(set), as_of });
        self.made = None;
    }

    fn issuer(&self, config: &JwtConfig) -> Issuer {
        let kept = Source::of(config).and_then(|source| self.sets.get(&source));
        let keys = match &config.source {
            Some(KeySource::Shared(secrets)) => {
                let keys = secrets.iter().map(|secret| VerifyingKey::shared(secret.expose().as_bytes()));
                IssuerKeys::Shared(keys.collect())
            }
            _ => IssuerKeys::Published {
                set: kept.map(|kept| kept.set.clone()),
                as_of: kept.map_or(0, |kept| kept.as_of),
            },
        };
        Issuer {
            name: config.issuer.as_str().into(),
            mark: KeyDigest::of(config.issuer.as_bytes()),
            audiences: config.audiences.iter().map(|audience| audience.as_str().into()).collect(),
            algorithms: config.algorithms.as_slice().into(),
            keys,
            skew_seconds: config.skew.as_secs() as i64,
            claims: config.claims.clone(),
            allow_groups: config.allow_groups.iter().map(|group| group.as_str().into()).collect(),
            models: config.models.clone().map_or_else(AllowList::everything, AllowList::of),
        }
    }
}
