//! Room on a shard, and at an upstream that takes so many requests at once: who has it, who waits for it, who is turned away.
//!
//! The decisions are `kernel::overload`'s; here a request waits for its turn. It is woken by whoever gives a slot back, by the
//! tick in which its time is over, or by its own client's leaving; nobody asks again and again. While there is room, a request
//! takes its slot and goes on.

use crate::{
    data::{edge::incoming::Exchange, gate::route::body_fault, shard::Shard},
    kernel::{
        fault::{Fault, FaultKind, Room as FaultRoom},
        ids::PrincipalId,
        limits::REPLAY_BYTES_MAX,
        overload::{
            class::Class,
            fair::{Entered, FairSlots, Room, Ticket, Verdict},
        },
        time::MonoUs,
    },
    link::gauges::ShardGauges,
};
use std::{
    cell::RefCell,
    collections::HashMap,
    future::{Future, poll_fn},
    pin::pin,
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

/// The slots of a shard, or of one upstream on it.
pub struct Slots {
    fair: RefCell<FairSlots>,
    waits: RefCell<HashMap<Ticket, Waiting>>,
    gauges: Arc<ShardGauges>,
}

#[derive(Default)]
struct Waiting {
    verdict: Option<Verdict>,
    waker: Option<Waker>,
}

/// A slot; it goes back when this is dropped.
pub struct Slot {
    slots: Rc<Slots>,
    principal: PrincipalId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.fair.borrow_mut().leave(self.principal.0);
        self.slots.deliver();
    }
}

/// A request in its line; it leaves the line when this is dropped.
struct InLine {
    slots: Rc<Slots>,
    principal: PrincipalId,
    ticket: Ticket,
}

impl Drop for InLine {
    fn drop(&mut self) {
        self.slots.gauges.requests_waiting.sub(1);
        let waiting = self.slots.waits.borrow_mut().remove(&self.ticket);
        match waiting.map(|waiting| waiting.verdict) {
            // It was given a slot and never came to take it.
            Some(Some(Verdict::Granted)) => self.slots.fair.borrow_mut().leave(self.principal.0),
            Some(None) => {
                self.slots.fair.borrow_mut().cancel(self.principal.0, self.ticket);
            }
            _ => return,
        }
        self.slots.deliver();
    }
}

impl Slots {
    /// All free.
    pub fn new(room: Room, gauges: Arc<ShardGauges>) -> Rc<Self> {
        Rc::new(Self { fair: RefCell::new(FairSlots::new(room)), waits: RefCell::default(), gauges })
    }

    /// There are more or fewer now.
    pub fn resize(&self, room: Room) {
        if self.fair.borrow().room() != room {
            self.fair.borrow_mut().resize(room);
            self.deliver();
        }
    }

    /// Slots in use.
    pub fn taken(&self) -> usize {
        self.fair.borrow().taken()
    }

    /// Would a request have to wait?
    pub fn is_full(&self) -> bool {
        self.fair.borrow().is_full()
    }

    /// Ends the waits whose time is over.
    pub fn tick(&self, now: MonoUs) {
        if self.fair.borrow().waiting() > 0 {
            self.fair.borrow_mut().expire(now);
            self.deliver();
        }
    }

