//! The upstream's credential on one attempt: whether there is one to show, how it stands on a head, and what the upstream
//! said of it. What never changes is in the head already (`Credential::lines`); here is what is minted or signed.
//!
//! A signature covers the body, and Bedrock takes no unsigned payload (contract.md §5.2), so a body that is signed is hashed
//! as its parts arrive and goes up when it is whole. It waits in the pipe, within the shard's cap for kept bodies.

use super::{download::error_type, edits::Edits};
use crate::{
    data::{
        edge::{
            incoming::Exchange,
            pipe::{Cursor, Next},
        },
        gate::route::body_fault,
        shard::credentials::Held,
    },
    dialect::aws::{
        refusal::{Refusal, refusal, skew_seconds},
        sigv4::{self, AmzTime, Signing},
    },
    kernel::{
        credential::{Minted, Shown},
        fault::{Fault, FaultKind, Room},
        limits::{SIGNED_BODY_BYTES_MAX, SKEW_SECONDS_MIN},
        snapshot::Upstream,
    },
    sys::{clock, runtime},
    wire::h1::{Known, RequestBody, ResponseHead, header},
};
use aws_lc_rs::digest;
use std::{cell::Cell, rc::Rc, time::Duration};

/// So much is hashed before others get their turn. Bytes; about half a millisecond.
const HASH_BYTES_MAX: u64 = 1024 * 1024;
/// How long they get.
const HASH_PAUSE: Duration = Duration::from_millis(1);

/// What is shown to an upstream on one attempt, besides its fixed headers.
pub struct Shows<'a> {
    upstream: &'a Upstream,
    minted: Option<(&'a Minted, Rc<Held>)>,
    skew_seconds: i64,
    payload: Option<Box<Payload>>,
}

/// A body as it will be sent.
pub struct Payload {
    sha256: digest::Digest,
    /// Its length.
    pub bytes: u64,
}

/// Is there something to show this upstream? It fails at once: no request waits for a credential.
pub fn ready(cx: &Exchange<'_>, upstream: &Upstream) -> Result<(), Fault> {
    in_hand(cx, upstream).map(|_| ())
}

fn in_hand<'a>(cx: &Exchange<'_>, upstream: &'a Upstream) -> Result<Option<(&'a Minted, Rc<Held>)>, Fault> {
    let Some(minted) = &upstream.credential.minted else { return Ok(None) };
    let held = cx.shard.credentials.borrow().valid(&minted.slot, cx.shard.sweeper.unix().seconds());
    match held {
        Some(held) => Ok(Some((minted, held))),
        None => {
            let text = "the gateway has no valid credential for the upstream; the gateway's operator must mend it";
            Err(Fault::new(Room::Pool, FaultKind::UpstreamCredential, text))
        }
    }
}

impl<'a> Shows<'a> {
    /// Takes what there is to show. Where it signs, this waits for the whole body, as it will be sent.
    pub async fn prepare(cx: &Exchange<'_>, upstream: &'a Upstream, edits: &Edits) -> Result<Self, Fault> {
        let payload = match upstream.credential.signs() {
            true => Some(Box::new(Box::pin(payload(cx, edits)).await?)),
            false => None,
        };
        if let Some(fault) = cx.link.revocation(Room::Pool) {
            return Err(fault);
        }
        // Taken after the body has come, which may have been long.
        let minted = in_hand(cx, upstream)?;
        let skew_seconds = minted.as_ref().map_or(0, |(minted, _)| minted.slot.skew_seconds());
        Ok(Self { upstream, minted, skew_seconds, payload })
    }

    /// The body, where it had to be known.
    pub fn payload(&self) -> Option<&Payload> {
        self.payload.as_deref()
    }

