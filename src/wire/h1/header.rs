//! Header fields: where they lie, and which of them the gateway acts on (contract.md §3).

use super::span::Span;

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name as sent.
    pub name: Span,
    /// The value without surrounding white space.
    pub value: Span,
    /// What the name means here.
    pub known: Known,
}

macro_rules! known {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal,)+ ; $($(#[$any_doc:meta])+ $any:ident,)+) => {
        /// The header names the gateway acts on. `…Any` variants stand for a family by prefix, without the members
        /// that have a variant of their own.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum Known {
            $($(#[$doc])+ $variant,)+
            $($(#[$any_doc])+ $any,)+
            /// Everything else.
            #[default]
            Other,
        }

        /// What [`code`] makes of each exact name. Two with the same one do not compile: the match below would not reach the second.
        #[allow(non_upper_case_globals, reason = "named as the variants are")]
        mod codes {
            $(pub(super) const $variant: u32 = super::code($name.as_bytes());)+
        }

        /// The exact name of a code, and what it means.
        fn exact(code: u32) -> Option<(&'static [u8], Known)> {
            match code {
                $(codes::$variant => Some(($name.as_bytes(), Known::$variant)),)+
                _ => None,
            }
        }

        /// Every exact name with its variant, for tests.
        #[cfg(test)]
        pub(super) const EXACT_NAMES: &[(&str, Known)] = &[$(($name, Known::$variant),)+];
    };
}

known! {
    /// `te`
    Te = "te",
    /// `via`
    Via = "via",
    /// `date`
    Date = "date",
    /// `host`
    Host = "host",
    /// `x-app`
    XApp = "x-app",
    /// `cookie`
    Cookie = "cookie",
    /// `expect`
    Expect = "expect",
    /// `server`
    Server = "server",
    /// `alt-svc`
    AltSvc = "alt-svc",
    /// `api-key`, where Foundry clients put their key
    ApiKey = "api-key",
    /// `baggage`
    Baggage = "baggage",
    /// `trailer`
    Trailer = "trailer",
    /// `upgrade`
    Upgrade = "upgrade",
    /// `forwarded`
    Forwarded = "forwarded",
    /// `x-api-key`
    XApiKey = "x-api-key",
    /// `connection`
    Connection = "connection",
    /// `keep-alive`
    KeepAlive = "keep-alive",
    /// `request-id`
    RequestId = "request-id",
    /// `set-cookie`
    SetCookie = "set-cookie",
    /// `tracestate`
    TraceState = "tracestate",
    /// `user-agent`
    UserAgent = "user-agent",
    /// `retry-after`
    RetryAfter = "retry-after",
    /// `traceparent`
    TraceParent = "traceparent",
    /// `content-type`
    ContentType = "content-type",
    /// `authorization`
    Authorization = "authorization",
    /// `anthropic-beta`
    AnthropicBeta = "anthropic-beta",
    /// `content-length`
    ContentLength = "content-length",
    /// `x-should-retry`
    XShouldRetry = "x-should-retry",
    /// `accept-encoding`
    AcceptEncoding = "accept-encoding",
    /// `content-encoding`
    ContentEncoding = "content-encoding",
    /// `x-amzn-requestid`
    XAmznRequestId = "x-amzn-requestid",
    /// `anthropic-version`
    AnthropicVersion = "anthropic-version",
    /// `transfer-encoding`
    TransferEncoding = "transfer-encoding",
    /// `x-client-request-id`
    XClientRequestId = "x-client-request-id",
    /// `anthropic-workspace-id`
    AnthropicWorkspaceId = "anthropic-workspace-id",
    /// `x-claude-code-agent-id`
    ClaudeCodeAgentId = "x-claude-code-agent-id",
    /// `x-claude-code-prompt-id`
    ClaudeCodePromptId = "x-claude-code-prompt-id",
    /// `x-claude-code-agent-type`
    ClaudeCodeAgentType = "x-claude-code-agent-type",
    /// `x-claude-code-compaction`
    ClaudeCodeCompaction = "x-claude-code-compaction",
    /// `x-claude-code-session-id`
    ClaudeCodeSessionId = "x-claude-code-session-id",
    /// `anthropic-organization-id`
    AnthropicOrganizationId = "anthropic-organization-id",
    /// `x-claude-code-request-class`
    ClaudeCodeRequestClass = "x-claude-code-request-class",
    /// `x-claude-code-parent-agent-id`
    ClaudeCodeParentAgentId = "x-claude-code-parent-agent-id",
    /// `x-claude-code-context-compacted`
    ClaudeCodeContextCompacted = "x-claude-code-context-compacted",
    /// `x-anthropic-additional-protection`
    XAnthropicAdditionalProtection = "x-anthropic-additional-protection",
    /// `x-claude-code-prev-tool-durations`
    ClaudeCodePrevToolDurations = "x-claude-code-prev-tool-durations",
    ;
    /// `proxy-*`: hop-by-hop, with the proxy's credentials
    ProxyAny,
    /// `x-amz-*`: signature parts of the AWS family, stripped
    XAmzAny,
    /// `x-amzn-*`: options and echoes of Bedrock, passed on (contract.md §1.7, §3.4)
    XAmznAny,
    /// `x-goog-*`: Google credentials and quota projects, stripped
    XGoogAny,
    /// `x-forwarded-*`
    XForwardedAny,
    /// `x-stainless-*`: what an SDK says of itself
    XStainlessAny,
    /// `x-claude-code-*` without a variant of its own: accepted, consumed
    ClaudeCodeAny,
    /// `x-claude-remote-*`
    ClaudeRemoteAny,
    /// `anthropic-ratelimit-unified-*`: quota of a claude.ai login
    AnthropicRatelimitUnifiedAny,
    /// `anthropic-ratelimit-*`, `anthropic-priority-*`, `anthropic-fast-*`: the shared upstream quota
    AnthropicRatelimitAny,
    /// `anthropic-*` without a variant of its own: an open list, forwarded
    AnthropicAny,
}

impl Known {
    /// What a header name means, in any case of letters. Length and two letters leave one candidate to compare with.
    pub fn of(name: &[u8]) -> Self {
        if let Some((_, known)) = exact(code(name)).filter(|(exact, _)| exact.eq_ignore_ascii_case(name)) {
            return known;
        }
        match name.first().map(|first| first | LOWER) {
            Some(b'x') => Self::family(name, X_FAMILIES),
            Some(b'a') => Self::family(name, ANTHROPIC_FAMILIES),
            Some(b'p') => Self::family(name, PROXY_FAMILY),
            _ => Self::Other,
        }
    }

    fn family(name: &[u8], families: &[(&[u8], Self)]) -> Self {
        let member = |(prefix, _): &&(&[u8], Self)| {
            // Before the hyphen at its end each family has a letter of its own, or nearly.
            let tell = prefix.len().saturating_sub(2);
            name.get(tell).is_some_and(|byte| prefix.get(tell) == Some(&(byte | LOWER)))
                && name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        families.iter().find(member).map_or(Self::Other, |(_, known)| *known)
    }
}

/// Length, first and last letter of a name, in any case; 0 for none.
const fn code(name: &[u8]) -> u32 {
    match (name, name.len()) {
        ([first, .., last], len @ 2..0x100) => {
            (len as u32) << 16 | ((*first | LOWER) as u32) << 8 | (*last | LOWER) as u32
        }
        _ => 0,
    }
}

/// The bit that tells a small letter from a capital one.
const LOWER: u8 = 0x20;

const X_FAMILIES: &[(&[u8], Known)] = &[
    (b"x-stainless-", Known::XStainlessAny),
    (b"x-claude-code-", Known::ClaudeCodeAny),
    (b"x-claude-remote-", Known::ClaudeRemoteAny),
    (b"x-forwarded-", Known::XForwardedAny),
    (b"x-amzn-", Known::XAmznAny),
    (b"x-amz-", Known::XAmzAny),
    (b"x-goog-", Known::XGoogAny),
];

/// Longest prefix first: the families nest.
const ANTHROPIC_FAMILIES: &[(&[u8], Known)] = &[
    (b"anthropic-ratelimit-unified-", Known::AnthropicRatelimitUnifiedAny),
    (b"anthropic-ratelimit-", Known::AnthropicRatelimitAny),
    (b"anthropic-priority-", Known::AnthropicRatelimitAny),
    (b"anthropic-fast-", Known::AnthropicRatelimitAny),
    (b"anthropic-", Known::AnthropicAny),
];

const PROXY_FAMILY: &[(&[u8], Known)] = &[(b"proxy-", Known::ProxyAny)];

/// The value of the first header of this kind.
pub fn header<'b>(buf: &'b [u8], headers: &[Header], known: Known) -> Option<&'b [u8]> {
    headers.iter().find(|header| header.known == known).map(|header| header.value.of(buf))
}

/// The values of all headers of this kind, in order.
pub fn header_all<'b>(buf: &'b [u8], headers: &[Header], known: Known) -> impl Iterator<Item = &'b [u8]> {
    headers.iter().filter(move |header| header.known == known).map(|header| header.value.of(buf))
}

/// The tokens of every `Connection` header: options such as `close`, and names of headers that end at this hop.
pub fn connection_names<'b>(buf: &'b [u8], headers: &[Header]) -> impl Iterator<Item = &'b [u8]> {
    header_all(buf, headers, Known::Connection).flat_map(list)
}

/// The elements of a comma-separated list, empty ones left out (RFC 9110 5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
