//! The last room: price, correct the reservation, emit the record. Exactly once per request, whatever dies (law 2).
//!
//! An `OpenRecord` comes into being when a head has been read and ends in `close`. If it is dropped instead (a panic on the
//! way), it closes itself as `gateway_failed`, with what is known by then. Deliberately absent: any wait.

use super::{
    edge::tap::{Capture, Tap},
    gate::{expect::Kind, leases::Reservation, queue::Slot, rates::RateHolds, turns::OwnTurn},
    shard::{RunningRequest, Shard},
};
use crate::{
    dialect::anthropic::results::ResultsTally,
    kernel::{
        fault::{Blame, Fault, FaultKind},
        money::Nanos,
        pricing::{Ceiling, Rates},
        record::{Open, Operation, Outcome, Record},
        time::MonoUs,
        usage::{Usage, UsageSource},
    },
    link::up::Ticket,
    sys::clock,
};
use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    rc::Rc,
    sync::LazyLock,
};

/// What the budgets hold for a request, and what is needed to settle it.
pub struct Held {
    /// The money.
    pub reservation: Reservation,
    /// The prices that hold as long as no upstream has been asked: the dearest of those that may be.
    pub rates: Rates,
    /// The most that its tokens can cost, whoever serves it.
    pub ceiling: Ceiling,
    /// What kind of request it is.
    pub kind: Kind,
    /// The most it could cost.
    pub bound: Nanos,
}

/// What a request is known to have used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metered {
    /// How much.
    pub usage: Usage,
    /// Who says so.
    pub source: UsageSource,
    /// What it cost, where that has been worked out; else it is the usage at the request's own prices.
    pub cost: Option<Nanos>,
}

/// A request whose record is still to be sent.
pub struct OpenRecord {
    shard: Rc<Shard>,
    ticket: Option<Ticket>,
    held: Option<Held>,
    rates: Option<RateHolds>,
    slot: Option<Slot>,
    turn: Option<Box<OwnTurn>>,
    fallback: Metered,
    capture: Option<Box<Capture>>,
    /// What the results of a batch came to, where they were read to their end.
    pub results: Option<Box<ResultsTally>>,
    started: MonoUs,
    waited_us: u64,
    _running: RunningRequest,
    /// The record as far as it is known.
    pub record: Draft,
}

/// A record that is not closed yet. It stays in the one place it was made in until the journal has it.
pub struct Draft(Option<Box<Record>>);

/// What a draft reads as that has gone.
static GONE: LazyLock<Record> = LazyLock::new(Record::default);

impl Deref for Draft {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.0.as_deref().unwrap_or_else(|| &GONE)
    }
}

impl DerefMut for Draft {
    fn deref_mut(&mut self) -> &mut Record {
        self.0.get_or_insert_default()
    }
}

impl OpenRecord {
    /// Begins the record of a request. `None`: the journal has no room, not even for a refusal.
    pub fn begin(shard: &Rc<Shard>, record: Box<Record>, started: MonoUs) -> Option<Self> {
        let mut up = shard.up.borrow_mut();
        let ticket = up.ticket().or_else(|| up.refusal_ticket());
        if ticket.is_none() {
            shard.gauges.records_lost.add(1);
        }
        Some(Self {
            ticket: Some(ticket?),
            held: None,
            rates: None,
            slot: None,
            turn: None,
            fallback: Metered::default(),
            capture: None,
            results: None,
            started,
            waited_us: 0,
            _running: shard.begin_request(),
            shard: shard.clone(),
            record: Draft(Some(record)),
        })
    }

