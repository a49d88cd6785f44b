//! What has been tried for one request, and what may be tried next.

use super::watch::{UpstreamWatch, Visit};
use crate::{
    data::{
        edge::incoming::Exchange,
        gate::{Admitted, Routed},
        relay::kept::KeptAnswer,
    },
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::{ATTEMPTS_MAX, RETRY_JITTER},
        models::{Strategy, Target},
        record::Operation,
        routing::{
            Failure, hash,
            health::Illness,
            pick::{self, Ask, Standing},
        },
        snapshot::Upstream,
    },
    wire::h1::Known,
};
use std::{rc::Rc, time::Duration};

/// What the client is told if nothing better comes.
pub enum Shown {
    /// The upstream's own answer, byte for byte, or said anew for a client of another format.
    Answer(Box<KeptAnswer>),
    /// Ours.
    Fault(Fault),
}

/// What has been tried for a request.
pub struct Tries {
    /// Places of targets that have been tried, as bits.
    tried: u64,
    attempts: usize,
    /// The target that is being asked.
    current: usize,
    /// A kept connection had gone stale, or a credential: the same target again, on a new connection.
    fresh: bool,
    /// The request has been asked again without what was refused by name.
    repaired: bool,
    /// Where the session belongs, hashed; only where there is something to choose.
    session: Option<u64>,
    best: Option<(Failure, Shown)>,
}

impl Tries {
    /// Of a request that has been asked of nobody yet.
    pub fn new(cx: &Exchange<'_>, admitted: &Admitted<'_>) -> Self {
        let routed = &admitted.routed;
        let chooses = routed.able.count_ones() > 1 && routed.strategy == Strategy::Affinity;
        let session = if chooses { session_of(cx, routed) } else { None };
        Self { tried: 0, attempts: 0, current: 0, fresh: false, repaired: false, session, best: None }
    }

    /// The target being asked had closed a kept connection: it is asked again, on a new one.
    pub fn stale(&mut self) {
        self.fresh = true;
    }

    /// The target being asked refuses something by name: it is asked again without.
    pub fn repair(&mut self) {
        (self.fresh, self.repaired) = (true, true);
    }

    /// May the target being asked be asked again without what it refuses? Once in a request.
    pub fn may_repair(&self) -> bool {
        !self.repaired && self.attempts < ATTEMPTS_MAX
    }

    /// Is the next attempt to be made on a new connection?
    pub fn wants_fresh(&self) -> bool {
        self.fresh
    }

    /// No attempt has been made yet.
    pub fn is_first(&self) -> bool {
        self.attempts <= 1
    }

    /// How long to wait before the attempt that comes next. The second comes at once: it is another upstream's.
    pub fn pause(&self, chance: u64) -> Option<Duration> {
        let doublings = self.attempts.checked_sub(3)?;
        let most = RETRY_JITTER.as_micros() as u64 * (1 << doublings.min(4));
        Some(Duration::from_micros(chance % most))
    }

    /// The target to ask now.
    pub fn next(&mut self, cx: &Exchange<'_>, routed: &Routed<'_>) -> Option<usize> {
        if self.fresh {
            self.attempts += 1;
            return (self.attempts <= ATTEMPTS_MAX).then_some(self.current);
        }
        let place = match routed.able.count_ones() {
            // Nothing to choose: neither hash nor health is looked at.
            1 => (self.attempts == 0).then_some(routed.able.trailing_zeros() as usize),
            _ if self.attempts >= ATTEMPTS_MAX => None,
            _ => self
                .pick_with_room(cx, routed)
                .or_else(|| (self.attempts == 0).then(|| least_bad(cx, routed)).flatten()),
        }?;
        self.attempts += 1;
        self.tried |= 1 << (place & 63);
        self.current = place;
        Some(place)
    }

    /// Where nothing ties the request to one target, those with a free place come first. A session waits where its prompts are
    /// cached: to move it would cost more than the wait.
    fn pick_with_room(&self, cx: &Exchange<'_>, routed: &Routed<'_>) -> Option<usize> {
        let tied = routed.strategy == Strategy::Affinity && self.session.is_some();
        let full = if tied { 0 } else { full(cx, routed) };
        let elsewhere = (full != 0).then(|| self.pick_beside(cx, routed, full)).flatten();
        elsewhere.or_else(|| self.pick(cx, routed))
    }

