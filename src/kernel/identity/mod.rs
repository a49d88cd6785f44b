//! Who a token of an identity provider, or a client certificate, stands for.
//!
//! `jwks` reads the keys of an issuer, `token` verifies, `claims` turns what is verified into a caller, `certificate` reads the
//! names a client certificate carries. Invariants: pure, time comes in as an argument; of a token that is not verified only `iss`,
//! `alg` and `kid` are looked at, to find the key; a key says which algorithm it is for, never the token; no refusal repeats anything
//! that the token says. Deliberately absent: fetching keys (`control::identity`), and remembering verified tokens (`data::gate`).

pub mod certificate;
pub mod claims;
pub mod jwks;
pub mod refusal;
pub mod token;

#[cfg(test)]
pub(crate) mod tests;

use super::{keys::KeyDigest, policy::AllowList};
pub use certificate::{CertificateName, CertificateNames, CertificateRule};
pub use claims::{ClaimMap, ClaimPath, GroupTeam};
pub use jwks::{KeySet, VerifyingKey};
pub use refusal::Refusal;
pub use token::{TokenAlgorithm, Verified};

/// Names that the record carries of a caller. Bytes each; longer ones are refused, never cut, since two would become one.
pub const NAME_BYTES_MAX: usize = 256;

/// Who calls, as a token or a certificate says. Equal callers are one principal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// Id in the place of a key's; empty unless a claim is configured for it.
    pub key: String,
    /// Person or service.
    pub user: String,
    /// Team; empty for none.
    pub team: String,
    /// Project; empty for none.
    pub project: String,
}

/// Where the keys of an issuer come from.
#[derive(Clone)]
pub enum IssuerKeys {
    /// Secrets shared with the issuer, the newest first; tokens are HS256.
    Shared(Vec<VerifyingKey>),
    /// Public keys that the issuer publishes.
    Published {
        /// The keys; `None` as long as they could not be fetched.
        set: Option<std::sync::Arc<KeySet>>,
        /// When they were fetched last, Unix seconds.
        as_of: i64,
    },
}

/// An issuer of tokens.
pub struct Issuer {
    /// What its tokens have as `iss`.
    pub name: Box<str>,
    /// Digest of its name, by which running requests of its callers are known.
    pub mark: KeyDigest,
    /// One of these must be in `aud`.
    pub audiences: Box<[Box<str>]>,
    /// What its tokens may be signed with.
    pub algorithms: Box<[TokenAlgorithm]>,
    /// Its keys.
    pub keys: IssuerKeys,
    /// How far its clock and ours may be apart. Seconds.
    pub skew_seconds: i64,
    /// Which claim says what.
    pub claims: ClaimMap,
    /// Callers must be in one of these groups; empty for no such rule.
    pub allow_groups: Box<[Box<str>]>,
    /// The models its callers may use.
    pub models: AllowList,
}

/// All issuers of a snapshot, in the order of the configuration.
#[derive(Default)]
pub struct IssuerTable {
    issuers: Vec<Issuer>,
}

impl IssuerTable {
    /// The table; names are unique.
    pub fn new(issuers: Vec<Issuer>) -> Self {
        Self { issuers }
    }

    /// Are there any?
    pub fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// The issuer at a place.
    pub fn get(&self, place: usize) -> Option<&Issuer> {
        self.issuers.get(place)
    }

    /// The issuers that publish their keys, and when those were fetched last, Unix seconds; 0 for never.
    pub fn published(&self) -> impl Iterator<Item = (&str, i64)> {
        self.issuers.iter().filter_map(|issuer| match &issuer.keys {
            IssuerKeys::Published { as_of, .. } => Some((&*issuer.name, *as_of)),
            IssuerKeys::Shared(_) => None,
        })
    }

    /// Is there an issuer whose name has this digest?
    pub fn has_mark(&self, mark: KeyDigest) -> bool {
        self.issuers.iter().any(|issuer| issuer.mark == mark)
    }

    /// The place of the issuer with that name.
    pub fn place_of(&self, name: &str) -> Option<usize> {
        self.issuers.iter().position(|issuer| &*issuer.name == name)
    }
}

/// May this text be a name in the record: neither empty nor too long, no control characters, no space at its ends?
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.trim() == text && !text.chars().any(char::is_control)
}
