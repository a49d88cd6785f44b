//! Who is being served: the shard's connections by the secret of their running request, so that a revocation can end what is
//! under way. A request only notes the digest of its secret; nothing is looked up before somebody is revoked.

use super::Shard;
use crate::{
    data::{edge::incoming::ClientLink, gate::identify::Shown},
    kernel::{
        limits::REVOKED_LEAVE,
        snapshot::{OnRevoke, Snapshot},
        time::MonoUs,
    },
};
use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
};

/// Below so many connections nobody looks for those that are gone.
const TIDY_AT_LEAST: usize = 64;

/// The connections of a shard.
#[derive(Default)]
pub struct Callers {
    all: RefCell<Vec<Weak<ClientLink>>>,
    tidy_at: Cell<usize>,
    cuts_seen: Cell<u64>,
}

impl Callers {
    /// Watches a connection for as long as it lives. Those that are gone are forgotten whenever the list has doubled.
    pub fn watch(&self, link: &Rc<ClientLink>) {
        let mut all = self.all.borrow_mut();
        if all.len() >= self.tidy_at.get().max(TIDY_AT_LEAST) {
            all.retain(|link| link.strong_count() > 0);
            self.tidy_at.set(all.len() * 2);
        }
        all.push(Rc::downgrade(link));
    }

    /// When the request began that runs longest; none if none runs.
    pub fn oldest(&self) -> Option<MonoUs> {
        let links = self.all.borrow();
        let running = links.iter().filter_map(Weak::upgrade).filter(|link| link.walking.get());
        running.map(|link| link.since.get()).min()
    }

    /// The connections whose running request was asked with what counts no more: a secret that is gone, a token whose issuer
    /// is, a certificate where none says who calls.
    fn revoked(&self, serving: &Snapshot) -> Vec<Rc<ClientLink>> {
        let links = self.all.borrow();
        let gone = |link: &Rc<ClientLink>| match link.caller() {
            Some(Shown::Key(secret)) => serving.keys.find_digest(secret).is_none(),
            Some(Shown::Token(issuer)) => !serving.issuers.has_mark(issuer),
            Some(Shown::Certificate) => serving.certificates.is_none(),
            None => false,
        };
        links.iter().filter_map(Weak::upgrade).filter(gone).collect()
    }
}

/// Ends what is under way here and was asked for again, where only the newer request is to run. Nobody is looked at unless
/// somebody was cut since the last look.
pub fn end_superseded(shard: &Shard) {
    let cuts = shard.serving().registry.turns.cuts();
    if shard.callers.cuts_seen.replace(cuts) != cuts {
        let leave_by = shard.sweeper.in_(REVOKED_LEAVE);
        let links: Vec<_> = shard.callers.all.borrow().iter().filter_map(Weak::upgrade).collect();
        links.iter().for_each(|link| link.supersede_if_cut(leave_by));
    }
}

/// Ends what is under way for keys that the shard no longer serves, if that is what the operator wants.
pub fn end_revoked(shard: &Shard) {
    let serving = shard.serving();
    if serving.on_revoke == OnRevoke::End {
        let leave_by = shard.sweeper.in_(REVOKED_LEAVE);
        for link in shard.callers.revoked(&serving) {
            link.revoke(leave_by);
        }
    }
}