    /// Tells those who wait what was decided.
    fn deliver(&self) {
        let mut fair = self.fair.borrow_mut();
        let mut verdicts = fair.verdicts();
        if verdicts.len() == 0 {
            return;
        }
        let mut waits = self.waits.borrow_mut();
        for (ticket, verdict) in verdicts.by_ref() {
            if let Some(waiting) = waits.get_mut(&ticket) {
                waiting.verdict = Some(verdict);
                if let Some(waker) = waiting.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    fn enter(self: &Rc<Self>, principal: PrincipalId, class: Class, until: MonoUs) -> Result<Slot, Option<InLine>> {
        let entered = self.fair.borrow_mut().enter(principal.0, class, until);
        let answer = match entered {
            Entered::Granted => return Ok(Slot { slots: self.clone(), principal }),
            Entered::Refused => Err(None),
            Entered::Waits(ticket) => {
                self.waits.borrow_mut().insert(ticket, Waiting::default());
                self.gauges.requests_waiting.add(1);
                self.gauges.requests_queued.add(1);
                Err(Some(InLine { slots: self.clone(), principal, ticket }))
            }
        };
        // Somebody else may have lost a place.
        self.deliver();
        answer
    }
}

impl InLine {
    fn verdict(&self, task: &Context<'_>) -> Option<Verdict> {
        let mut waits = self.slots.waits.borrow_mut();
        let waiting = waits.entry(self.ticket).or_default();
        if waiting.verdict.is_none() && !waiting.waker.as_ref().is_some_and(|waker| waker.will_wake(task.waker())) {
            waiting.waker = Some(task.waker().clone());
        }
        waiting.verdict
    }

    fn take(self) -> Slot {
        let slot = Slot { slots: self.slots.clone(), principal: self.principal };
        self.slots.waits.borrow_mut().remove(&self.ticket);
        slot
    }
}

/// Takes a slot, at once or when it is this request's turn. `whose`: what the client is told is full.
pub async fn slot(
    cx: &Exchange<'_>,
    slots: &Rc<Slots>,
    principal: PrincipalId,
    class: Class,
    whose: &'static str,
) -> Result<Slot, Fault> {
    let until = cx.shard.sweeper.in_(cx.serving.limits.queue_wait);
    let waiting = match slots.enter(principal, class, until) {
        Ok(slot) => return Ok(slot),
        Err(None) => return Err(turned_away(cx.shard, whose)),
        Err(Some(waiting)) => waiting,
    };
    let mut over = pin!(cx.pipe.until(|| over(cx)));
    let decided = poll_fn(|task| match waiting.verdict(task) {
        Some(verdict) => Poll::Ready(Ok(verdict)),
        None => over.as_mut().poll(task).map(Err),
    });
    match decided.await? {
        Verdict::Granted => Ok(waiting.take()),
        Verdict::Displaced | Verdict::Expired => Err(turned_away(cx.shard, whose)),
    }
}

/// Why a waiting request waits no longer, other than that it is its turn.
fn over(cx: &Exchange<'_>) -> Option<Fault> {
    if cx.link.gone.get() {
        return Some(Fault::new(FaultRoom::Gate, FaultKind::ClientGone, "the client went away"));
    }
    let revoked = cx.link.revocation(FaultRoom::Gate);
    revoked.or_else(|| cx.pipe.failure().map(|failure| body_fault(cx, failure)))
}

fn turned_away(shard: &Shard, whose: &'static str) -> Fault {
    shard.gauges.requests_turned_away.add(1);
    Fault::new(FaultRoom::Gate, FaultKind::Overloaded, whose)
}

/// Turns away what its client holds dispensable, when the shard's room runs low: streams, connections, kept bodies.
pub fn shed(cx: &Exchange<'_>, class: Class) -> Result<(), Fault> {
    if class == Class::Main {
        return Ok(());
    }
    let (shard, limits) = (cx.shard, &cx.serving.limits);
    let sheds = |used, most| limits.shedding.sheds(class, used, most);
    let connections = sheds(shard.connections(), limits.connections_max);
    let full = sheds(shard.slots.taken(), limits.streams_max) || sheds(shard.kept_bytes.get(), REPLAY_BYTES_MAX);
    if !full && !connections {
        return Ok(());
    }
    shard.gauges.requests_shed[class as usize].add(1);
    let text = "this gateway is nearly full and keeps its room for what matters more; try again";
    let fault = Fault::new(FaultRoom::Gate, FaultKind::Overloaded, text);
    // Where connections are what runs out, this one makes room.
    Err(if connections { fault.closing() } else { fault })
}

/// Everything on a shard that requests may wait for, so that its tick can end waits.
#[derive(Default)]
pub struct Queues(RefCell<Vec<Weak<Slots>>>);

impl Queues {
    /// Looks after these, too, for as long as somebody uses them.
    pub fn follow<'a>(&self, slots: impl Iterator<Item = &'a Rc<Slots>>) {
        let mut all = self.0.borrow_mut();
        for slots in slots {
            if !all.iter().any(|known| std::ptr::eq(known.as_ptr(), Rc::as_ptr(slots))) {
                all.push(Rc::downgrade(slots));
            }
        }
    }

    /// Ends the waits whose time is over.
    pub fn tick(&self, now: MonoUs) {
        self.0.borrow_mut().retain(|slots| {
            slots.upgrade().is_some_and(|slots| {
                slots.tick(now);
                true
            })
        });
    }
}

/// A shard's part of what an upstream takes at once: an equal share, one at least.
pub fn part(all: u32, shard: usize, shards: usize) -> usize {
    let (all, shards) = (all as usize, shards.max(1));
    (all / shards + usize::from(shard < all % shards)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_shards_are_more_than_the_whole_or_nothing() {
        for (all, shards) in [(7, 3), (8, 4), (100, 7), (4, 4)] {
            assert_eq!((0..shards).map(|shard| part(all, shard, shards)).sum::<usize>(), all as usize);
        }
        assert_eq!((0..4).map(|shard| part(2, shard, 4)).sum::<usize>(), 4, "nobody could be served otherwise");
    }

    #[test]
    fn a_slot_is_lost_when_nobody_takes_what_was_granted() {
        let (room, mains) = (Room { slots: 1, waiting_max: 4 }, Class::Main);
        let slots = Slots::new(room, Arc::default());
        let first = slots.enter(PrincipalId(1), mains, MonoUs(9)).ok().expect("there is room");
        let waiting = slots.enter(PrincipalId(2), mains, MonoUs(9)).err().flatten().expect("it waits");
        drop(first);
        assert!(slots.is_full(), "it is granted to the one that waits");
        drop(waiting);
        assert_eq!((slots.taken(), slots.waits.borrow().len()), (0, 0));
        let again = slots.enter(PrincipalId(2), mains, MonoUs(9)).ok().expect("there is room");
        let waiting = slots.enter(PrincipalId(2), mains, MonoUs(9)).err().flatten().expect("it waits");
        drop(waiting);
        drop(again);
        assert_eq!((slots.taken(), slots.fair.borrow().waiting(), slots.gauges.requests_waiting.get()), (0, 0, 0));
    }
}
