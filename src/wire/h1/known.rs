//! The header names the gateway acts on (contract.md §3), and how one is recognised: by its length, its first and its last letter
//! there is one exact name it can be, and one comparison says whether it is.

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

        impl Known {
            /// Every kind, in the order of their numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant,)+ $(Self::$any,)+ Self::Other];
        }

        /// Every exact name with its variant.
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
    /// `accept`
    Accept = "accept",
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
    /// `accept-language`
    AcceptLanguage = "accept-language",
    /// `idempotency-key`
    IdempotencyKey = "idempotency-key",
    /// `content-encoding`
    ContentEncoding = "content-encoding",
    /// `content-language`
    ContentLanguage = "content-language",
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
    /// How many there are.
    pub(super) const COUNT: usize = Self::Other as usize + 1;

    /// What a header name means, in any case of letters.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let place = SLOTS[slot(code(name), MULTIPLIER)];
        if let Some((exact, known)) = EXACT_NAMES.get(usize::from(place))
            && is_name(name, exact.as_bytes())
        {
            return *known;
        }
        Self::family(name)
    }

    /// What a name means by how it begins. The longest prefix goes first: the families nest.
    fn family(name: &[u8]) -> Self {
        let begins = |prefix: &[u8]| name.get(..prefix.len()).is_some_and(|start| is_name(start, prefix));
        match name {
            [b'x' | b'X', b'-', third, ..] => match third | LOWER {
                b's' if begins(b"x-stainless-") => Self::XStainlessAny,
                b'c' if begins(b"x-claude-code-") => Self::ClaudeCodeAny,
                b'c' if begins(b"x-claude-remote-") => Self::ClaudeRemoteAny,
                b'f' if begins(b"x-forwarded-") => Self::XForwardedAny,
                b'a' if begins(b"x-amzn-") => Self::XAmznAny,
                b'a' if begins(b"x-amz-") => Self::XAmzAny,
                b'g' if begins(b"x-goog-") => Self::XGoogAny,
                _ => Self::Other,
            },
            [b'a' | b'A', ..] if begins(b"anthropic-ratelimit-") => {
                if begins(b"anthropic-ratelimit-unified-") {
                    Self::AnthropicRatelimitUnifiedAny
                } else {
                    Self::AnthropicRatelimitAny
                }
            }
            [b'a' | b'A', ..] if begins(b"anthropic-priority-") || begins(b"anthropic-fast-") => {
                Self::AnthropicRatelimitAny
            }
            [b'a' | b'A', ..] if begins(b"anthropic-") => Self::AnthropicAny,
            [b'p' | b'P', ..] if begins(b"proxy-") => Self::ProxyAny,
            _ => Self::Other,
        }
    }
}

/// A set of kinds of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u64);

impl Kinds {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// With another one.
    #[must_use]
    pub const fn and(self, known: Known) -> Self {
        Self(self.0 | 1 << known as u32)
    }

    /// Without one of them.
    #[must_use]
    pub const fn without(self, known: Known) -> Self {
        Self(self.0 & !(1 << known as u32))
    }

    /// Is this kind one of them?
    #[inline]
    pub const fn has(self, known: Known) -> bool {
        self.0 >> known as u32 & 1 == 1
    }
}

/// The bit that tells a small letter from a capital one.
const LOWER: u8 = 0x20;

/// Whether `name` is `known` in any case of letters. `known` holds small letters, digits and hyphens alone, of which only
/// letters have the bit 0x40: where it stands, the case bit of `name` is set before the two are compared. Where `known` is a constant
/// little is left of this.
#[inline(always)]
pub(super) fn is_name(name: &[u8], known: &[u8]) -> bool {
    if name.len() != known.len() {
        return false;
    }
    // The first and the last bytes, which overlap or meet.
    match name.len() {
        17..=32 => same_ends::<16>(name, known),
        8..=16 => same_ends::<8>(name, known),
        4..=7 => same_ends::<4>(name, known),
        _ => name.iter().zip(known).all(|(byte, known)| byte | (known & 0x40) >> 1 == *known),
    }
}

#[inline]
fn same_ends<const N: usize>(name: &[u8], known: &[u8]) -> bool {
    let (Some(first), Some(known_first)) = (name.first_chunk::<N>(), known.first_chunk()) else { return false };
    let (Some(last), Some(known_last)) = (name.last_chunk::<N>(), known.last_chunk()) else { return false };
    difference(first, known_first) | difference(last, known_last) == 0
}

/// The bits in which a part of a name differs from that of a known one. As many bytes as a register has, so that all of them are
/// looked at together.
#[inline]
fn difference<const N: usize>(name: &[u8; N], known: &[u8; N]) -> u128 {
    const LETTERS: u128 = u128::from_ne_bytes([0x40; 16]);
    let widen = |bytes: &[u8; N]| {
        let mut wide = [0; 16];
        wide[..N].copy_from_slice(bytes);
        u128::from_ne_bytes(wide)
    };
    let known = widen(known);
    (widen(name) | (known & LETTERS) >> 1) ^ known
}

/// Length, first and last letter of a name, in any case; 0 for none.
#[inline]
const fn code(name: &[u8]) -> u32 {
    match (name, name.len()) {
        ([first, .., last], len @ 2..0x100) => {
            (len as u32) << 16 | ((*first | LOWER) as u32) << 8 | (*last | LOWER) as u32
        }
        _ => 0,
    }
}

/// Where a code stands in [`SLOTS`]: the upper bits of a product, which all bits of the code have a part in.
#[inline]
const fn slot(code: u32, multiplier: u32) -> usize {
    (code.wrapping_mul(multiplier) >> 24) as usize
}

/// No exact name.
const VACANT: u8 = u8::MAX;
/// A multiplier that spreads the codes of all exact names over slots of their own, and the slots.
const SPREAD: (u32, [u8; 256]) = spread();
const MULTIPLIER: u32 = SPREAD.0;
/// For each slot the place in [`EXACT_NAMES`] of the one name that can be meant.
static SLOTS: [u8; 256] = SPREAD.1;

const fn spread() -> (u32, [u8; 256]) {
    let mut multiplier: u32 = 0x9e37_79b1;
    let mut tries = 0;
    loop {
        if let Some(slots) = slots(multiplier) {
            return (multiplier, slots);
        }
        multiplier = multiplier.wrapping_mul(0x0001_9665).wrapping_add(2);
        tries += 1;
        assert!(tries < 2000, "two exact names have length, first and last letter in common");
    }
}

/// The slots, if no two names fall into one.
const fn slots(multiplier: u32) -> Option<[u8; 256]> {
    let mut slots = [VACANT; 256];
    let mut place = 0;
    while place < EXACT_NAMES.len() {
        let slot = slot(code(EXACT_NAMES[place].0.as_bytes()), multiplier);
        if slots[slot] != VACANT {
            return None;
        }
        slots[slot] = place as u8;
        place += 1;
    }
    Some(slots)
}
