//! The same turn asked for twice (`limits.duplicates`): a client that gave up and asked again while its first request runs.
//!
//! Two requests are the same when caller, session, model and body are; so nothing can be said before the body is whole, which
//! with a long upload is after its beginning has gone upstream. The body's digest is the audit's where that makes one. A
//! request that was refused never takes part. When nobody asked for it, none of this runs.

use crate::{
    data::{
        edge::{incoming::Exchange, tap::Tap},
        gate::Routed,
        settle::OpenRecord,
    },
    kernel::{
        fault::FaultKind,
        money::Nanos,
        record::{Operation, Outcome, Record, TurnMark},
        routing::hash,
        standing::Registry,
        turns::{Begun, Duplicates, Turn, TurnKey},
    },
    link::gauges::ShardGauges,
    wire::h1::Known,
};
use std::{cell::RefCell, rc::Rc, sync::Arc};

/// A request's part in this, from its routing to its end.
pub struct OwnTurn {
    registry: Arc<Registry>,
    policy: Duplicates,
    /// Caller, session and model, hashed.
    whose: u64,
    body: Rc<RefCell<Tap>>,
    turn: Arc<Turn>,
    admitted: bool,
    key: Option<TurnKey>,
    /// The same, asked for before.
    first: Option<Arc<Turn>>,
}

/// Looks whether a request that was routed can be recognised: only messages, and only within a session, since whoever asks the
/// same question several times on purpose does not do so as one session.
pub fn watch(cx: &Exchange<'_>, routed: &Routed<'_>, open: &OpenRecord) {
    let policy = cx.serving.limits.duplicates;
    if policy == Duplicates::Off || routed.identified.incoming.route.operation != Operation::Messages {
        return;
    }
    let Some(session) = cx.header(Known::ClaudeCodeSessionId).filter(|session| !session.is_empty()) else { return };
    let Some(body) = open.request_tap().or_else(|| fresh_tap(cx)) else { return };
    let caller = u64::from(routed.identified.caller.principal.0);
    let whose = hash::bytes(hash::bytes(caller, session), routed.model.as_bytes());
    let registry = cx.serving.registry.clone();
    let turn = Arc::new(Turn::new(cx.id));
    cx.link.takes_part(OwnTurn { registry, policy, whose, body, turn, admitted: false, key: None, first: None });
}

/// A digest of the body alone, if its beginning is still there.
fn fresh_tap(cx: &Exchange<'_>) -> Option<Rc<RefCell<Tap>>> {
    let tap = Rc::new(RefCell::new(Tap::of_hash()));
    cx.pipe.is_whole_so_far().then(|| {
        cx.pipe.tap(tap.clone());
        tap
    })
}

impl OwnTurn {
    /// The request will go upstream.
    pub fn admitted(&mut self) {
        self.admitted = true;
        self.look();
    }

    /// Its body may be whole by now.
    pub fn look(&mut self) {
        if !self.admitted || self.key.is_some() {
            return;
        }
        let Some(digest) = self.body.borrow().digest() else { return };
        let key = TurnKey::new(self.whose, &digest);
        let turns = &self.registry.turns;
        match turns.begin(key, &self.turn) {
            Begun::Untracked => return,
            Begun::First => {}
            Begun::Again(first) => {
                if self.policy == Duplicates::CancelFirst {
                    turns.cut(&first);
                }
                self.first = Some(first);
            }
        }
        self.key = Some(key);
    }

    /// Somebody asks for the same, and this one is to end.
    pub fn is_cut(&self) -> bool {
        self.turn.is_cut()
    }

    /// The request is over: says so in its record, and counts what it cost or saved.
    pub fn end(mut self, record: &mut Record, gauges: &ShardGauges) {
        if self.is_cut() && record.outcome != Outcome::Completed {
            record.refused_by = Some(FaultKind::Superseded.label());
        }
        let completed = record.outcome == Outcome::Completed;
        let follower = self.leave(record.cost, completed);
        let repeated_by = follower.as_ref().map(|by| by.id);
        let duplicate_of = self.first.as_ref().map(|first| first.id);
        if repeated_by.is_some() {
            // Whoever sent it has asked again: nobody was waiting for this answer.
            gauges.duplicates_lost_nanos.add(record.cost.0.max(0) as u64);
        }
        if duplicate_of.is_some() {
            gauges.duplicates.add(1);
        }
        let for_this = self.first.as_ref().and_then(|first| first.saved_for(&self.turn));
        let by_this = follower.as_ref().and_then(|by| self.turn.saved_for(by));
        for saved in for_this.into_iter().chain(by_this) {
            gauges.duplicates_saved_nanos.add(saved.0.max(0) as u64);
        }
        if duplicate_of.is_some() || repeated_by.is_some() {
            record.turn = Some(Box::new(TurnMark { duplicate_of, repeated_by }));
        }
    }

    fn leave(&mut self, cost: Nanos, completed: bool) -> Option<Arc<Turn>> {
        let key = self.key.take()?;
        self.registry.turns.end(key, &self.turn, cost, completed)
    }
}

impl Drop for OwnTurn {
    fn drop(&mut self) {
        // Only after a panic: its cost is not known.
        self.leave(Nanos::ZERO, false);
    }
}
