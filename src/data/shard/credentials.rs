//! The shard's copies of minted credentials: looked at with every tick, so that a request finds the newest without asking.

use crate::{
    dialect::aws::sigv4::{AmzTime, SigningKey},
    kernel::{
        credential::{AwsKeys, CredentialSlot, Grant, SigningScope},
        snapshot::Upstream,
    },
};
use std::{
    cell::RefCell,
    rc::Rc,
    sync::{Arc, Weak},
};

/// A credential as a shard has it.
pub struct Held {
    /// What was minted.
    pub grant: Arc<Grant>,
    key: RefCell<Option<Rc<SigningKey>>>,
}

impl Held {
    /// The key that signs on the day of `time`; derived once a day.
    pub fn signing_key(&self, keys: &AwsKeys, scope: &SigningScope, time: AmzTime) -> Rc<SigningKey> {
        let mut kept = self.key.borrow_mut();
        match kept.as_ref().filter(|key| key.is_for(time)) {
            Some(key) => key.clone(),
            None => kept.insert(Rc::new(SigningKey::derive(&keys.secret_access_key, scope, time))).clone(),
        }
    }
}

struct Entry {
    slot: Weak<CredentialSlot>,
    held: Option<Rc<Held>>,
}

/// All of them. There are as many as upstreams, so a list is enough.
#[derive(Default)]
pub struct CredentialBook {
    entries: Vec<Entry>,
}

impl CredentialBook {
    /// Follows the upstreams of a new snapshot too. What older ones had is followed as long as anybody serves by it.
    pub fn follow(&mut self, upstreams: &[Upstream]) {
        for minted in upstreams.iter().filter_map(|upstream| upstream.credential.minted.as_ref()) {
            if !self.entries.iter().any(|entry| std::ptr::eq(entry.slot.as_ptr(), Arc::as_ptr(&minted.slot))) {
                self.entries.push(Entry { slot: Arc::downgrade(&minted.slot), held: None });
            }
        }
        self.tick();
    }

    /// Takes what is newer, and forgets what nobody serves by.
    pub fn tick(&mut self) {
        self.entries.retain_mut(|entry| {
            let Some(slot) = entry.slot.upgrade() else { return false };
            let have = entry.held.as_ref().map_or(0, |held| held.grant.version);
            if let Some(grant) = slot.newer_than(have) {
                entry.held = Some(Rc::new(Held { grant, key: RefCell::default() }));
            }
            true
        });
    }

    /// The newest that has been seen, if it is valid at a moment.
    pub fn valid(&self, slot: &Arc<CredentialSlot>, unix_seconds: i64) -> Option<Rc<Held>> {
        let entry = self.entries.iter().find(|entry| std::ptr::eq(entry.slot.as_ptr(), Arc::as_ptr(slot)))?;
        entry.held.clone().filter(|held| held.grant.is_valid(unix_seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{credential::Shown, secret::Secret};

    fn book(slot: &Arc<CredentialSlot>) -> CredentialBook {
        let entries = vec![Entry { slot: Arc::downgrade(slot), held: None }];
        CredentialBook { entries }
    }

    #[test]
    fn an_expired_or_forgotten_credential_is_shown() {
        let slot = Arc::new(CredentialSlot::default());
        let mut book = book(&slot);
        book.tick();
        assert!(book.valid(&slot, 0).is_none());
        slot.publish(Shown::bearer("a"), Some(100));
        assert!(book.valid(&slot, 0).is_none(), "only a tick takes it");
        book.tick();
        assert_eq!(book.valid(&slot, 99).map(|held| held.grant.version), Some(1));
        assert!(book.valid(&slot, 100).is_none());
        let other = Arc::new(CredentialSlot::default());
        assert!(book.valid(&other, 0).is_none());
        drop(slot);
        book.tick();
        assert!(book.entries.is_empty());
    }

    #[test]
    fn a_signing_key_is_derived_for_every_request_or_kept_over_midnight() {
        let keys =
            AwsKeys { access_key_id: "id".into(), secret_access_key: Secret::new("s".into()), session_token: None };
        let scope = SigningScope { region: "r".into(), service: "bedrock" };
        let grant = Grant { version: 1, expires_at: None, shown: Shown::Keys(keys.clone()) };
        let held = Held { grant: Arc::new(grant), key: RefCell::default() };
        let first = held.signing_key(&keys, &scope, AmzTime::of(0));
        assert!(Rc::ptr_eq(&first, &held.signing_key(&keys, &scope, AmzTime::of(86_399))));
        assert!(!Rc::ptr_eq(&first, &held.signing_key(&keys, &scope, AmzTime::of(86_400))));
    }
}
