//! Tokens that this shard has verified, so that a signature is checked once and not with every request.
//!
//! A token is known by the digest of all of it. It is forgotten when it ends, and all of them are when issuers, secrets or
//! keys change: what was good by a key that is gone must be asked again. Two generations bound the table: when the younger is full the
//! older is dropped, so what is in use stays.

use crate::kernel::{
    identity::{IssuerTable, Verified, token::Refused},
    keys::KeyDigest,
    limits::TOKENS_KEPT_MAX,
};
use std::{collections::HashMap, rc::Rc, sync::Arc};

/// The tokens of a shard.
#[derive(Default)]
pub struct Tokens {
    issuers: Arc<IssuerTable>,
    young: HashMap<KeyDigest, Rc<Verified>>,
    old: HashMap<KeyDigest, Rc<Verified>>,
}

impl Tokens {
    /// Verifies a token, or remembers that it has been.
    pub fn verify(
        &mut self,
        issuers: &Arc<IssuerTable>,
        token: &[u8],
        digest: KeyDigest,
        now_seconds: i64,
    ) -> Result<Rc<Verified>, Refused> {
        if !Arc::ptr_eq(&self.issuers, issuers) {
            *self = Self { issuers: issuers.clone(), ..Self::default() };
        }
        if let Some(known) = self.young.get(&digest).or_else(|| self.old.get(&digest)).cloned() {
            if known.until > now_seconds {
                if !self.young.contains_key(&digest) {
                    self.keep(digest, known.clone());
                }
                return Ok(known);
            }
            self.young.remove(&digest);
            self.old.remove(&digest);
        }
        let verified = Rc::new(issuers.verify(token, now_seconds)?);
        self.keep(digest, verified.clone());
        Ok(verified)
    }

    fn keep(&mut self, digest: KeyDigest, verified: Rc<Verified>) {
        if self.young.len() >= TOKENS_KEPT_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::identity::{Refusal, tests::issued};

    fn verify(tokens: &mut Tokens, issuers: &Arc<IssuerTable>, token: &str, now: i64) -> Result<Rc<Verified>, Refused> {
        tokens.verify(issuers, token.as_bytes(), KeyDigest::of(token.as_bytes()), now)
    }

    #[test]
    fn a_token_that_is_remembered_outlives_its_end_its_issuer_or_its_secret() {
        let (table, other) = (Arc::new(issued::table(&["first"])), Arc::new(issued::table(&["second"])));
        let token = issued::token("first", "alice", 1000);
        let mut tokens = Tokens::default();
        let first = verify(&mut tokens, &table, &token, 900).unwrap();
        let again = verify(&mut tokens, &table, &token, 999 + issued::SKEW).unwrap();
        assert!(Rc::ptr_eq(&first, &again), "verified once");
        let late = verify(&mut tokens, &table, &token, 1000 + issued::SKEW).unwrap_err();
        assert!(matches!(late.why, Refusal::Expired { .. }), "{late:?}");
        assert!(tokens.young.is_empty() && tokens.old.is_empty());
        verify(&mut tokens, &table, &token, 900).unwrap();
        assert_eq!(verify(&mut tokens, &other, &token, 900).unwrap_err().why, Refusal::Signature);
        // The secret comes back, but nothing that was remembered does.
        assert!(!Rc::ptr_eq(&first, &verify(&mut tokens, &table, &token, 900).unwrap()));
    }

    #[test]
    fn a_prefix_of_a_token_is_taken_for_the_token() {
        let table = Arc::new(issued::table(&["s"]));
        let mut tokens = Tokens::default();
        let token = issued::token("s", "alice", 1000);
        verify(&mut tokens, &table, &token, 900).unwrap();
        for bad in [&token[..token.len() - 1], &format!("{token}A"), &token[..20]] {
            assert!(verify(&mut tokens, &table, bad, 900).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_flood_of_tokens_fills_the_memory_or_drives_out_the_one_in_use() {
        let table = Arc::new(issued::table(&["s"]));
        let mut tokens = Tokens::default();
        let used = issued::token("s", "alice", 1000);
        let first = verify(&mut tokens, &table, &used, 900).unwrap();
        for n in 0..TOKENS_KEPT_MAX * 2 {
            verify(&mut tokens, &table, &issued::token("s", &format!("user-{n}"), 1000), 900).unwrap();
            if n % 1000 == 0 {
                let again = verify(&mut tokens, &table, &used, 900).unwrap();
                assert!(Rc::ptr_eq(&first, &again), "it was in use all the time");
            }
            assert!(tokens.young.len() + tokens.old.len() <= TOKENS_KEPT_MAX);
        }
    }
}
