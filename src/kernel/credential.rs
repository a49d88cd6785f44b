//! What weir shows its upstreams: header lines that never change, tokens that are minted anew, keys that sign.
//!
//! A minted credential goes from the control plane to the shards through its `CredentialSlot`, by version: a shard looks at
//! the version at every tick and takes the lock only when there is something new, so no request ever waits for one. The way
//! back is two numbers: which version an upstream has refused, and by how much its clock differs from ours.

use super::secret::Secret;
use parking_lot::Mutex;
use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicU64, Ordering::SeqCst},
};

/// How an upstream learns who asks.
#[derive(Clone)]
pub struct Credential {
    /// Header lines that never change, each with its line end: configured headers, and the credential where it is a fixed one.
    pub lines: Secret<Box<[u8]>>,
    /// The names of those lines, lower case: what a client sends under one of them stays behind.
    pub names: Box<[Box<str>]>,
    /// What the control plane mints, if anything.
    pub minted: Option<Minted>,
}

impl Credential {
    /// A credential of fixed headers; names in lower case.
    pub fn fixed(headers: &[(&str, &Secret<String>)]) -> Self {
        let mut lines = Vec::new();
        for (name, value) in headers {
            lines.extend_from_slice(name.as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(value.expose().as_bytes());
            lines.extend_from_slice(b"\r\n");
        }
        let names = headers.iter().map(|(name, _)| Box::from(*name)).collect();
        Self { lines: Secret::new(lines.into()), names, minted: None }
    }

    /// Does a fixed header stand in for the client's of this name?
    pub fn replaces(&self, name: &[u8]) -> bool {
        self.names.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The body must be hashed before its first byte goes up.
    pub fn signs(&self) -> bool {
        self.minted.as_ref().is_some_and(|minted| minted.signing.is_some())
    }
}

/// A credential that changes.
#[derive(Clone)]
pub struct Minted {
    /// Where the newest stands.
    pub slot: Arc<CredentialSlot>,
    /// What signatures are made for; `None` for tokens.
    pub signing: Option<SigningScope>,
}

/// What a signature of AWS is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningScope {
    /// The endpoint's region.
    pub region: Box<str>,
    /// The service's signing name.
    pub service: &'static str,
}

/// Keys that sign requests to AWS.
#[derive(Clone)]
pub struct AwsKeys {
    /// Travels in the open.
    pub access_key_id: Box<str>,
    /// Never travels.
    pub secret_access_key: Secret<Box<str>>,
    /// Of temporary keys.
    pub session_token: Option<Secret<Box<str>>>,
}

/// What was minted.
#[derive(Clone)]
pub enum Shown {
    /// Header lines, each with its line end.
    Lines(Secret<Box<[u8]>>),
    /// Keys to sign with.
    Keys(AwsKeys),
}

impl Shown {
    /// `Authorization: Bearer`.
    pub fn bearer(token: &str) -> Self {
        Self::Lines(Secret::new(format!("authorization: Bearer {token}\r\n").into_bytes().into()))
    }
}

/// One version of a minted credential.
pub struct Grant {
    /// Grows with every publication.
    pub version: u64,
    /// Unix second from which it is no longer valid.
    pub expires_at: Option<i64>,
    /// What is shown.
    pub shown: Shown,
}

impl Grant {
    /// May it be shown at a moment?
    pub fn is_valid(&self, unix_seconds: i64) -> bool {
        self.expires_at.is_none_or(|end| unix_seconds < end)
    }
}

/// The place where the newest version of a minted credential stands, shared by the control plane and all shards.
#[derive(Default)]
pub struct CredentialSlot {
    version: AtomicU64,
    latest: Mutex<Option<Arc<Grant>>>,
    refused: AtomicU64,
    skew_seconds: AtomicI64,
}

impl CredentialSlot {
    /// Makes a credential the newest.
    pub fn publish(&self, shown: Shown, expires_at: Option<i64>) -> u64 {
        let mut latest = self.latest.lock();
        let version = self.version.load(SeqCst) + 1;
        *latest = Some(Arc::new(Grant { version, expires_at, shown }));
        self.version.store(version, SeqCst);
        version
    }

    /// The newest, whatever its age.
    pub fn latest(&self) -> Option<Arc<Grant>> {
        self.latest.lock().clone()
    }

    /// The newest, if it is newer than the version at hand.
    pub fn newer_than(&self, version: u64) -> Option<Arc<Grant>> {
        if self.version.load(SeqCst) > version { self.latest() } else { None }
    }

    /// An upstream has refused a version.
    pub fn refuse(&self, version: u64) {
        self.refused.fetch_max(version, SeqCst);
    }

    /// The newest version that was refused; 0 for none.
    pub fn refused(&self) -> u64 {
        self.refused.load(SeqCst)
    }

    /// The upstream's clock is ahead of ours by so many seconds.
    pub fn learn_skew(&self, seconds: i64) {
        self.skew_seconds.store(seconds, SeqCst);
    }

    /// By how many seconds the upstream's clock is ahead of ours, as far as is known.
    pub fn skew_seconds(&self) -> i64 {
        self.skew_seconds.load(SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_misses_a_new_credential_or_takes_one_twice() {
        let slot = CredentialSlot::default();
        assert!(slot.newer_than(0).is_none());
        assert_eq!(slot.publish(Shown::bearer("a"), Some(10)), 1);
        let first = slot.newer_than(0).expect("a first one");
        assert!(first.is_valid(9) && !first.is_valid(10));
        assert!(slot.newer_than(first.version).is_none());
        slot.publish(Shown::bearer("b"), None);
        assert_eq!(slot.newer_than(1).map(|grant| (grant.version, grant.is_valid(i64::MAX))), Some((2, true)));
    }

    #[test]
    fn a_late_refusal_of_an_old_version_counts_against_the_new_one() {
        let slot = CredentialSlot::default();
        slot.refuse(3);
        slot.refuse(2);
        assert_eq!(slot.refused(), 3);
    }

    #[test]
    fn a_fixed_credential_is_no_whole_header_lines() {
        let key = Secret::new("v".to_owned());
        let credential = Credential::fixed(&[("x-api-key", &key), ("x-tenant", &key)]);
        assert_eq!(&**credential.lines.expose(), b"x-api-key: v\r\nx-tenant: v\r\n");
        assert!(credential.replaces(b"X-Tenant") && !credential.replaces(b"x-tenants"));
    }
}
