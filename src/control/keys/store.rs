//! The keys in memory, and their changes.

use super::{Issued, KeyError, KeyView, NewKey, Rotation, StoreError, entry::MadeKey, file, secret::draw};
use crate::{
    control::config::{ConfigError, KeyConfig},
    kernel::{
        keys::{KeyDigest, Retiring},
        limits::MADE_KEYS_MAX,
        secret::Secret,
    },
};
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

/// Who makes keys so far.
const ADMIN: &str = "admin";

/// All keys made at run time.
pub struct KeyStore {
    directory: PathBuf,
    keys: BTreeMap<String, MadeKey>,
}

impl KeyStore {
    /// Reads the keys of a store. The directory exists and belongs to this process: the journal holds its lock.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        Ok(Self { keys: file::load(directory)?, directory: directory.into() })
    }

    /// The keys that open the gateway, or say why they no longer do: all but the revoked ones.
    pub fn callers(&self) -> Vec<KeyConfig> {
        self.keys.values().filter(|key| key.revoked_at.is_none()).map(MadeKey::caller).collect()
    }

    /// All keys as they stand, by id.
    pub fn views(&self, now: i64) -> Vec<KeyView> {
        self.keys.values().map(|key| key.view(now)).collect()
    }

    /// What configured keys may not share with keys made at run time: an id, since records and budgets go by it, or a secret.
    pub fn clashes(&self, configured: &[KeyConfig]) -> Vec<ConfigError> {
        let live = || self.keys.values().filter(|key| key.revoked_at.is_none());
        let digests =
            live().flat_map(|key| [Some(key.digest), key.previous.map(|old| old.digest)].map(|d| (d, &key.id)));
        let by_digest: HashMap<[u8; 32], &String> = digests.filter_map(|(digest, id)| Some((digest?.0, id))).collect();
        let mut clashes = Vec::new();
        for (place, key) in configured.iter().enumerate() {
            if self.keys.get(&key.id).is_some_and(|made| made.revoked_at.is_none()) {
                let mend = "choose another id, or revoke that one first";
                clashes.push(ConfigError::new(format!("key[{place}].id"), "is the id of a key made at run time", mend));
            }
            if let Some(id) = key.digest.and_then(|digest| by_digest.get(&digest.0)) {
                let message = format!("has the secret of key \"{id}\", which was made at run time");
                clashes.push(ConfigError::new(format!("key[{place}]"), message, "give each key its own secret"));
            }
        }
        clashes
    }

    /// A key as it stands.
    pub fn view(&self, id: &str, now: i64) -> Option<KeyView> {
        self.keys.get(id).map(|key| key.view(now))
    }

    /// What `create` would make now, for the audit, which is told before. It may still fail.
    pub fn draft_create(&self, asked: &NewKey, configured: &[KeyConfig], now: i64) -> Result<KeyView, KeyError> {
        self.check_new(asked, configured)?;
        Ok(made_of(asked.clone(), KeyDigest([0; 32]), now).view(now))
    }

    /// How a key stands, and how it would after `rotate` now.
    pub fn draft_rotate(
        &self,
        id: &str,
        rotation: Rotation,
        configured: &[KeyConfig],
        now: i64,
    ) -> Result<(KeyView, KeyView), KeyError> {
        let before = self.rotatable(id, configured, now)?;
        Ok((before.view(now), rotated(before, rotation, KeyDigest([0; 32]), now).view(now)))
    }

    /// Makes a key.
    pub fn create(&mut self, asked: NewKey, configured: &[KeyConfig], now: i64) -> Result<Issued, KeyError> {
        self.check_new(&asked, configured)?;
        let forgotten = self.make_room()?;
        let (secret, digest) = self.new_secret(configured)?;
        let key = made_of(asked, digest, now);
        let view = key.view(now);
        self.keys.insert(key.id.clone(), key);
        if let Err(error) = self.save() {
            self.keys.remove(&view.id);
            self.keys.extend(forgotten.map(|key| (key.id.clone(), key)));
            return Err(error);
        }
        Ok(Issued { key: view, secret })
    }

    /// Gives a key a new secret. The one before works on for the grace; one that was still in an earlier grace ends now.
    pub fn rotate(
        &mut self,
        id: &str,
        rotation: Rotation,
        configured: &[KeyConfig],
        now: i64,
    ) -> Result<Issued, KeyError> {
        let before = self.rotatable(id, configured, now)?.clone();
        let (secret, digest) = self.new_secret(configured)?;
        let key = rotated(&before, rotation, digest, now);
        let view = key.view(now);
        self.keys.insert(id.to_owned(), key);
        if let Err(error) = self.save() {
            self.keys.insert(id.to_owned(), before);
            return Err(error);
        }
        Ok(Issued { key: view, secret })
    }

    /// Revokes a key, in memory: a leaked secret must wait neither for a slow disk nor for a full one. `save` is to follow as
    /// soon as the shards know. Doing so twice is no error.
    pub fn revoke(&mut self, id: &str, configured: &[KeyConfig], now: i64) -> Result<KeyView, KeyError> {
        self.changeable(id, configured)?;
        let Some(key) = self.keys.get_mut(id) else { return Err(KeyError::Unknown) };
        key.revoked_at.get_or_insert(now);
        Ok(key.view(now))
    }

    fn check_new(&self, asked: &NewKey, configured: &[KeyConfig]) -> Result<(), KeyError> {
        if configured.iter().any(|key| key.id == asked.id) {
            return Err(KeyError::conflict(format!(
                "\"{}\" is a key of the configuration file; choose another id",
                asked.id
            )));
        }
        if let Some(key) = self.keys.get(&asked.id) {
            let whose = if key.revoked_at.is_some() { "a revoked key, whose records go by it" } else { "another key" };
            return Err(KeyError::conflict(format!("\"{}\" is the id of {whose}; choose another id", asked.id)));
        }
        Ok(())
    }

    fn rotatable(&self, id: &str, configured: &[KeyConfig], now: i64) -> Result<&MadeKey, KeyError> {
        let before = self.changeable(id, configured)?;
        if before.revoked_at.is_some() {
            return Err(KeyError::conflict(format!("\"{id}\" is revoked; create another key")));
        }
        if before.is_expired(now) {
            return Err(KeyError::conflict(format!("\"{id}\" has expired; create another key")));
        }
        Ok(before)
    }

    fn changeable(&self, id: &str, configured: &[KeyConfig]) -> Result<&MadeKey, KeyError> {
        match self.keys.get(id) {
            Some(key) => Ok(key),
            None if configured.iter().any(|key| key.id == id) => Err(KeyError::conflict(format!(
                "\"{id}\" is a key of the configuration file: change or remove its [[key]] there, then send SIGHUP or POST \
                 /admin/v1/reload"
            ))),
            None => Err(KeyError::Unknown),
        }
    }

    /// At the cap the key that was revoked first makes room; what it did stays in the journal.
    fn make_room(&mut self) -> Result<Option<MadeKey>, KeyError> {
        if self.keys.len() < MADE_KEYS_MAX {
            return Ok(None);
        }
        let revoked = self.keys.values().filter_map(|key| Some((key.revoked_at?, key.id.clone())));
        match revoked.min() {
            Some((_, id)) => Ok(self.keys.remove(&id)),
            None => Err(KeyError::conflict(format!("there are {MADE_KEYS_MAX} keys already; revoke one first"))),
        }
    }

    fn new_secret(&self, configured: &[KeyConfig]) -> Result<(Secret<String>, KeyDigest), KeyError> {
        let secret = draw().ok_or_else(|| KeyError::Unavailable("no randomness from the system".to_owned()))?;
        let digest = KeyDigest::of(secret.expose().as_bytes());
        if self.keys.values().any(|key| key.has(digest)) || configured.iter().any(|key| key.digest == Some(digest)) {
            return Err(KeyError::Unavailable("the secret drawn is another key's; ask again".to_owned()));
        }
        Ok((secret, digest))
    }

    /// Writes all keys down. Returns when they are on disk.
    pub fn save(&self) -> Result<(), KeyError> {
        file::save(&self.directory, self.keys.values()).map_err(|error| {
            let path = self.directory.join(file::FILE_NAME);
            KeyError::Unavailable(format!("{} cannot be written: {error}", path.display()))
        })
    }
}

fn made_of(asked: NewKey, digest: KeyDigest, now: i64) -> MadeKey {
    MadeKey {
        id: asked.id,
        digest,
        previous: None,
        user: asked.user,
        team: asked.team,
        project: asked.project,
        models: asked.models,
        expires: asked.expires,
        created_at: now,
        created_by: ADMIN.to_owned(),
        revoked_at: None,
    }
}

fn rotated(before: &MadeKey, rotation: Rotation, digest: KeyDigest, now: i64) -> MadeKey {
    // Whole seconds, rounded up: less than a second is still a grace.
    let until = now.saturating_add(rotation.grace.as_millis().div_ceil(1000) as i64);
    let previous = (!rotation.grace.is_zero()).then_some(Retiring { digest: before.digest, until });
    MadeKey { digest, previous, ..before.clone() }
}