    /// Takes what the budgets hold.
    pub fn hold(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// Takes the request's place on the shard, to its end.
    pub fn occupy(&mut self, slot: Slot) {
        self.slot = Some(slot);
    }

    /// Takes the request's part in its turn, to say how that ended.
    pub fn end_turn(&mut self, turn: Option<Box<OwnTurn>>) {
        self.turn = turn;
    }

    /// The audit's tap on the request's body, if there is one.
    pub fn request_tap(&self) -> Option<Rc<RefCell<Tap>>> {
        self.capture.as_ref().map(|capture| capture.request_tap())
    }

    /// Takes what the rate limits hold.
    pub fn hold_rates(&mut self, held: RateHolds) {
        self.rates = Some(held);
    }

    /// The request does not run after all: its rate limits never knew it.
    pub fn undo_rates(&mut self) {
        if let Some(held) = self.rates.take() {
            self.shard.rates.borrow_mut().undo(held);
        }
    }

    /// The audit wants to know the bodies.
    pub fn tap(&mut self, capture: Capture) {
        self.capture = Some(Box::new(capture));
    }

    /// A tap for an answer, if the audit wants to know it.
    pub fn tap_answer(&self) -> Option<Box<Tap>> {
        self.capture.as_ref().map(|capture| capture.tap_answer())
    }

    /// What passed of an answer, of which the client has at least the head, or nothing.
    pub fn answered(&mut self, tap: Option<Box<Tap>>, told: bool) {
        if let (Some(capture), Some(tap)) = (&mut self.capture, tap) {
            capture.answered(tap, told);
        }
    }

    /// What the budgets hold.
    pub fn reserved(&self) -> Nanos {
        self.held.as_ref().map_or(Nanos::ZERO, |h| h.reservation.amount())
    }

    /// Puts the opening note on its way. From here on the request is booked even if nothing more is heard of it.
    pub fn announce(&mut self, note: Open) -> bool {
        let cost = (note.operation == Operation::BatchCreate).then_some(note.estimate_cost);
        self.fallback = Metered { usage: note.estimate, source: UsageSource::Estimated, cost };
        self.record.reserved = note.reserved;
        self.ticket.as_mut().is_some_and(|ticket| self.shard.up.borrow_mut().open(ticket, note))
    }

    /// This upstream serves it, at its own prices; none is above the ceiling.
    pub fn reprice(&mut self, rates: Rates) {
        if let Some(held) = &mut self.held {
            held.rates = rates;
        }
    }

    /// The prices it is settled at, where anything is held for it.
    pub fn rates(&self) -> Option<Rates> {
        self.held.as_ref().map(|held| held.rates)
    }

    /// The most it could cost is known better now: the body is whole, and `max_tokens` comes last. What is usual is learnt as a
    /// share of this, since a nearly spent budget knows it before it decides.
    pub fn tighten(&mut self, bound: impl FnOnce(&Ceiling) -> Nanos) {
        if let Some(held) = &mut self.held {
            held.bound = bound(&held.ceiling);
        }
    }

    /// Time spent waiting for others, which is not ours.
    pub fn waited(&mut self, us: u64) {
        self.waited_us += us;
    }

    /// The request is over.
    pub fn close(mut self, outcome: Outcome, metered: Metered) {
        self.settle(outcome, metered);
    }

    fn settle(&mut self, outcome: Outcome, metered: Metered) {
        let Some(ticket) = self.ticket.take() else { return };
        self.slot = None;
        let now = clock::mono();
        let mut record = self.record.0.take().unwrap_or_default();
        record.outcome = outcome;
        record.usage = metered.usage;
        record.usage_source = metered.source;
        if let Some(held) = self.held.take() {
            record.cost = metered.cost.unwrap_or_else(|| held.rates.cost(&metered.usage));
            self.shard.leases.borrow_mut().settle(held.reservation, record.cost);
            if outcome == Outcome::Completed && metered.source == UsageSource::Reported {
                self.shard.expectations.borrow_mut().learn(held.kind, held.bound, record.cost);
            }
        }
        if let Some(turn) = self.turn.take() {
            turn.end(&mut record, &self.shard.gauges);
        }
        if let Some(held) = self.rates.take() {
            self.shard.rates.borrow_mut().settle(held, &metered.usage, now);
        }
        if let Some(capture) = self.capture.take() {
            capture.close(&mut record, outcome == Outcome::Completed);
        }
        record.ended_at = self.shard.sweeper.unix_at(now);
        record.duration_us = now.since(self.started);
        record.gateway_us = record.duration_us.saturating_sub(self.waited_us);
        self.shard.up.borrow_mut().close(ticket, record);
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if self.ticket.is_some() {
            self.record.refused_by = Some(FaultKind::Internal.label());
            self.settle(Outcome::GatewayFailed, self.fallback);
        }
    }
}

/// How a request that ended in a fault is booked.
pub fn outcome_of(fault: &Fault) -> Outcome {
    match (&fault.kind, fault.kind.blame()) {
        (FaultKind::ClientGone, _) => Outcome::ClientAborted,
        (FaultKind::Internal, _) => Outcome::GatewayFailed,
        (FaultKind::UpstreamCredential, _) | (_, Blame::Upstream) => Outcome::UpstreamFailed,
        _ => Outcome::Refused,
    }
}
