//! Changes of keys: to the store first, then to every shard; a revocation the other way round.

use super::plane::Plane;
use crate::{
    control::keys::{Issued, KeyDesk, KeyError, KeyView, NewKey, Rotation},
    sys::clock,
};

impl KeyDesk for Plane {
    fn list(&self) -> Vec<KeyView> {
        let now = clock::unix().seconds();
        let config = self.config();
        let configured = config.keys.iter().map(|key| KeyView::configured(key, now));
        configured.chain(self.keys().views(now)).collect()
    }

    fn create(&self, asked: NewKey) -> Result<Issued, KeyError> {
        let mut keys = self.keys();
        let issued = keys.create(asked, &self.config().keys, clock::unix().seconds())?;
        let version = self.publish_keys(&keys);
        tracing::info!(key = issued.key.id, by = issued.key.created_by, version, "key created");
        Ok(issued)
    }

    fn rotate(&self, id: &str, rotation: Rotation) -> Result<Issued, KeyError> {
        let mut keys = self.keys();
        let issued = keys.rotate(id, rotation, &self.config().keys, clock::unix().seconds())?;
        let version = self.publish_keys(&keys);
        tracing::info!(key = id, previous_valid_until = issued.key.previous_valid_until, version, "key rotated");
        Ok(issued)
    }

    fn revoke(&self, id: &str) -> Result<KeyView, KeyError> {
        let mut keys = self.keys();
        let key = keys.revoke(id, &self.config().keys, clock::unix().seconds())?;
        let version = self.publish_keys(&keys);
        tracing::info!(key = id, version, "key revoked");
        keys.save().map(|()| key).map_err(|error| match error {
            KeyError::Unavailable(error) => {
                let text = format!(
                    "the key is revoked on every shard, but a restart would bring it back: {error}. Mend the disk and revoke \
                     it again"
                );
                tracing::error!(key = id, "{text}");
                KeyError::Unavailable(text)
            }
            other => other,
        })
    }
}