    fn pick(&self, cx: &Exchange<'_>, routed: &Routed<'_>) -> Option<usize> {
        self.pick_beside(cx, routed, 0)
    }

    fn pick_beside(&self, cx: &Exchange<'_>, routed: &Routed<'_>, beside: u64) -> Option<usize> {
        let bound = self.session.and_then(|session| {
            let salt = cx.shard.sessions.borrow().find(session, cx.shard.sweeper.now())?;
            routed.targets.iter().position(|target| target.salt == salt)
        });
        let random = cx.shard.chance();
        let among = |places: u64| {
            let tried = self.tried | beside | !places;
            let ask = Ask { strategy: routed.strategy, session: self.session, bound, tried, random };
            pick::pick(routed.targets, &ask, |target| standing(cx, target))
        };
        // What speaks the client's own format comes first, whatever its rank.
        let native = (routed.native != 0).then(|| among(routed.native)).flatten();
        native.or_else(|| if routed.native == routed.able { None } else { among(routed.able) })
    }

    /// The target being asked has failed. Would another be asked in its place?
    pub fn goes_on(&self, cx: &Exchange<'_>, routed: &Routed<'_>, failure: Failure) -> bool {
        if failure.may_be_billed() && routed.identified.incoming.route.operation.makes() {
            // It may have been made; a second one would be made, too.
            return false;
        }
        if self.holds_better(failure) {
            return true;
        }
        if routed.able.count_ones() < 2 || self.attempts >= ATTEMPTS_MAX || self.pick(cx, routed).is_none() {
            return false;
        }
        let Some(watch) = self.watch(cx, routed) else { return false };
        let affordable = !failure.was_asked() || watch.has_retry(cx.shard.sweeper.now());
        if !affordable {
            watch.deny_retry();
        }
        affordable
    }

    /// There is a better error to show already.
    fn holds_better(&self, failure: Failure) -> bool {
        self.best.as_ref().is_some_and(|(kept, _)| *kept < failure)
    }

    fn watch<'a>(&self, cx: &'a Exchange<'_>, routed: &Routed<'_>) -> Option<&'a Rc<UpstreamWatch>> {
        cx.serving.watch(routed.targets.get(self.current)?.upstream)
    }

    /// The target has not even been asked.
    pub fn skipped(&mut self, failure: Failure, shown: Shown) {
        self.fresh = false;
        if !self.holds_better(failure) {
            self.best = Some((failure, shown));
        }
    }

    /// The target being asked has failed, and the client does not know.
    pub fn failed(&mut self, cx: &Exchange<'_>, routed: &Routed<'_>, failure: Failure, shown: Shown) {
        self.skipped(failure, shown);
        if failure.was_asked()
            && let Some(watch) = self.watch(cx, routed)
            && !watch.take_retry(cx.shard.sweeper.now())
        {
            self.attempts = ATTEMPTS_MAX;
        }
    }

    /// A target has served the request: its session belongs there now.
    fn bind(&self, cx: &Exchange<'_>, target: &Target) {
        if let Some(session) = self.session {
            cx.shard.sessions.borrow_mut().bind(session, target.salt, cx.shard.sweeper.now());
        }
    }

    /// The best error there is to show, once nobody is left to ask.
    pub fn into_best(self) -> Option<Shown> {
        self.best.map(|(_, shown)| shown)
    }

    /// Why nobody is asked at all.
    pub fn nobody(&self, cx: &Exchange<'_>, routed: &Routed<'_>) -> Fault {
        let now = cx.shard.sweeper.now();
        let waits = routed.targets.iter().filter_map(|target| cx.serving.wait(target.place)?.left(now));
        match waits.min() {
            Some(wait) => {
                let retry_after_seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                let text = "every upstream of this model is at its rate limit and has asked to wait";
                Fault::new(Room::Pool, FaultKind::RateLimited { retry_after_seconds }, text)
            }
            None => unreachable_fault(),
        }
    }
}

/// What the client is told of an upstream that cannot be reached.
pub fn unreachable_fault() -> Fault {
    Fault::new(Room::Pool, FaultKind::UpstreamUnreachable, "the upstream cannot be reached; try again")
}

/// The same, saying whether a proxy stands in between: which one is the operators' business, and in the log.
pub fn unreachable_fault_of(upstream: &Upstream) -> Fault {
    match upstream.tunnel {
        Some(_) => {
            let text = "the upstream cannot be reached through the gateway's proxy; try again";
            Fault::new(Room::Pool, FaultKind::UpstreamUnreachable, text)
        }
        None => unreachable_fault(),
    }
}

