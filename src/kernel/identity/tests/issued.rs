//! Tokens as an issuer makes them, and the tables that accept them.

use crate::kernel::{
    identity::{
        ClaimMap, ClaimPath, Issuer, IssuerKeys, IssuerTable, KeySet, TokenAlgorithm, Verified, VerifyingKey,
        token::Refused,
    },
    keys::KeyDigest,
    policy::AllowList,
};
use aws_lc_rs::{rand::SystemRandom, signature::Ed25519KeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

pub const ISSUER: &str = "https://idp.example.com";
pub const AUDIENCE: &str = "weir";
/// Seconds.
pub const SKEW: i64 = 60;
/// The time at which tests judge, Unix seconds.
pub const NOW: i64 = 1_800_000_000;

/// An issuer with these keys; `user`, `team` and `project` are claims of those names.
pub fn issuer(keys: IssuerKeys, algorithms: &[TokenAlgorithm]) -> Issuer {
    Issuer {
        name: ISSUER.into(),
        mark: KeyDigest::of(ISSUER.as_bytes()),
        audiences: [AUDIENCE.into()].into(),
        algorithms: algorithms.into(),
        keys,
        skew_seconds: SKEW,
        claims: ClaimMap {
            user: ClaimPath::new("user"),
            team: ClaimPath::new("team"),
            project: ClaimPath::new("project"),
            ..ClaimMap::default()
        },
        allow_groups: Box::default(),
        models: AllowList::everything(),
    }
}

/// A table with one issuer that shares these secrets.
pub fn table(secrets: &[&str]) -> IssuerTable {
    let keys = secrets.iter().map(|secret| VerifyingKey::shared(secret.as_bytes())).collect();
    IssuerTable::new(vec![issuer(IssuerKeys::Shared(keys), &[TokenAlgorithm::Hs256])])
}

/// A table with one issuer that publishes these keys.
pub fn published(keys: &[Jwk]) -> IssuerTable {
    let set = KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap();
    let keys = IssuerKeys::Published { set: Some(Arc::new(set)), as_of: NOW };
    IssuerTable::new(vec![issuer(keys, &TokenAlgorithm::PUBLIC)])
}

/// A whole set of claims for alice of platform, that ends at `exp`.
pub fn claims(exp: i64) -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "exp": exp, "user": "alice", "team": "platform", "project": "checkout"})
}

/// The claims with one replaced, or, by null, removed.
pub fn but(name: &str, value: Value) -> Value {
    let mut claims = claims(NOW + 300);
    match value {
        Value::Null => {
            claims.as_object_mut().unwrap().remove(name);
        }
        value => claims[name] = value,
    }
    claims
}

/// Signs claims.
pub fn sign(algorithm: Algorithm, kid: Option<&str>, claims: &Value, key: &EncodingKey) -> String {
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

/// A token signed with a shared secret.
pub fn shared(secret: &str, claims: &Value) -> String {
    sign(Algorithm::HS256, None, claims, &EncodingKey::from_secret(secret.as_bytes()))
}

/// A whole token of a user.
pub fn token(secret: &str, user: &str, exp: i64) -> String {
    let mut claims = claims(exp);
    claims["user"] = user.into();
    shared(secret, &claims)
}

pub fn verify(table: &IssuerTable, token: &str) -> Result<Verified, Refused> {
    table.verify(token.as_bytes(), NOW)
}

/// A key pair of an issuer.
pub struct Pair {
    pub algorithm: Algorithm,
    pub private: EncodingKey,
}

impl Pair {
    pub fn rsa() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(|| {
            let pem = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
            Pair { algorithm: Algorithm::RS256, private: EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap() }
        })
    }

    pub fn ec() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        Self { algorithm: Algorithm::ES256, private: EncodingKey::from_ec_der(&key.serialize_der()) }
    }

    pub fn ed() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        Self { algorithm: Algorithm::EdDSA, private: EncodingKey::from_ed_der(pkcs8.as_ref()) }
    }

    /// Its public half, under a name.
    pub fn public(&self, kid: Option<&str>) -> Jwk {
        let mut jwk = Jwk::from_encoding_key(&self.private, self.algorithm).unwrap();
        jwk.common.key_id = kid.map(str::to_owned);
        jwk
    }

    pub fn token(&self, kid: Option<&str>, claims: &Value) -> String {
        sign(self.algorithm, kid, claims, &self.private)
    }
}
