//! The one taxonomy of what can go wrong with a request: in which room, whose fault, whether asking again can help, and
//! what the client is told. `dialect` turns a fault into an answer, in one place per format.

use super::{money::Nanos, window::Period};
use std::borrow::Cow;

/// The five rooms, in walking order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// Sockets, framing, limits.
    Edge,
    /// Identity, routing, admission.
    Gate,
    /// Upstream connections.
    Pool,
    /// Both directions of the exchange.
    Relay,
    /// Price and record.
    Settle,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller's.
    Client,
    /// The provider's.
    Upstream,
    /// Ours.
    Gateway,
    /// Whoever configured us.
    Operator,
}

/// What went wrong. The name is also the `reason` label of `weir_refused_total` and `refused_by` in the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The HTTP head is malformed or ambiguous; the status is 400, 405, 414, 417, 431, 501 or 505.
    BadHead(u16),
    /// The body is malformed, ambiguous or lacks what routing needs.
    BadBody,
    /// No valid credential.
    Unauthenticated,
    /// The client signed its request itself instead of sending a gateway key: its settings lack a word.
    SignedByClient,
    /// A token signed with a key that its issuer may have begun to use: it can be good in a moment.
    TokenKeyUnknown,
    /// The key was revoked while its request was running.
    KeyRevoked,
    /// The key may not do this.
    Denied,
    /// No such path or model.
    NotFound,
    /// This path does not take this method, but these.
    MethodNotAllowed(&'static str),
    /// The body is larger than the limit.
    BodyTooLarge,
    /// The client was too slow with its head or body.
    ClientTimeout,
    /// The client went away.
    ClientGone,
    /// The client has asked for the same again, and the operator wants only the newer of the two to run.
    Superseded,
    /// A budget is spent.
    BudgetSpent(Box<SpentBudget>),
    /// A budget is nearly spent and another request has its last room.
    BudgetBusy,
    /// A rate limit is reached.
    RateLimited {
        /// Whole seconds until there is room again, 1 to 60.
        retry_after_seconds: u32,
    },
    /// This shard is full, or the journal is behind.
    Overloaded,
    /// No connection to the upstream.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream closed, reset or broke HTTP.
    UpstreamBroken,
    /// The upstream refused our own credential.
    UpstreamCredential,
    /// Something in weir failed.
    Internal,
}

/// The budget that refused, with what the answer must say (contract.md §2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentBudget {
    /// How often it starts anew.
    pub period: Period,
    /// When, Unix seconds; `None` for a total.
    pub resets_at: Option<i64>,
    /// A pool of several callers rather than the caller's own cap.
    pub pooled: bool,
    /// The operator's words.
    pub message: String,
    /// The cap.
    pub amount: Nanos,
}

impl FaultKind {
    /// The label of this kind, closed and stable.
    pub fn label(&self) -> &'static str {
        match self {
            Self::BadHead(_) => "bad_head",
            Self::BadBody => "bad_body",
            Self::Unauthenticated => "unauthenticated",
            Self::SignedByClient => "signed_by_client",
            Self::TokenKeyUnknown => "token_key_unknown",
            Self::KeyRevoked => "key_revoked",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::BodyTooLarge => "body_too_large",
            Self::ClientTimeout => "client_timeout",
            Self::ClientGone => "client_gone",
            Self::Superseded => "superseded",
            Self::BudgetSpent(_) => "budget_spent",
            Self::BudgetBusy => "budget_busy",
            Self::RateLimited { .. } => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamBroken => "upstream_broken",
            Self::UpstreamCredential => "upstream_credential",
            Self::Internal => "internal",
        }
    }

    /// Whose fault it is.
    pub fn blame(&self) -> Blame {
        match self {
            Self::UpstreamUnreachable | Self::UpstreamTimeout | Self::UpstreamBroken => Blame::Upstream,
            Self::UpstreamCredential => Blame::Operator,
            Self::Internal | Self::Overloaded => Blame::Gateway,
            _ => Blame::Client,
        }
    }

    /// Can the client ask again and succeed, without changing anything?
    pub fn retryable(&self) -> bool {
        matches!(
            self,
            Self::BudgetBusy
                | Self::TokenKeyUnknown
                | Self::RateLimited { .. }
                | Self::Overloaded
                | Self::UpstreamUnreachable
                | Self::UpstreamTimeout
                | Self::UpstreamBroken
                | Self::Internal
                | Self::ClientTimeout
        )
    }
}

/// A failed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it was found.
    pub room: Room,
    /// What it is.
    pub kind: FaultKind,
    /// What the client is told; no secret, no address of ours.
    pub text: Cow<'static, str>,
    /// The framing of the connection can no longer be trusted: answer and close.
    pub close: bool,
}

impl Fault {
    /// A fault after which the connection can go on.
    pub fn new(room: Room, kind: FaultKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self { room, kind, text: text.into(), close: false }
    }

    /// The same, but the connection must be closed.
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}
