//! A request whose head has been read and found sound: what the edge hands to the gate.

use super::pipe::BodyPipe;
use crate::{
    data::{
        gate::{identify::Shown, objects::body_bytes_max, turns::OwnTurn},
        shard::{
            Shard,
            deadlines::{Awaited, Deadlines},
            serving::Serving,
        },
    },
    dialect::{self, NoRoute, Route},
    kernel::{
        fault::{Fault, FaultKind, Room},
        identity::CertificateNames,
        ids::RequestId,
        limits::DISCARD_BYTES_MAX,
        time::{MonoUs, UnixMs},
    },
    sys::{clock, sides::Sides, socket::Kill},
    wire::h1::{Known, RequestBody, RequestHead, header},
};
use std::{
    cell::{Cell, RefCell},
    net::IpAddr,
    rc::Rc,
    time::Duration,
};

/// What both sides of one exchange know of the client's connection.
pub struct ClientLink {
    /// Its deadlines and its switch.
    pub deadlines: Rc<Deadlines>,
    /// The client went away while its request was running.
    pub gone: Cell<bool>,
    /// The connection ends with this exchange.
    pub closing: Cell<bool>,
    /// The exchange is still running: an end of the client's bytes now means that it went away.
    pub walking: Cell<bool>,
    /// The answer broke off: the connection is to end with a reset, so that nobody takes it for whole.
    pub broken: Cell<bool>,
    /// The key of the running request was revoked, and such requests are to end.
    pub revoked: Cell<bool>,
    /// When the running request began.
    pub since: Cell<MonoUs>,
    /// The running request's way up and its answer's way down.
    pub directions: Rc<Sides>,
    caller: Cell<Option<Shown>>,
    upstream: RefCell<Option<Work>>,
    /// Boxed: where nobody asks for duplicates to be noticed there is none.
    turn: RefCell<Option<Box<OwnTurn>>>,
}

/// What becomes of the upstream that works for a client when the client goes away.
pub enum Work {
    /// Its connection ends at once.
    Cancel(Kill),
    /// Its answer is read to the end, but no longer than this from then on.
    Drain(Rc<Deadlines>, Duration),
}

impl ClientLink {
    /// A link to a connection.
    pub fn new(deadlines: Rc<Deadlines>) -> Self {
        Self {
            deadlines,
            gone: Cell::new(false),
            closing: Cell::new(false),
            walking: Cell::new(false),
            broken: Cell::new(false),
            revoked: Cell::new(false),
            since: Cell::new(MonoUs(0)),
            directions: Rc::default(),
            caller: Cell::new(None),
            upstream: RefCell::new(None),
            turn: RefCell::new(None),
        }
    }

    /// Makes it ready for the next exchange.
    pub fn reset(&self, now: MonoUs) {
        self.since.set(now);
        self.gone.set(false);
        self.caller.set(None);
        self.walking.set(true);
        *self.turn.borrow_mut() = None;
    }

    /// The running request may be asked again by somebody who does not wait for it.
    pub fn takes_part(&self, turn: OwnTurn) {
        *self.turn.borrow_mut() = Some(Box::new(turn));
    }

    /// The running request will go upstream.
    pub fn admitted(&self) {
        if let Some(turn) = self.turn.borrow_mut().as_mut() {
            turn.admitted();
        }
    }

    /// The running request's body is whole.
    pub fn body_is_whole(&self) {
        if let Some(turn) = self.turn.borrow_mut().as_mut() {
            turn.look();
        }
    }

    /// The running request is over; what is left to say of its turn goes into its record.
    pub fn take_turn(&self) -> Option<Box<OwnTurn>> {
        self.turn.borrow_mut().take()
    }

    /// Ends the running request, if it has been asked again and only the newer one is to run: as if the client had left it,
    /// since nobody waits for it any more. `leave_by`: until then a client that does not listen may stay.
    pub fn supersede_if_cut(&self, leave_by: MonoUs) {
        let cut = self.turn.borrow().as_ref().is_some_and(|turn| turn.is_cut());
        if cut && self.walking.get() && !self.gone.get() {
            self.closing.set(true);
            self.deadlines.arm(Awaited::Whole, leave_by);
            self.leave();
        }
    }

    /// The running request was asked with this.
    pub fn asked_with(&self, shown: Shown) {
        self.caller.set(Some(shown));
    }

    /// What the running request was asked with; none without a running request or before it is identified.
    pub fn caller(&self) -> Option<Shown> {
        self.caller.get().filter(|_| self.walking.get() && !self.gone.get() && !self.revoked.get())
    }

    /// Ends the running request, since its key is no longer valid: the upstream at once, the client as soon as it has been
    /// told, or at `leave_by` if it does not listen.
    pub fn revoke(&self, leave_by: MonoUs) {
        self.revoked.set(true);
        self.closing.set(true);
        self.deadlines.arm(Awaited::Whole, leave_by);
        match self.upstream.borrow_mut().take() {
            Some(Work::Cancel(kill)) => kill.end(),
            Some(Work::Drain(deadlines, _)) => deadlines.kill().end(),
            None => {}
        }
    }

    /// The fault of a request whose key was revoked while it ran.
    pub fn revocation(&self, room: Room) -> Option<Fault> {
        let text = "the credential of this request has been revoked; the request was ended";
        self.revoked.get().then(|| Fault::new(room, FaultKind::KeyRevoked, text).closing())
    }

