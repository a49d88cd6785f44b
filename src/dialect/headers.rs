//! Which headers go on and which stay (contract.md §3). The lists are open: a header weir does not know goes on, except where
//! the contract says strip. Both directions are decided here, so that there is one place to read.

use crate::wire::h1::Known;

/// Headers without a meaning to weir that go up all the same; any other that nobody listed stays (contract.md §3.1).
const LISTED: [&[u8]; 4] = [b"accept", b"accept-language", b"content-language", b"idempotency-key"];

/// May this request header go to an Anthropic-format upstream (contract.md §3.1)?
///
/// Stays: credentials, hop-by-hop headers, what describes the path to us (`x-forwarded-*`), what only weir consumes, and
/// tenant headers that nobody has listed. `host`, `content-length` and `accept-encoding` are written anew.
pub fn goes_up(known: Known, name: &[u8]) -> bool {
    match known {
        Known::ContentType
        | Known::ContentEncoding
        | Known::UserAgent
        | Known::AnthropicVersion
        | Known::AnthropicBeta
        | Known::AnthropicAny
        | Known::AnthropicWorkspaceId
        | Known::AnthropicOrganizationId
        | Known::XAnthropicAdditionalProtection
        | Known::ClaudeRemoteAny
        | Known::XStainlessAny
        | Known::XApp
        | Known::XClientRequestId
        | Known::TraceParent
        | Known::TraceState
        | Known::Baggage => true,
        Known::Other => LISTED.iter().any(|listed| name.eq_ignore_ascii_case(listed)),
        _ => false,
    }
}

/// May this answer header go to the client (contract.md §3.4)? `own_limits`: weir sends usage-limit headers of its own, and
/// those of the shared upstream account would mislead.
pub fn goes_down(known: Known, own_limits: bool) -> bool {
    match known {
        Known::Connection
        | Known::KeepAlive
        | Known::ProxyAny
        | Known::Te
        | Known::Trailer
        | Known::Upgrade
        | Known::SetCookie
        | Known::Server
        | Known::AltSvc
        | Known::TransferEncoding
        | Known::ContentLength => false,
        Known::AnthropicRatelimitUnifiedAny | Known::AnthropicRatelimitAny => !own_limits,
        _ => true,
    }
}
