//! Verification of a JWT: structure, issuer, key, signature, time, audience, claims, in this order.

use super::{Caller, Issuer, IssuerKeys, IssuerTable, Refusal, VerifyingKey};
use crate::kernel::limits::{TOKEN_BYTES_MAX, TOKEN_KEYS_FRESH};
use jsonwebtoken::{Algorithm, TokenData, crypto::verify, dangerous::insecure_decode, errors::ErrorKind};
use serde_json::Value;

/// What tokens may be signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl TokenAlgorithm {
    /// All of them, by the name in configuration and token.
    pub const ALL: [(&'static str, Self); 4] =
        [("HS256", Self::Hs256), ("RS256", Self::Rs256), ("ES256", Self::Es256), ("EdDSA", Self::EdDsa)];
    /// Those with a public key, so that an issuer can publish it.
    pub const PUBLIC: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in configuration and token.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    fn of(algorithm: Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::HS256 => Some(Self::Hs256),
            Algorithm::RS256 => Some(Self::Rs256),
            Algorithm::ES256 => Some(Self::Es256),
            Algorithm::EdDSA => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A token that is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Place of its issuer in the table.
    pub issuer: usize,
    /// Whom it stands for.
    pub caller: Caller,
    /// Unix second from which it no longer counts, skew included.
    pub until: i64,
}

/// A token that is not, and whose issuer it claims to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub why: Refusal,
    /// Place of the issuer, if there is one of that name.
    pub issuer: Option<usize>,
}

/// Has a credential the shape of a JWT? Every JWT begins with an encoded `{"`.
pub fn looks_like_token(credential: &[u8]) -> bool {
    credential.starts_with(b"eyJ") && credential.contains(&b'.')
}

impl IssuerTable {
    /// Verifies a token at a moment.
    pub fn verify(&self, token: &[u8], now_seconds: i64) -> Result<Verified, Refused> {
        let stranger = |why| Refused { why, issuer: None };
        let (place, unverified) = self.claimed(token).map_err(stranger)?;
        let refused = |why| Refused { why, issuer: Some(place) };
        let issuer = self.get(place).ok_or_else(|| stranger(Refusal::UnknownIssuer))?;
        let claims = issuer.signed(token, unverified, now_seconds).map_err(refused)?;
        let until = issuer.in_time(&claims, now_seconds).map_err(refused)?;
        issuer.meant_for_us(&claims).map_err(refused)?;
        let caller = issuer.caller(&claims).map_err(refused)?;
        Ok(Verified { issuer: place, caller, until })
    }

    /// Whose token it claims to be, and how it claims to be signed. Nothing else of it is looked at before it is verified.
    fn claimed(&self, token: &[u8]) -> Result<(usize, TokenData<Value>), Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let unverified = insecure_decode::<Value>(token).map_err(|error| match error.kind() {
            // The header is read first, and an algorithm that is none of the library's does not parse.
            ErrorKind::Json(json) if json.to_string().starts_with("unknown variant") => Refusal::Unsigned,
            _ => Refusal::Malformed,
        })?;
        if unverified.header.crit.is_some() {
            return Err(Refusal::Critical);
        }
        let name = unverified.claims.get("iss").and_then(Value::as_str).ok_or(Refusal::NoIssuer)?;
        let place = self.place_of(name).ok_or(Refusal::UnknownIssuer)?;
        Ok((place, unverified))
    }
}

impl Issuer {
    /// The claims, once a key of the issuer's has signed them.
    fn signed(&self, token: &[u8], unverified: TokenData<Value>, now_seconds: i64) -> Result<Value, Refusal> {
        let header = &unverified.header;
        let algorithm = TokenAlgorithm::of(header.alg).filter(|algorithm| self.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or_else(|| {
            let names: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
            Refusal::Algorithm(names.join(", ").into())
        })?;
        let (candidates, unknown) = match &self.keys {
            IssuerKeys::Shared(secrets) => (secrets.iter().collect(), Refusal::Signature),
            IssuerKeys::Published { set: None, .. } => return Err(Refusal::NoKeys),
            IssuerKeys::Published { set: Some(set), as_of } => {
                let stale = now_seconds.saturating_sub(*as_of) >= TOKEN_KEYS_FRESH.as_secs() as i64;
                let unknown = Refusal::UnknownKey { stale };
                let candidates: Vec<&VerifyingKey> = set.candidates(header.kid.as_deref(), algorithm);
                if candidates.is_empty() {
                    return Err(unknown);
                }
                // Without a `kid` nobody knows whether it is the key or the signature that is wrong.
                let named = header.kid.is_some() && set.has_names();
                (candidates, if named { Refusal::Signature } else { unknown })
            }
        };
        let dot = token.iter().rposition(|byte| *byte == b'.').ok_or(Refusal::Malformed)?;
        let (message, signature) = (&token[..dot], std::str::from_utf8(&token[dot + 1..]));
        let signature = signature.map_err(|_| Refusal::Malformed)?;
        // The claims were read from these very bytes, so with the signature over them they are verified.
        let signed = |key: &VerifyingKey| verify(signature, message, &key.key, header.alg).unwrap_or(false);
        let good = candidates.into_iter().any(|key| key.algorithm == algorithm && signed(key));
        if good { Ok(unverified.claims) } else { Err(unknown) }
    }

    /// When it ends, if it has begun and not ended.
    fn in_time(&self, claims: &Value, now: i64) -> Result<i64, Refusal> {
        let ends = claims.get("exp").and_then(seconds).ok_or(Refusal::NoExpiry)?;
        let until = ends.saturating_add(self.skew_seconds);
        if until <= now {
            return Err(Refusal::Expired { ago: now.saturating_sub(ends) });
        }
        for claim in ["nbf", "iat"] {
            let Some(value) = claims.get(claim) else { continue };
            let begins = seconds(value).ok_or(Refusal::BadTime(claim))?;
            if begins.saturating_sub(self.skew_seconds) > now {
                return Err(Refusal::NotYet { claim, after: begins.saturating_sub(now) });
            }
        }
        Ok(until)
    }

    fn meant_for_us(&self, claims: &Value) -> Result<(), Refusal> {
        let ours = |audience: &Value| audience.as_str().is_some_and(|text| self.audiences.iter().any(|a| **a == *text));
        let meant = match claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        };
        let wanted = || {
            let quoted: Vec<String> = self.audiences.iter().map(|audience| format!("\"{audience}\"")).collect();
            Refusal::Audience(quoted.join(" or ").into())
        };
        meant.then_some(()).ok_or_else(wanted)
    }
}

/// A NumericDate (RFC 7519 §2): a number of seconds, possibly with a fraction.
fn seconds(value: &Value) -> Option<i64> {
    let whole = value.as_i64().or_else(|| value.as_u64().map(|n| i64::try_from(n).unwrap_or(i64::MAX)));
    // A cast from a float saturates; what is not a number is refused.
    whole.or_else(|| value.as_f64().filter(|n| n.is_finite()).map(|n| n.floor() as i64))
}
