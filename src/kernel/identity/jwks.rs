//! The keys that an issuer publishes (RFC 7517). Each key is good for one algorithm, decided here and not by the token, so that
//! a public key can never be taken for a shared secret.

use super::TokenAlgorithm;
use crate::kernel::limits::{JWKS_KEYS_MAX, TOKEN_KEYS_TRIED_MAX};
use jsonwebtoken::{
    DecodingKey, DecodingKeyKind,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// Smallest RSA modulus. Bytes (2048 bits, RFC 7518 §3.3).
const RSA_MODULUS_BYTES_MIN: usize = 256;

/// A key and the one algorithm it is for.
#[derive(Clone)]
pub struct VerifyingKey {
    /// Its name in the set.
    pub id: Option<Box<str>>,
    /// What it verifies.
    pub algorithm: TokenAlgorithm,
    /// The key; its `Debug` shows nothing.
    pub key: DecodingKey,
}

/// The keys of an issuer.
pub struct KeySet {
    keys: Vec<VerifyingKey>,
}

impl VerifyingKey {
    /// A secret shared with the issuer.
    pub fn shared(secret: &[u8]) -> Self {
        Self { id: None, algorithm: TokenAlgorithm::Hs256, key: DecodingKey::from_secret(secret) }
    }

    fn published(jwk: &Jwk) -> Option<Self> {
        let for_signatures =
            jwk.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
        let verifies = |ops: &Vec<KeyOperations>| ops.contains(&KeyOperations::Verify);
        if !for_signatures || !jwk.common.key_operations.as_ref().is_none_or(verifies) {
            return None;
        }
        let (algorithm, stated) = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => (TokenAlgorithm::Rs256, KeyAlgorithm::RS256),
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
                (TokenAlgorithm::Es256, KeyAlgorithm::ES256)
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                (TokenAlgorithm::EdDsa, KeyAlgorithm::EdDSA)
            }
            // A symmetric key that is published is no secret.
            _ => return None,
        };
        if jwk.common.key_algorithm.is_some_and(|written| written != stated) {
            return None;
        }
        let key = DecodingKey::from_jwk(jwk).ok()?;
        if let DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind()
            && n.iter().skip_while(|byte| **byte == 0).count() < RSA_MODULUS_BYTES_MIN
        {
            return None;
        }
        Some(Self { id: jwk.common.key_id.as_deref().map(Into::into), algorithm, key })
    }
}

impl KeySet {
    /// Reads a set. Keys that weir cannot use are passed over; a set without a usable one is an error, since taking it would lock
    /// everybody out.
    pub fn parse(json: &[u8]) -> Result<Self, &'static str> {
        let whole: Value = serde_json::from_slice(json).map_err(|_| "it is not JSON")?;
        let listed = whole.get("keys").and_then(Value::as_array).ok_or("it has no list \"keys\"")?;
        if listed.len() > JWKS_KEYS_MAX {
            return Err("it has too many keys");
        }
        let readable = listed.iter().filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
        let keys: Vec<VerifyingKey> = readable.filter_map(|jwk| VerifyingKey::published(&jwk)).collect();
        if keys.is_empty() {
            return Err("it has no key for signatures with RS256 (2048 bits or more), ES256 or EdDSA");
        }
        Ok(Self { keys })
    }

    /// How many keys it has.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// It never is.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Do its keys have names?
    pub(super) fn has_names(&self) -> bool {
        self.keys.iter().any(|key| key.id.is_some())
    }

    /// The keys a token may be signed with: the one it names, or, where token or set have no names, those for its algorithm.
    pub(super) fn candidates(&self, id: Option<&str>, algorithm: TokenAlgorithm) -> Vec<&VerifyingKey> {
        let named = id.filter(|_| self.has_names());
        let fits = |key: &&VerifyingKey| {
            key.algorithm == algorithm && named.is_none_or(|id| key.id.as_deref().is_some_and(|own| own == id))
        };
        self.keys.iter().filter(fits).take(TOKEN_KEYS_TRIED_MAX).collect()
    }
}
