//! How an attempt ended: for its upstream's health, for the record, and for the client if nobody does better.

use super::Relayed;
use crate::{
    data::{
        edge::incoming::Exchange,
        pool::{Shown, Tries, tries::unreachable_fault},
        settle::{Metered, OpenRecord},
        shard::deadlines::Awaited,
    },
    kernel::{
        fault::{Fault, FaultKind, Room},
        record::AttemptResult,
        routing::Failure,
    },
    sys::socket::Writer,
};
use std::borrow::Cow;

/// How a download ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The client has it all.
    Whole {
        /// The upstream's connection may serve another request.
        reusable: bool,
    },
    /// The upstream closed, failed or was too late before its head was whole.
    NoAnswer,
    /// The upstream refused our own credential; the client has not seen that.
    Credential,
    /// It answered with an error that the client has not seen, since another target may do better.
    Hidden {
        /// Which.
        failure: Failure,
        /// The upstream's connection may serve another request.
        reusable: bool,
    },
    /// It refused by name what the request can do without; the client has not seen that, and it is asked again.
    Refused {
        /// The upstream's connection may serve another request.
        reusable: bool,
    },
    /// It broke off half way; the client has been told or will see a reset.
    Broken,
    /// The client takes no more.
    ClientLeft,
    /// The client takes no more, but the provider has been heard to the end.
    Drained,
}

impl Ended {
    /// The upstream's connection may serve another request.
    pub fn leaves_it_usable(&self) -> bool {
        matches!(
            self,
            Self::Whole { reusable: true } | Self::Hidden { reusable: true, .. } | Self::Refused { reusable: true }
        )
    }
}

/// How an attempt failed, if its upstream is to blame.
pub(super) fn failure_of(cx: &Exchange<'_>, ended: &Ended, passed: Option<Awaited>) -> Option<Failure> {
    match ended {
        Ended::Hidden { failure, .. } => Some(*failure),
        Ended::Credential => Some(Failure::Credential),
        Ended::NoAnswer | Ended::Broken if cx.link.gone.get() || cx.link.revoked.get() => None,
        Ended::NoAnswer | Ended::Broken if cx.pipe.failure().is_some() => None,
        Ended::NoAnswer | Ended::Broken if passed.is_some() => Some(Failure::TimedOut),
        Ended::NoAnswer | Ended::Broken => Some(Failure::Broken),
        Ended::Whole { .. } | Ended::Refused { .. } | Ended::ClientLeft | Ended::Drained => None,
    }
}

/// What the client is told of a failed attempt whose own answer it cannot have.
pub(super) fn fault_of(failure: Failure, status: u16) -> Fault {
    let (kind, text): (_, Cow<'static, str>) = match failure {
        Failure::Credential if status == 401 => return credential_fault(),
        Failure::TimedOut => (FaultKind::UpstreamTimeout, "the upstream did not answer in time".into()),
        Failure::Unreachable => return unreachable_fault(),
        Failure::Broken => (FaultKind::UpstreamBroken, "the upstream closed the connection before it answered".into()),
        Failure::NoRoom => {
            let text = "every upstream of this model is at its rate limit; try again";
            (FaultKind::RateLimited { retry_after_seconds: 1 }, text.into())
        }
        _ => (FaultKind::UpstreamBroken, format!("the upstream answered with status {status}").into()),
    };
    Fault::new(Room::Relay, kind, text)
}

/// The upstream refused our own credential: AWS says so with a 403, the others with a 401.
pub(super) fn credential_fault() -> Fault {
    let text = "the upstream refused the gateway's own credential; the gateway's operator must mend it";
    Fault::new(Room::Relay, FaultKind::UpstreamCredential, text)
}

/// How an attempt is named in the record.
pub(super) fn attempt_result(cx: &Exchange<'_>, ended: &Ended, passed: Option<Awaited>) -> AttemptResult {
    match ended {
        // Not too late, but told to end: the time for reading on after the client was up.
        Ended::ClientLeft if cx.link.gone.get() => AttemptResult::Cancelled,
        Ended::Hidden { .. } | Ended::Refused { .. } => AttemptResult::Answered,
        _ if passed.is_some() => AttemptResult::TimedOut,
        Ended::Whole { .. } | Ended::Drained | Ended::Credential => AttemptResult::Answered,
        _ if cx.link.gone.get() || cx.link.revoked.get() => AttemptResult::Cancelled,
        Ended::ClientLeft => AttemptResult::Cancelled,
        Ended::NoAnswer | Ended::Broken => AttemptResult::Broken,
    }
}

/// Shows the client the best error there is, now that nobody is left to ask. `last`: why nobody is.
pub async fn last_word<'c>(
    cx: &Exchange<'c>,
    client: &mut Writer,
    tries: Tries,
    last: Fault,
    open: &mut OpenRecord,
) -> Result<Relayed<'c>, Fault> {
    if matches!(last.kind, FaultKind::ClientGone | FaultKind::KeyRevoked) {
        return Err(last);
    }
    match tries.into_best() {
        None => Err(last),
        Some(Shown::Fault(fault)) => Err(fault),
        Some(Shown::Answer(kept)) => match kept.show(cx, client, open).await {
            Some(outcome) => Ok(Relayed::Done(outcome, Metered::default())),
            None => Err(fault_of(Failure::Error, kept.status())),
        },
    }
}
