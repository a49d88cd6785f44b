//! Which headers go on and which stay (contract.md §3). The lists are open: a header weir does not know goes on, except where
//! the contract says strip. Both directions are decided here, so that there is one place to read.

use crate::{kernel::record::Format, wire::h1::Known};

/// May this request header go to an upstream of a format (contract.md §3.1)?
///
/// To a cloud's own API goes little: what describes the body, and its own options. To an Anthropic-format upstream goes what is
/// not ours to keep. Stays: credentials, hop-by-hop headers, what describes the path to us (`x-forwarded-*`), what only weir consumes, and
/// tenant headers that nobody has listed. `host`, `content-length` and `accept-encoding` are written anew.
pub fn goes_up(upstream: Format, known: Known) -> bool {
    match known {
        // Without a meaning to weir, but listed; any other that nobody listed stays.
        Known::Accept | Known::AcceptLanguage | Known::ContentLanguage | Known::IdempotencyKey => true,
        Known::ContentType
        | Known::ContentEncoding
        | Known::UserAgent
        | Known::TraceParent
        | Known::TraceState
        | Known::Baggage => true,
        Known::AnthropicBeta | Known::AnthropicVersion => upstream != Format::Bedrock,
        Known::XAmznAny => upstream == Format::Bedrock,
        _ => upstream == Format::Anthropic && goes_to_anthropic(known),
    }
}

fn goes_to_anthropic(known: Known) -> bool {
    matches!(
        known,
        Known::AnthropicAny
            | Known::AnthropicWorkspaceId
            | Known::AnthropicOrganizationId
            | Known::XAnthropicAdditionalProtection
            | Known::ClaudeRemoteAny
            | Known::XStainlessAny
            | Known::XApp
            | Known::XClientRequestId
    )
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