    /// The upstream that works for this client now, and what becomes of it when the client goes away.
    pub fn works_for(&self, upstream: Option<Work>) {
        *self.upstream.borrow_mut() = upstream;
    }

    /// The client went away: cancel the upstream at once, or give it the time it has left.
    pub fn leave(&self) {
        if self.walking.get() {
            self.gone.set(true);
            match self.upstream.borrow_mut().take() {
                Some(Work::Cancel(kill)) => kill.end(),
                Some(Work::Drain(deadlines, most)) => deadlines.arm_sooner(Awaited::Whole, clock::mono().after(most)),
                None => {}
            }
        }
    }
}

/// Everything an exchange works with; lent to each room.
pub struct Exchange<'c> {
    /// The shard.
    pub shard: &'c Rc<Shard>,
    /// The configuration this request began with.
    pub serving: &'c Serving,
    /// The parsed head.
    pub head: &'c RequestHead,
    /// The head's bytes.
    pub bytes: &'c [u8],
    /// The body.
    pub pipe: &'c BodyPipe,
    /// The client's connection.
    pub link: &'c ClientLink,
    /// Who connected.
    pub peer: IpAddr,
    /// The names in the client certificate of the connection, which has been verified.
    pub certificate: Option<&'c CertificateNames>,
    /// Which request.
    pub id: RequestId,
    /// When its head was read.
    pub started: MonoUs,
}

impl<'c> Exchange<'c> {
    /// When its head was read, by the wall clock.
    pub fn began_at(&self) -> UnixMs {
        self.id.began_at()
    }

    /// The first header of that name.
    pub fn header(&self, known: Known) -> Option<&'c [u8]> {
        header(self.bytes, &self.head.headers, known)
    }

    /// Who really calls: the peer, or what a trusted proxy says of it. The list is read from its end, since only the entries
    /// that trusted proxies added can be believed; `None` if what they wrote cannot be read.
    pub fn client(&self) -> Option<IpAddr> {
        let trusted = |ip: &IpAddr| self.serving.edge.trusted_proxies.iter().any(|net| net.contains(ip));
        if !trusted(&self.peer) {
            return Some(self.peer);
        }
        let lists = self.head.headers.iter().filter(|h| h.name.of(self.bytes).eq_ignore_ascii_case(b"x-forwarded-for"));
        for list in lists.rev() {
            for hop in list.value.of(self.bytes).rsplit(|b| *b == b',') {
                let hop = std::str::from_utf8(hop).ok()?.trim().parse().ok()?;
                if !trusted(&hop) {
                    return Some(hop);
                }
            }
        }
        Some(self.peer)
    }

    fn client_is_allowed(&self) -> bool {
        let edge = &self.serving.edge;
        // A trusted proxy that names nobody asks for itself: a health probe.
        let welcome = |ip: IpAddr| edge.allow_from.iter().chain(&edge.trusted_proxies).any(|net| net.contains(&ip));
        edge.allow_from.is_empty() || self.client().is_some_and(welcome)
    }

    /// The rest of the body is too long to be read and forgotten, or nobody knows where it ends: the connection cannot be kept.
    pub fn body_is_in_the_way(&self) -> bool {
        let unread = match self.head.body {
            _ if self.pipe.is_ended() => 0,
            RequestBody::None => 0,
            RequestBody::Length(bytes) => bytes.saturating_sub(self.pipe.received()),
            RequestBody::Chunked => u64::MAX,
        };
        // A client that waits for `100 Continue` may or may not send its body now: the framing can no longer be trusted.
        unread > DISCARD_BYTES_MAX || (self.head.expect_continue && unread > 0) || self.pipe.failure().is_some()
    }

    /// The client's path, raw.
    pub fn path(&self) -> &'c [u8] {
        self.head.path.of(self.bytes)
    }
}

/// A request that is sound and leads somewhere.
pub struct Incoming {
    /// Where it leads.
    pub route: Route,
}

impl Incoming {
    /// Finds out where a request leads, and holds it to the limits its head already shows.
    pub fn accept(cx: &Exchange<'_>) -> Result<Self, Fault> {
        let route = dialect::route(cx.head.method, cx.path()).map_err(|no| match no {
            NoRoute::Path => Fault::new(Room::Edge, FaultKind::NotFound, "no such path on this gateway"),
            NoRoute::Method(allowed) => {
                Fault::new(Room::Edge, FaultKind::MethodNotAllowed(allowed), format!("this path takes {allowed} only"))
            }
        })?;
        if !cx.client_is_allowed() {
            let text = "this address may not use the gateway (listen.allow_from)";
            return Err(Fault::new(Room::Edge, FaultKind::Denied, text).closing());
        }
        let most = body_bytes_max(cx.path(), &cx.serving.limits);
        if let RequestBody::Length(bytes) = cx.head.body
            && bytes > most
        {
            return Err(too_large(most));
        }
        Ok(Self { route })
    }
}

/// The body is larger than the limit.
pub fn too_large(most: u64) -> Fault {
    let text = format!("the request body is larger than the limit of {} MiB", most / (1024 * 1024));
    Fault::new(Room::Edge, FaultKind::BodyTooLarge, text)
}
