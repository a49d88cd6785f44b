//! The credential among the headers of a request: a gateway key, or a token of an issuer.

use super::identify::refuse;
use crate::{
    data::edge::incoming::Exchange,
    kernel::{
        fault::{Fault, FaultKind, Room},
        identity::{Refusal, Verified, token::looks_like_token},
        keys::{Key, KeyDigest},
        policy::AllowList,
    },
    wire::h1::{Known, header_all},
};
use std::rc::Rc;

/// The headers a credential can stand in, in the order they are looked at.
const HEADERS: [(Known, &str); 3] =
    [(Known::Authorization, "Authorization"), (Known::XApiKey, "x-api-key"), (Known::ApiKey, "api-key")];
/// Where client certificates say who calls, this credential counts as none: Claude Code does not start without one.
const CERTIFICATE_COUNTS: &[u8] = b"mtls";

/// By what a caller was known, so that a running request can be ended when that is taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// A gateway key: digest of its secret.
    Key(KeyDigest),
    /// A token: digest of its issuer's name.
    Token(KeyDigest),
    /// A client certificate.
    Certificate,
}

/// What a request shows.
pub(super) enum Given<'c> {
    /// No credential.
    Nothing,
    /// A gateway key that is valid.
    Key(&'c Key, Shown),
    /// A token that is valid, and the models its issuer's callers may use.
    Token(Rc<Verified>, &'c AllowList, Shown),
}

/// Why a credential is not valid; the later, the more it says.
enum Why {
    Unknown,
    Replaced,
    Expired,
    Token(Refusal),
}

impl Why {
    fn weight(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Replaced => 1,
            Self::Expired => 2,
            Self::Token(_) => 3,
        }
    }

    fn fault(self, header: &str) -> Fault {
        match self {
            Self::Unknown => refuse(format!("the key in {header} is not a valid key of this gateway")),
            Self::Replaced => {
                refuse(format!("the gateway key in {header} has been replaced by a rotation; use the new secret"))
            }
            Self::Expired => refuse(format!("the gateway key in {header} has expired; ask for a new one")),
            Self::Token(why) => {
                let kind = if why.may_pass() { FaultKind::TokenKeyUnknown } else { FaultKind::Unauthenticated };
                Fault::new(Room::Gate, kind, format!("the token in {header} {why}"))
            }
        }
    }
}

/// Finds the one valid credential of a request.
pub(super) fn given<'c>(cx: &Exchange<'c>) -> Result<Given<'c>, Fault> {
    let mut found = Given::Nothing;
    let mut refused: Option<(Why, &str)> = None;
    for (known, name) in HEADERS {
        for value in header_all(cx.bytes, &cx.head.headers, known) {
            let Some(credential) = credential(known, value) else { continue };
            if credential == CERTIFICATE_COUNTS && cx.serving.certificates.is_some() && cx.certificate.is_some() {
                continue;
            }
            match judge(cx, credential) {
                Ok(other) if found.is_another_than(&other) => {
                    let text =
                        "two different gateway keys or tokens are given in Authorization and x-api-key; send one";
                    return Err(refuse(text));
                }
                Ok(good) => found = good,
                Err(why) => {
                    if refused.as_ref().is_none_or(|(known, _)| known.weight() < why.weight()) {
                        refused = Some((why, name));
                    }
                }
            }
        }
    }
    match (found, refused) {
        (Given::Nothing, Some((why, header))) => Err(why.fault(header)),
        (found, _) => Ok(found),
    }
}

impl Given<'_> {
    /// Do both stand for somebody, and not for the same?
    fn is_another_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Given::Nothing, _) | (_, Given::Nothing) => false,
            (Given::Key(one, _), Given::Key(two, _)) => !std::ptr::eq(*one, *two),
            // A token that was renewed in one header stands for the same caller still.
            (Given::Token(one, _, _), Given::Token(two, _, _)) => one.issuer != two.issuer || one.caller != two.caller,
            _ => true,
        }
    }
}

fn judge<'c>(cx: &Exchange<'c>, credential: &[u8]) -> Result<Given<'c>, Why> {
    let now = cx.began_at().seconds();
    let serving = cx.serving;
    let digest = KeyDigest::of(credential);
    if let Some(found) = serving.keys.find_digest(digest) {
        let key = serving.keys.get(found.key).ok_or(Why::Unknown)?;
        return match (found.until, key.expires) {
            (Some(until), _) if until <= now => Err(Why::Replaced),
            (_, Some(expires)) if expires <= now => Err(Why::Expired),
            _ => Ok(Given::Key(key, Shown::Key(found.digest))),
        };
    }
    if serving.issuers.is_empty() || !looks_like_token(credential) {
        return Err(Why::Unknown);
    }
    let verified =
        cx.shard.tokens.borrow_mut().verify(&serving.issuers, credential, digest, now).map_err(|refused| {
            if let (Refusal::UnknownKey { .. } | Refusal::NoKeys, Some(place)) = (&refused.why, refused.issuer)
                && let Some(gauge) = cx.shard.gauges.unknown_token_keys.get(place)
            {
                gauge.add(1);
            }
            Why::Token(refused.why)
        })?;
    let issuer = serving.issuers.get(verified.issuer).ok_or(Why::Unknown)?;
    Ok(Given::Token(verified, &issuer.models, Shown::Token(issuer.mark)))
}

/// The credential in a header value; none for a scheme that weir does not issue keys for.
fn credential(known: Known, value: &[u8]) -> Option<&[u8]> {
    let value = value.trim_ascii();
    if known != Known::Authorization {
        return (!value.is_empty()).then_some(value);
    }
    let (scheme, token) = value.split_at_checked(7)?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_scheme_counts_in_any_case_and_others_do_not() {
        assert_eq!(credential(Known::Authorization, b"bEaReR  k "), Some(&b"k"[..]));
        assert_eq!(credential(Known::Authorization, b"Basic abc"), None);
        assert_eq!(credential(Known::Authorization, b"Bearer "), None);
        assert_eq!(credential(Known::Authorization, b"Bea"), None);
        assert_eq!(credential(Known::XApiKey, b" k "), Some(&b"k"[..]));
    }
}
