//! Gateway keys: found by a keyed hash of their digest, compared in constant time. The secret itself is not kept.

use super::{
    ids::{KeyIx, Mixing, PrincipalId},
    policy::AllowList,
    routing::hash,
    snapshot::{BudgetIx, RateLimitIx},
};
use aws_lc_rs::{constant_time, digest};
use ipnet::IpNet;
use std::{collections::HashMap, hash::BuildHasher, hash::RandomState};

/// SHA-256 of a credential.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl KeyDigest {
    /// Hashes a credential as it came in.
    pub fn of(credential: &[u8]) -> Self {
        let mut out = [0; 32];
        out.copy_from_slice(digest::digest(&digest::SHA256, credential).as_ref());
        Self(out)
    }

    /// 64 hexadecimal digits, as `from_hex` reads them.
    pub fn to_hex(self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).filter_map(|n| char::from_digit(n.into(), 16)).collect()
    }

    /// Reads 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let text = text.as_bytes();
        if text.len() != 64 {
            return None;
        }
        let mut out = [0; 32];
        let digit = |byte: u8| char::from(byte).to_digit(16);
        for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
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

/// The secret that a rotation has replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Retiring {
    /// SHA-256 of it.
    pub digest: KeyDigest,
    /// Unix second from which it no longer opens anything. Running requests that began with it may finish all the same.
    pub until: i64,
}

/// A key, found by one of its secrets.
#[derive(Clone, Copy)]
pub struct Found {
    /// Which key.
    pub key: KeyIx,
    /// SHA-256 of the secret that was shown.
    pub digest: KeyDigest,
    /// Unix second from which that secret no longer counts, if it is one that was replaced.
    pub until: Option<i64>,
}

/// What weir knows of a key.
pub struct Key {
    /// Whom it stands for.
    pub principal: PrincipalId,
    /// The names, for answers.
    pub id: Box<str>,
    /// SHA-256 of the secret.
    pub digest: KeyDigest,
    /// The secret before this one, if there was one.
    pub retiring: Option<Retiring>,
    /// Which models it may use.
    pub models: AllowList,
    /// Unix second from which it is no longer valid.
    pub expires: Option<i64>,
    /// Its holder may say whom it speaks for, from one of these addresses. It takes both, the secret and the place: either
    /// alone is too easily had (a leaked key; a shared proxy or NAT).
    pub trusted_peers: Box<[IpNet]>,
    /// The budgets its requests are booked on.
    pub budgets: Box<[BudgetIx]>,
    /// The rate limits its requests are held to.
    pub rate_limits: Box<[RateLimitIx]>,
}

/// All keys of a snapshot.
pub struct KeyTable {
    keys: Vec<Key>,
    index: HashMap<u64, Vec<KeyIx>, Mixing>,
    seed: u64,
}

/// A digest's bits are as good as any hash's; the seed is what nobody outside knows.
fn bucket(seed: u64, digest: KeyDigest) -> u64 {
    let [first, second, ..] = *digest.0.as_chunks::<8>().0 else { return seed };
    hash::mix(seed ^ u64::from_le_bytes(first), u64::from_le_bytes(second))
}

impl KeyTable {
    /// Builds the table. The hash that places a key is keyed at random, so nobody outside can aim at one bucket.
    pub fn new(keys: Vec<Key>) -> Self {
        let seed = RandomState::new().hash_one(0u64);
        let mut index: HashMap<u64, Vec<KeyIx>, Mixing> =
            HashMap::with_capacity_and_hasher(keys.len(), Mixing::default());
        for (place, key) in keys.iter().enumerate() {
            for digest in [Some(key.digest), key.retiring.map(|old| old.digest)].into_iter().flatten() {
                index.entry(bucket(seed, digest)).or_default().push(KeyIx(place as u32));
            }
        }
        Self { keys, index, seed }
    }

    /// Finds the key of a credential. The final comparison takes the same time for right and wrong.
    pub fn find(&self, credential: &[u8]) -> Option<Found> {
        self.find_digest(KeyDigest::of(credential))
    }

    /// Finds the key that has or had a secret of this digest.
    pub fn find_digest(&self, shown: KeyDigest) -> Option<Found> {
        let same = |digest: &KeyDigest| constant_time::verify_slices_are_equal(&digest.0, &shown.0).is_ok();
        let bucket = self.index.get(&bucket(self.seed, shown))?;
        bucket.iter().copied().find_map(|ix| {
            let key = self.get(ix)?;
            if same(&key.digest) {
                return Some(Found { key: ix, digest: shown, until: None });
            }
            let old = key.retiring.filter(|old| same(&old.digest))?;
            Some(Found { key: ix, digest: shown, until: Some(old.until) })
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
            retiring: None,
            models: AllowList::everything(),
            expires: None,
            trusted_peers: Box::default(),
            budgets: Box::default(),
            rate_limits: Box::default(),
        };
        let table = KeyTable::new((0..100).map(|n| key(&format!("key-{n}"))).collect());
        let find = |secret: &[u8]| table.find(secret).map(|found| found.key);
        assert_eq!(find(b"key-42"), Some(KeyIx(42)));
        assert_eq!(find(b"key-420"), None);
        assert_eq!(find(b""), None);
    }

    #[test]
    fn a_replaced_secret_is_taken_for_the_new_one_or_for_a_stranger() {
        let [old, new] = [b"old", b"new"].map(|secret| KeyDigest::of(secret));
        let table = KeyTable::new(vec![Key {
            principal: PrincipalId(0),
            id: "k".into(),
            digest: new,
            retiring: Some(Retiring { digest: old, until: 7 }),
            models: AllowList::everything(),
            expires: None,
            trusted_peers: Box::default(),
            budgets: Box::default(),
            rate_limits: Box::default(),
        }]);
        let find = |secret: &[u8]| table.find(secret).map(|found| (found.key, found.until));
        assert_eq!(find(b"new"), Some((KeyIx(0), None)));
        assert_eq!(find(b"old"), Some((KeyIx(0), Some(7))));
        assert!(table.find_digest(old).is_some() && table.find_digest(KeyDigest::of(b"other")).is_none());
    }

    #[test]
    fn a_digest_in_hex_is_read_only_when_whole() {
        let digest = KeyDigest::of(b"x");
        let hex = digest.to_hex();
        assert!(KeyDigest::from_hex(&hex) == Some(digest));
        assert!(KeyDigest::from_hex(&hex[1..]).is_none());
        assert!(KeyDigest::from_hex(&hex.replace(&hex[..1], "+")).is_none());
    }
}
