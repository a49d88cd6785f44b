//! Which headers go on and which stay (contract.md §3). The lists are open: a header weir does not know goes on, except where
//! the contract says strip. Both directions are decided here, so that there is one place to read.

use crate::{
    kernel::record::Format,
    wire::h1::{Kinds, Known},
};

/// What may go up to each format.
static UP: [Kinds; 3] = [up(Format::Anthropic), up(Format::Bedrock), up(Format::Vertex)];
/// What may go down, without and with usage-limit headers of our own.
static DOWN: [Kinds; 2] = [down(false), down(true)];

/// The request headers that may go to an upstream of a format.
pub fn kinds_up(upstream: Format) -> Kinds {
    UP[upstream as usize]
}

/// The answer headers that may go to the client; `own_limits` as in [`goes_down`].
pub fn kinds_down(own_limits: bool) -> Kinds {
    DOWN[usize::from(own_limits)]
}

const fn up(upstream: Format) -> Kinds {
    let (mut kinds, mut place) = (Kinds::NONE, 0);
    while place < Known::ALL.len() {
        if goes_up(upstream, Known::ALL[place]) {
            kinds = kinds.and(Known::ALL[place]);
        }
        place += 1;
    }
    kinds
}

const fn down(own_limits: bool) -> Kinds {
    let (mut kinds, mut place) = (Kinds::NONE, 0);
    while place < Known::ALL.len() {
        if goes_down(Known::ALL[place], own_limits) {
            kinds = kinds.and(Known::ALL[place]);
        }
        place += 1;
    }
    kinds
}

/// May this request header go to an upstream of a format (contract.md §3.1)?
///
/// To a cloud's own API goes little: what describes the body, and its own options. To an Anthropic-format upstream goes what is
/// not ours to keep. Stays: credentials, hop-by-hop headers, what describes the path to us (`x-forwarded-*`), what only weir consumes, and
/// tenant headers that nobody has listed. `host`, `content-length` and `accept-encoding` are written anew.
pub const fn goes_up(upstream: Format, known: Known) -> bool {
    match known {
        // Without a meaning to weir, but listed; any other that nobody listed stays.
        Known::Accept | Known::AcceptLanguage | Known::ContentLanguage | Known::IdempotencyKey => true,
        Known::ContentType
        | Known::ContentEncoding
        | Known::UserAgent
        | Known::TraceParent
        | Known::TraceState
        | Known::Baggage => true,
        Known::AnthropicBeta | Known::AnthropicVersion => !matches!(upstream, Format::Bedrock),
        Known::XAmznAny => matches!(upstream, Format::Bedrock),
        _ => matches!(upstream, Format::Anthropic) && goes_to_anthropic(known),
    }
}

const fn goes_to_anthropic(known: Known) -> bool {
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
pub const fn goes_down(known: Known, own_limits: bool) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_passes_by_its_set_that_does_not_by_the_list_or_the_other_way() {
        for known in Known::ALL {
            for format in [Format::Anthropic, Format::Bedrock, Format::Vertex] {
                assert_eq!(kinds_up(format).has(known), goes_up(format, known), "{known:?} to {format:?}");
            }
            for own_limits in [false, true] {
                assert_eq!(kinds_down(own_limits).has(known), goes_down(known, own_limits), "{known:?}");
            }
        }
        let all = Known::ALL.into_iter().fold(Kinds::NONE, Kinds::and);
        assert!(Known::ALL.into_iter().all(|known| all.has(known) && !all.without(known).has(known)));
    }
}
