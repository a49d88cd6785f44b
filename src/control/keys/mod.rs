//! Keys made at run time: what the admin API creates, rotates and revokes, kept in `keys.json` in the store.
//!
//! Invariants: a secret is given out once and never kept, only its SHA-256 is; a change is on disk before whoever asked for
//! it is told; the file is replaced whole, so a crash leaves the old one or the new one. A revocation counts even while the disk
//! is slow or refuses it. Ids are shared with the configured keys and never mean two keys. Deliberately absent: publishing, which is
//! the business of whoever holds the store, and any cache: a shard has the whole table in its snapshot.

mod entry;
mod error;
mod file;
mod request;
mod secret;
mod store;

#[cfg(test)]
mod tests;

pub use entry::{KeyState, KeyView};
pub use error::{FieldError, KeyError};
pub use file::StoreError;
pub use request::{NewKey, Rotation};
pub use store::KeyStore;

use super::changes::Actor;
use crate::kernel::secret::Secret;

/// A key, and the secret that nobody will see again.
pub struct Issued {
    /// The key.
    pub key: KeyView,
    /// Its secret.
    pub secret: Secret<String>,
}

/// Whoever can change keys and sees to it that every shard learns of it. Calls may wait for the disk.
pub trait KeyDesk: Send + Sync {
    /// All keys, configured ones first.
    fn list(&self) -> Vec<KeyView>;

    /// Makes a key.
    fn create(&self, asked: NewKey, by: &Actor) -> Result<Issued, KeyError>;

    /// Gives a key a new secret; the old one works on for the grace.
    fn rotate(&self, id: &str, rotation: Rotation, by: &Actor) -> Result<Issued, KeyError>;

    /// Revokes a key. Doing so twice is no error.
    fn revoke(&self, id: &str, by: &Actor) -> Result<KeyView, KeyError>;
}
