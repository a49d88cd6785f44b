//! Who this shard has seen lately, and what they are held to: a caller or a session seen before costs one hash lookup and no
//! allocation. What is not here is worked out by the snapshot (`Snapshot::standing_of`), from accounts all shards share.
//!
//! Bounded by `STANDINGS_MAX`; who has not called for `STANDING_IDLE` is forgotten, so that accounts nobody uses can go.

use crate::kernel::{
    ids::PrincipalId,
    keys::Principal,
    limits::{STANDING_IDLE, STANDINGS_MAX},
    snapshot::Snapshot,
    standing::{Crowded, Standing},
    time::MonoUs,
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    rc::Rc,
};

/// A caller's names, as a token or a certificate has them; empty for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Who<'a> {
    /// Key, or what stands for one.
    pub key: &'a str,
    /// Person or service.
    pub user: &'a str,
    /// Team.
    pub team: &'a str,
    /// Project.
    pub project: &'a str,
}

impl Who<'_> {
    fn is(&self, principal: &Principal) -> bool {
        let Principal { key, user, team, project } = principal;
        self.key == key && self.user == user && self.team == team && self.project == project
    }

    fn owned(&self) -> Principal {
        let [key, user, team, project] = [self.key, self.user, self.team, self.project].map(str::to_owned);
        Principal { key, user, team, project }
    }
}

enum Whose {
    Caller(Principal),
    Session(PrincipalId, Box<str>),
}

struct Seen {
    whose: Whose,
    standing: Rc<Standing>,
    used_at: MonoUs,
}

/// Those this shard has seen.
pub struct Standings {
    seen: HashMap<u64, Seen, BuildHasherDefault<AsItIs>>,
    hasher: RandomState,
}

impl Default for Standings {
    fn default() -> Self {
        Self { seen: HashMap::default(), hasher: RandomState::new() }
    }
}

/// The moment a request asks at.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// On the shard's clock.
    pub mono: MonoUs,
    /// Unix seconds.
    pub unix_seconds: i64,
}

impl Standings {
    /// What a caller is held to that no key stands for.
    pub fn of(&mut self, who: Who<'_>, snapshot: &Snapshot, now: Moment) -> Result<Rc<Standing>, Crowded> {
        let hash = self.hasher.hash_one(who);
        let same = |whose: &Whose| matches!(whose, Whose::Caller(principal) if who.is(principal));
        if let Some(standing) = self.known(hash, same, snapshot, now) {
            return Ok(standing);
        }
        let principal = who.owned();
        let standing = snapshot.standing_of(&principal, now.unix_seconds)?;
        Ok(self.remember(hash, Whose::Caller(principal), standing, now))
    }

    /// What a session of a caller is held to, besides what the caller is.
    pub fn of_session(
        &mut self,
        principal: PrincipalId,
        session: &str,
        snapshot: &Snapshot,
        now: Moment,
    ) -> Result<Rc<Standing>, Crowded> {
        let hash = self.hasher.hash_one((principal, session));
        let same = |whose: &Whose| matches!(whose, Whose::Session(of, id) if *of == principal && **id == *session);
        if let Some(standing) = self.known(hash, same, snapshot, now) {
            return Ok(standing);
        }
        let standing = snapshot.standing_of_session(principal, session, now.unix_seconds)?;
        Ok(self.remember(hash, Whose::Session(principal, session.into()), standing, now))
    }

    fn known(
        &mut self,
        hash: u64,
        same: impl Fn(&Whose) -> bool,
        snapshot: &Snapshot,
        now: Moment,
    ) -> Option<Rc<Standing>> {
        let seen = self.seen.get_mut(&hash).filter(|seen| same(&seen.whose))?;
        seen.used_at = now.mono;
        seen.standing.holds(snapshot, now.unix_seconds).then(|| seen.standing.clone())
    }

    fn remember(&mut self, hash: u64, whose: Whose, standing: Standing, now: Moment) -> Rc<Standing> {
        if self.seen.len() >= STANDINGS_MAX && !self.seen.contains_key(&hash) {
            // Full of callers of the last minute: start over rather than keep a list of ages. Nothing is lost but a little time.
            self.seen.clear();
        }
        let standing = Rc::new(standing);
        self.seen.insert(hash, Seen { whose, standing: standing.clone(), used_at: now.mono });
        standing
    }

    /// Forgets who has not called for long.
    pub fn tick(&mut self, now: MonoUs) {
        let idle_us = STANDING_IDLE.as_micros() as u64;
        self.seen.retain(|_, seen| now.since(seen.used_at) <= idle_us);
    }

    /// How many are at hand.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Is nobody at hand?
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

/// The keys are hashes already.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