    /// Puts it on a head that is whole but for its framing.
    pub fn put_on(&self, head: &mut Vec<u8>) {
        let Some((minted, held)) = &self.minted else { return };
        match (&held.grant.shown, &minted.signing, &self.payload) {
            (Shown::Lines(lines), ..) => head.extend_from_slice(lines.expose()),
            (Shown::Keys(keys), Some(scope), Some(payload)) => {
                let time = AmzTime::of(clock::unix().seconds() + self.skew_seconds);
                let key = held.signing_key(keys, scope, time);
                let signing = Signing { keys, scope, key: &key, time, payload_sha256: payload.sha256.as_ref() };
                sigv4::sign(head, &signing);
            }
            // Keys are minted only where a scope is configured, and the payload is known where there is one.
            (Shown::Keys(_), ..) => {}
        }
    }

    /// Does an answer say that our own credential is not good? Then the control plane is told, and nobody else.
    pub fn is_refused(&self, head: &ResponseHead, bytes: &[u8]) -> bool {
        let meant = match head.status {
            401 => Some(Refusal::Credential),
            403 if self.upstream.provider.signing_service().is_some() => refusal(error_type(head, bytes)),
            _ => None,
        };
        if let (Some(meant), Some((minted, held))) = (meant, &self.minted) {
            let now = clock::unix().seconds();
            let ahead = header(bytes, &head.headers, Known::Date).and_then(|date| skew_seconds(date, now));
            match ahead.filter(|ahead| (ahead - self.skew_seconds).abs() >= SKEW_SECONDS_MIN) {
                Some(ahead) if meant == Refusal::Signature && minted.signing.is_some() => minted.slot.learn_skew(ahead),
                _ => minted.slot.refuse(held.grant.version),
            }
        }
        meant.is_some()
    }

    /// Since this attempt, has something come that would be shown instead?
    pub fn is_outdated(&self, cx: &Exchange<'_>) -> bool {
        let Some((minted, held)) = &self.minted else { return false };
        let newest = cx.shard.credentials.borrow().valid(&minted.slot, clock::unix().seconds());
        minted.slot.skew_seconds() != self.skew_seconds
            || newest.is_some_and(|newest| newest.grant.version > held.grant.version)
    }
}

/// Waits for the whole body, and hashes it as it will be sent.
async fn payload(cx: &Exchange<'_>, edits: &Edits) -> Result<Payload, Fault> {
    if let RequestBody::Length(bytes) = cx.head.body
        && bytes > SIGNED_BODY_BYTES_MAX
    {
        return Err(too_large());
    }
    if !cx.pipe.is_ended() && !cx.pipe.look_further() {
        return Err(Fault::new(Room::Pool, FaultKind::Overloaded, "too many large requests at once; try again"));
    }
    let hashed = hash(cx, edits).await;
    cx.pipe.look_no_further();
    hashed
}

async fn hash(cx: &Exchange<'_>, edits: &Edits) -> Result<Payload, Fault> {
    let mut context = digest::Context::new(&digest::SHA256);
    let (mut bytes, mut in_a_row) = (0, 0);
    let (mut cursor, never) = (Cursor::default(), Cell::new(false));
    loop {
        let part = match cx.pipe.next(cursor, &never).await {
            Next::Part(part) => part,
            Next::End => return Ok(Payload { sha256: context.finish(), bytes }),
            Next::Failed(failure) => return Err(body_fault(cx, failure)),
            Next::Stopped => {
                let gone = || Fault::new(Room::Pool, FaultKind::ClientGone, "the client went away").closing();
                return Err(cx.link.revocation(Room::Pool).unwrap_or_else(gone));
            }
        };
        for piece in edits.apply(cursor.offset, &part) {
            context.update(piece.bytes());
            bytes += piece.len() as u64;
            in_a_row += piece.len() as u64;
        }
        if bytes > SIGNED_BODY_BYTES_MAX {
            return Err(too_large());
        }
        cursor.pass(&part);
        if in_a_row > HASH_BYTES_MAX {
            runtime::sleep(HASH_PAUSE).await;
            in_a_row = 0;
        }
    }
}

fn too_large() -> Fault {
    let text = format!(
        "the request body is larger than the {} MB that an upstream with signed requests takes",
        SIGNED_BODY_BYTES_MAX / 1_000_000
    );
    Fault::new(Room::Pool, FaultKind::BodyTooLarge, text)
}
