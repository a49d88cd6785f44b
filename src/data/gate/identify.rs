//! Credential → principal (contract.md §2.1). Which header it came in does not matter, its value does; two different valid
//! keys in one request are refused, never guessed between.

use super::Caller;
use crate::{
    data::edge::incoming::{Exchange, Incoming},
    kernel::{
        fault::{Fault, FaultKind, Room},
        keys::{Found, KeyDigest},
        record::Format,
    },
    sys::clock,
    wire::h1::{Known, header_all},
};

/// A request whose caller is known.
pub struct Identified<'c> {
    /// Where it leads.
    pub incoming: Incoming,
    /// Who calls.
    pub caller: Caller<'c>,
    /// Digest of the secret that was shown.
    pub shown: KeyDigest,
}

/// Finds the caller.
pub fn identify<'c>(cx: &Exchange<'c>, incoming: Incoming) -> Result<Identified<'c>, Fault> {
    let mut found: Option<Found> = None;
    let (mut shown, mut replaced) = ("", false);
    for (known, name) in
        [(Known::Authorization, "Authorization"), (Known::XApiKey, "x-api-key"), (Known::ApiKey, "api-key")]
    {
        for value in header_all(cx.bytes, &cx.head.headers, known) {
            let Some(credential) = credential(known, value) else { continue };
            shown = name;
            let Some(key) = cx.serving.keys.find(credential) else { continue };
            if key.until.is_some_and(|at| at <= clock::unix().seconds()) {
                replaced = true;
                continue;
            }
            if found.is_some_and(|other| other.key != key.key) {
                return Err(refuse(
                    "two different gateway keys are given in Authorization and x-api-key; send one".to_owned(),
                ));
            }
            found = Some(key);
        }
    }
    let Some((found, key)) = found.and_then(|found| Some((found, cx.serving.keys.get(found.key)?))) else {
        if shown.is_empty() && signs_itself(cx, incoming.route.format) {
            return Err(Fault::new(Room::Gate, FaultKind::SignedByClient, SIGNED));
        }
        return Err(refuse(match shown {
            "" => "no credential: send a gateway key as `Authorization: Bearer …` or `x-api-key: …`".to_owned(),
            name if replaced => {
                format!("the gateway key in {name} has been replaced by a rotation; use the new secret")
            }
            name => format!("the key in {name} is not a valid key of this gateway"),
        }));
    };
    if key.expires.is_some_and(|at| at <= clock::unix().seconds()) {
        return Err(refuse(format!("the gateway key in {shown} has expired; ask for a new one")));
    }
    Ok(Identified { incoming, caller: Caller::of_key(cx, key)?, shown: found.digest })
}

/// What a client is told that signs for AWS. Of a key only the digest is kept, so that no signature made with one could be
/// checked.
const SIGNED: &str = "this request is signed for AWS, but this gateway wants one of its own keys, unsigned. Claude Code: set \
    CLAUDE_CODE_SKIP_BEDROCK_AUTH=1 (on /anthropic-aws: CLAUDE_CODE_SKIP_ANTHROPIC_AWS_AUTH=1) and \
    ANTHROPIC_AUTH_TOKEN=<gateway key>. AWS SDKs: set AWS_BEARER_TOKEN_BEDROCK=<gateway key>";

/// Does the client sign, on a path whose clients do that unless they are told not to?
fn signs_itself(cx: &Exchange<'_>, format: Format) -> bool {
    if format != Format::Bedrock && !cx.path().starts_with(b"/anthropic-aws/") {
        return false;
    }
    let starts =
        |value: &[u8]| value.trim_ascii().get(..16).is_some_and(|s| s.eq_ignore_ascii_case(b"AWS4-HMAC-SHA256"));
    header_all(cx.bytes, &cx.head.headers, Known::Authorization).any(starts)
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

fn refuse(text: String) -> Fault {
    Fault::new(Room::Gate, FaultKind::Unauthenticated, text)
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