/// A session within its caller's scope: nobody can move another's by using its id.
fn session_of(cx: &Exchange<'_>, routed: &Routed<'_>) -> Option<u64> {
    let session = cx.header(Known::ClaudeCodeSessionId).filter(|session| !session.is_empty())?;
    Some(hash::bytes(routed.identified.caller.affinity_scope(), session))
}

/// Places of targets where a request would have to wait, as bits.
fn full(cx: &Exchange<'_>, routed: &Routed<'_>) -> u64 {
    let full = |target: &Target| cx.serving.slots(target.upstream).is_some_and(|slots| slots.is_full());
    let bits = routed.targets.iter().enumerate().filter(|(_, target)| full(target));
    bits.fold(0, |bits, (place, _)| bits | 1 << (place & 63))
}

fn standing(cx: &Exchange<'_>, target: &Target) -> Standing {
    let now = cx.shard.sweeper.now();
    if cx.serving.wait(target.place).is_some_and(|wait| wait.left(now).is_some()) {
        return Standing::CLOSED;
    }
    cx.serving.watch(target.upstream).map_or(Standing::CLOSED, |watch| watch.standing(now))
}

/// Nobody is well: the one that is to come back first. Refusing would turn a bad minute of the providers into a sure outage of
/// ours, and one attempt costs little. Not so for the dead, where nothing can come of it, and for those that named a wait.
/// With one target left that is well there is no panic: an account that cannot take more says so with a 429, and is left alone.
fn least_bad(cx: &Exchange<'_>, routed: &Routed<'_>) -> Option<usize> {
    let now = cx.shard.sweeper.now();
    let able = routed.targets.iter().enumerate().filter(|(place, _)| routed.able >> (place & 63) & 1 == 1);
    let askable = able.filter_map(|(place, target)| {
        let waits = cx.serving.wait(target.place).is_some_and(|wait| wait.left(now).is_some());
        let (illness, until) = cx.serving.watch(target.upstream)?.look(|health| health.ejected())?;
        (!waits && illness != Illness::Dead).then_some((until, place))
    });
    askable.min().map(|(_, place)| place)
}

/// What the relay asks while an attempt runs: is this the client's answer, or does another target get its chance?
pub struct Second<'a> {
    /// The exchange.
    pub cx: &'a Exchange<'a>,
    /// What has been tried.
    pub tries: &'a Tries,
    /// What is asked for.
    pub routed: &'a Routed<'a>,
    /// The target being asked.
    pub target: &'a Target,
    /// Its upstream's name.
    pub upstream: &'a str,
    /// The attempt.
    pub visit: &'a Visit,
}

impl Second<'_> {
    /// The upstream has answered with a status, which may be a failure, and perhaps named a wait.
    pub fn heard(&self, status: u16, failure: Option<Failure>, wait: Option<Duration>) {
        let now = self.cx.shard.sweeper.now();
        match failure {
            // An object that is not there says nothing about the account.
            Some(Failure::NoModel) if self.routed.sought.is_some() => self.visit.answered(now),
            Some(failure) => self.visit.failed(self.cx.shard, self.upstream, failure, status),
            None => self.visit.answered(now),
        }
        let messages = self.routed.identified.incoming.route.operation == Operation::Messages;
        if messages && (200..300).contains(&status) {
            self.tries.bind(self.cx, self.target);
        }
        if let Some(wait) = wait
            && messages
            && failure.is_some()
            && let Some(target) = self.cx.serving.wait(self.target.place)
        {
            target.wait(now, wait);
        }
    }

    /// The upstream gave no answer, or broke off in the middle of it.
    pub fn broke(&self, failure: Failure) {
        self.visit.failed(self.cx.shard, self.upstream, failure, 0);
    }

    /// Is the failure kept from the client, since another target gets its chance or a better error is at hand? Only as long as
    /// the body can be sent again from its beginning.
    pub fn hides(&self, failure: Failure) -> bool {
        let (pipe, link) = (self.cx.pipe, self.cx.link);
        pipe.is_whole_so_far()
            && pipe.failure().is_none()
            && !link.gone.get()
            && !link.revoked.get()
            && self.tries.goes_on(self.cx, self.routed, failure)
    }
}
