//! Changes of keys: to the audit first, then to the store, then to every shard; a revocation the other way round.

use super::plane::Plane;
use crate::{
    control::{
        changes::{Actor, Change, kinds},
        journal::{NotRecorded, Receipt},
        keys::{Issued, KeyDesk, KeyError, KeyView, NewKey, Rotation},
    },
    sys::clock,
};

impl KeyDesk for Plane {
    fn list(&self) -> Vec<KeyView> {
        let now = clock::unix().seconds();
        let config = self.config();
        let configured = config.keys.iter().map(|key| KeyView::configured(key, now));
        configured.chain(self.keys().views(now)).collect()
    }

    fn create(&self, asked: NewKey, by: &Actor) -> Result<Issued, KeyError> {
        let now = clock::unix();
        let drafted = self.keys().draft_create(&asked, &self.config().keys, now.seconds())?;
        let change = Change::new(kinds::KEY_CREATE, by, &drafted.id, now).after(&drafted);
        self.change(&change, not_recorded, || {
            let mut keys = self.keys();
            let issued = keys.create(asked, &self.config().keys, now.seconds())?;
            let version = self.publish_keys(&keys);
            tracing::info!(key = issued.key.id, by = issued.key.created_by, version, "key created");
            Ok(issued)
        })
    }

    fn rotate(&self, id: &str, rotation: Rotation, by: &Actor) -> Result<Issued, KeyError> {
        let now = clock::unix();
        let (before, after) = self.keys().draft_rotate(id, rotation, &self.config().keys, now.seconds())?;
        let change = Change::new(kinds::KEY_ROTATE, by, id, now).before(&before).after(&after);
        self.change(&change, not_recorded, || {
            let mut keys = self.keys();
            let issued = keys.rotate(id, rotation, &self.config().keys, now.seconds())?;
            let version = self.publish_keys(&keys);
            tracing::info!(key = id, previous_valid_until = issued.key.previous_valid_until, version, "key rotated");
            Ok(issued)
        })
    }

    /// A revocation waits for nothing: it is in force first, then handed in to the audit, then on disk.
    fn revoke(&self, id: &str, by: &Actor) -> Result<KeyView, KeyError> {
        let now = clock::unix();
        let _here = self.here().ok_or_else(|| not_recorded(NotRecorded::HandedOver))?;
        let mut keys = self.keys();
        let before = keys.view(id, now.seconds());
        let key = keys.revoke(id, &self.config().keys, now.seconds())?;
        let version = self.publish_keys(&keys);
        tracing::info!(key = id, version, "key revoked");
        let handed_in = self.submit(&Change::new(kinds::KEY_REVOKE, by, id, now).before(&before).after(&key));
        let saved = keys.save();
        drop(keys);
        let recorded = handed_in.and_then(Receipt::wait);
        let text = match (saved, recorded) {
            (Ok(()), Ok(())) => return Ok(key),
            (Err(KeyError::Unavailable(error)), _) => format!(
                "the key is revoked on every shard, but a restart would bring it back: {error}. Mend the disk and revoke it \
                 again"
            ),
            (Err(other), _) => return Err(other),
            (Ok(()), Err(error)) => format!("the key is revoked on every shard and in the store; but {error}"),
        };
        tracing::error!(key = id, "{text}");
        Err(KeyError::Unavailable(text))
    }
}

fn not_recorded(error: NotRecorded) -> KeyError {
    KeyError::Unavailable(format!("{error}; nothing was changed"))
}
