//! Who calls, and what that is held to: a configured key by its places in the snapshot, anybody else by a standing that all
//! shards agree on. With rules for single sessions, the session named in the head is held to those too.

use super::standings::{Moment, Who};
use crate::{
    data::edge::incoming::Exchange,
    kernel::{
        fault::{Fault, FaultKind, Room},
        ids::PrincipalId,
        keys::Key,
        policy::AllowList,
        record::{Label, inline},
        routing::hash,
        snapshot::{Budget, RateLimit, Snapshot},
        standing::{Crowded, Standing},
    },
    wire::h1::Known,
};
use std::rc::Rc;

/// Who calls.
pub struct Caller<'c> {
    /// The number in records.
    pub principal: PrincipalId,
    /// Which models it may use.
    pub models: &'c AllowList,
    key: Option<&'c Key>,
    own: Option<Rc<Standing>>,
    session: Option<Rc<Standing>>,
    scope: u64,
}

impl<'c> Caller<'c> {
    /// A caller that showed a key.
    pub fn of_key(cx: &Exchange<'_>, key: &'c Key) -> Result<Self, Fault> {
        let session = session(cx, key.principal)?;
        Ok(Self { principal: key.principal, models: &key.models, key: Some(key), own: None, session, scope: 0 })
    }

    /// A caller that somebody else vouches for: a token's claims, a certificate's subject. Its names must have been verified;
    /// empty ones belong to no scope. The first time any shard sees it, its accounts and limiters are opened by the rules for
    /// each and for its ids; a caller seen before costs one hash lookup. A full table is a fault (`Overloaded`).
    pub fn of_principal(cx: &Exchange<'_>, who: Who<'_>, models: &'c AllowList) -> Result<Self, Fault> {
        let standing = cx.shard.standings.borrow_mut().of(who, cx.serving, now(cx));
        let own = standing.map_err(crowded)?;
        let session = session(cx, own.principal)?;
        let scope = hash::bytes(hash::bytes(1, who.key.as_bytes()), who.user.as_bytes());
        Ok(Self { principal: own.principal, models, key: None, own: Some(own), session, scope })
    }

    /// A number for the caller's sessions to be told from others' by; the same on every machine.
    pub fn affinity_scope(&self) -> u64 {
        self.key.map_or(self.scope, |key| hash::bytes(0, key.id.as_bytes()))
    }

    /// The budgets its requests are booked on.
    pub fn budgets<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a Budget> {
        let places = self.key.map_or(&[][..], |key| &key.budgets);
        let seen = self.own.iter().chain(&self.session).flat_map(|standing| &standing.budgets);
        places.iter().filter_map(|ix| snapshot.budget(*ix)).chain(seen)
    }

    /// The rate limits its requests are held to.
    pub fn rate_limits<'a>(&'a self, snapshot: &'a Snapshot) -> impl Iterator<Item = &'a RateLimit> {
        let places = self.key.map_or(&[][..], |key| &key.rate_limits);
        let seen = self.own.iter().chain(&self.session).flat_map(|standing| &standing.rate_limits);
        places.iter().filter_map(|ix| snapshot.rate_limit(*ix)).chain(seen)
    }
}

/// What the session named in the head is held to. Requests that name none are not held to rules for sessions: an account for
/// all of them would be spent once and for all. What must hold whatever a client says of itself belongs on its key or user.
fn session(cx: &Exchange<'_>, principal: PrincipalId) -> Result<Option<Rc<Standing>>, Fault> {
    if !cx.serving.rules.limit_sessions() {
        return Ok(None);
    }
    let id: Label = cx.header(Known::ClaudeCodeSessionId).map(inline).unwrap_or_default();
    if id.is_empty() {
        return Ok(None);
    }
    let standing = cx.shard.standings.borrow_mut().of_session(principal, &id, cx.serving, now(cx));
    standing.map(Some).map_err(crowded)
}

fn now(cx: &Exchange<'_>) -> Moment {
    Moment { mono: cx.started, unix_seconds: cx.began_at().seconds() }
}

fn crowded(_: Crowded) -> Fault {
    let text = "this gateway keeps accounts for as many callers and sessions as it can; try again later, or with a session \
                that has begun already";
    Fault::new(Room::Gate, FaultKind::Overloaded, text)
}
