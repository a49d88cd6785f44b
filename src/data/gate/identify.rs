//! Credential → principal (contract.md §2.1). Which header it came in does not matter, its value does.
//!
//! The rule, in order: the credentials in `Authorization: Bearer`, `x-api-key` and `api-key` are looked at, in this order. One that is
//! not valid counts for nothing beside one that is: it is what a client has left over. Two that are valid and stand for different
//! callers are refused, never guessed between. Only where no credential is given at all a verified client certificate says who
//! calls (`[mtls]`); so a key that was revoked is refused, whatever certificate lies under it. Labels (`x-claude-code-…`) say nothing
//! here; `x-claude-gateway-user-…` count from the holder of a key with `trusted_peers`, at one of those addresses.

use super::{
    Caller,
    credential::{self, Given},
    standings::Who,
};
use crate::{
    data::edge::incoming::{Exchange, Incoming},
    kernel::{
        fault::{Fault, FaultKind, Room},
        identity::{Caller as Names, is_name},
        keys::Key,
        policy::AllowList,
        record::Format,
    },
    wire::h1::{Known, header_all},
};
use std::borrow::Cow;

pub use super::credential::Shown;

/// A request whose caller is known.
pub struct Identified<'c> {
    /// Where it leads.
    pub incoming: Incoming,
    /// Who calls, and what that caller is held to.
    pub caller: Caller<'c>,
    /// What was shown.
    pub shown: Shown,
}

/// Finds the caller.
pub fn identify<'c>(cx: &Exchange<'c>, incoming: Incoming) -> Result<Identified<'c>, Fault> {
    let (caller, shown) = match credential::given(cx)? {
        Given::Key(key, shown) => (spoken_for(cx, key)?, shown),
        Given::Token(token, models, shown) => (vouched_for(cx, &token.caller, models)?, shown),
        Given::Nothing => {
            if signs_itself(cx, incoming.route.format) {
                return Err(Fault::new(Room::Gate, FaultKind::SignedByClient, SIGNED));
            }
            let rule = cx.serving.certificates.as_deref();
            let (Some(rule), Some(certificate)) = (rule, cx.certificate) else {
                let text = "no credential: send a gateway key as `Authorization: Bearer …` or `x-api-key: …`";
                return Err(refuse(text));
            };
            let caller = rule.caller(certificate).ok_or_else(|| {
                refuse(format!(
                    "the client certificate has no {} that can be a name; ask for one that has, or send a gateway key",
                    rule.identity.in_words()
                ))
            })?;
            (vouched_for(cx, &caller, &rule.models)?, Shown::Certificate)
        }
    };
    Ok(Identified { incoming, caller, shown })
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

/// The caller that a token or a certificate names.
fn vouched_for<'c>(cx: &Exchange<'_>, names: &Names, models: &'c AllowList) -> Result<Caller<'c>, Fault> {
    let Names { key, user, team, project } = names;
    Caller::of_principal(cx, Who { key, user, team, project }, models)
}

/// The holder of a key, or the person the holder speaks for: in the holder's team and project, by the holder's models.
fn spoken_for<'c>(cx: &Exchange<'c>, key: &'c Key) -> Result<Caller<'c>, Fault> {
    if !key.trusted_peers.iter().any(|net| net.contains(&cx.peer)) {
        return Caller::of_key(cx, key);
    }
    let user = match named(cx, "x-claude-gateway-user-email")? {
        Some(email) => Some(email),
        None => named(cx, "x-claude-gateway-user-id")?,
    };
    let Some(user) = user else { return Caller::of_key(cx, key) };
    let holder = cx.serving.registry.names.principal_of(key.principal);
    let who = Who { key: &holder.key, user, team: &holder.team, project: &holder.project };
    Caller::of_principal(cx, who, &key.models)
}

/// The name in a header of a trusted peer.
fn named<'c>(cx: &Exchange<'c>, name: &str) -> Result<Option<&'c str>, Fault> {
    let mut values = cx.head.headers.iter().filter(|h| h.name.of(cx.bytes).eq_ignore_ascii_case(name.as_bytes()));
    let Some(header) = values.next() else { return Ok(None) };
    let text = std::str::from_utf8(header.value.of(cx.bytes)).ok().filter(|text| is_name(text));
    if values.next().is_some() || text.is_none() {
        return Err(refuse(format!("{name} must be there once, with 1 to 256 bytes of plain text")));
    }
    Ok(text)
}

/// A request whose caller is not known.
pub(super) fn refuse(text: impl Into<Cow<'static, str>>) -> Fault {
    Fault::new(Room::Gate, FaultKind::Unauthenticated, text)
}
