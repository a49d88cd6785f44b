//! Gateway keys: found by a keyed hash of their digest, compared in constant time. The secret itself is not kept.

use super::{ids::KeyIx, ids::PrincipalId, policy::AllowList, snapshot::BudgetIx, snapshot::RateLimitIx};
use aws_lc_rs::{constant_time, digest};
use std::{collections::HashMap, hash::BuildHasher, hash::RandomState};

/// SHA-256 of a credential.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// Hashes a credential as it came in.
    pub fn of(credential: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, credential).as_ref());
        Self(out)
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut out = [0; 32];
        for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).ok()?;
            if !pair.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            *byte = u8::from_str_radix(digits, 16).ok()?;
        }
        Some(Self(out))
    }
}

/// Who a caller is. Interned: equal principals share one id for the life of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Id of the key that was shown.
    pub key: String,
    /// Person or service.
    pub user: String,
    /// Team, if any.
    pub team: String,
    /// Project, if any.
    pub project: String,
}

/// What weir knows of a key.
pub struct Key {
    /// Whom it stands for.
    pub principal: PrincipalId,
    /// The names, for answers.
    pub id: Box<str>,
    /// SHA-256 of the secret.
    pub digest: KeyDigest,
    /// Which models it may use.
    pub models: AllowList,
    /// Unix second from which it is no longer valid.
    pub expires: Option<i64>,
    /// The budgets its requests are booked on.
    pub budgets: Box<[BudgetIx]>,
    /// The rate limits its requests are held to.
    pub rate_limits: Box<[RateLimitIx]>,
}

/// All keys of a snapshot.
pub struct KeyTable {
    keys: Vec<Key>,
    index: HashMap<u64, Vec<KeyIx>>,
    hasher: RandomState,
}

impl KeyTable {
    /// Builds the table. The hash that places a key is keyed at random, so nobody outside can aim at one bucket.
    pub fn new(keys: Vec<Key>) -> Self {
        let hasher = RandomState::new();
        let mut index: HashMap<u64, Vec<KeyIx>> = HashMap::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            index.entry(hasher.hash_one(key.digest.0)).or_default().push(KeyIx(place as u32));
        }
        Self { keys, index, hasher }
    }

    /// Finds the key of a credential. The final comparison takes the same time for right and wrong.
    pub fn find(&self, credential: &[u8]) -> Option<KeyIx> {
        let shown = KeyDigest::of(credential);
        let bucket = self.index.get(&self.hasher.hash_one(shown.0))?;
        bucket.iter().copied().find(|ix| {
            self.get(*ix).is_some_and(|key| constant_time::verify_slices_are_equal(&key.digest.0, &shown.0).is_ok())
        })
    }

    /// The key at a place.
    pub fn get(&self, ix: KeyIx) -> Option<&Key> {
        self.keys.get(ix.0 as usize)
    }

    /// All keys.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_secret_finds_no_key_and_the_right_one_finds_its_own() {
        let key = |secret: &str| Key {
            principal: PrincipalId(0),
            id: secret.into(),
            digest: KeyDigest::of(secret.as_bytes()),
            models: AllowList::everything(),
            expires: None,
            budgets: Box::default(),
            rate_limits: Box::default(),
        };
        let table = KeyTable::new((0..100).map(|n| key(&format!("key-{n}"))).collect());
        assert_eq!(table.find(b"key-42"), Some(KeyIx(42)));
        assert_eq!(table.find(b"key-420"), None);
        assert_eq!(table.find(b""), None);
    }

    #[test]
    fn a_digest_in_hex_is_read_only_when_whole() {
        let digest = KeyDigest::of(b"x");
        let hex: String = digest.0.iter().map(|b| format!("{b:02x}")).collect();
        assert!(KeyDigest::from_hex(&hex) == Some(digest));
        assert!(KeyDigest::from_hex(&hex[1..]).is_none());
        assert!(KeyDigest::from_hex(&hex.replace(&hex[..1], "+")).is_none());
    }
}
