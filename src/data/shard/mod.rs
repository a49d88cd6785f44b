//! A shard: one pinned thread, one runtime, one listener, and everything it owns.
//!
//! Invariants: nothing here is shared with another shard except through `link`, the budget accounts and the rate limiters. A tick every 20 ms
//! looks at the down door, the deadlines, the leases and the slices; there is no other timer. Deliberately absent: any wake-up from
//! another thread, and any lock on a request's way.

pub mod callers;
pub mod credentials;
pub mod deadlines;
pub mod guard;
mod run;
pub mod serving;

use super::{
    gate::{
        expect::Expectations,
        leases::LeaseBook,
        queue::{Queues, Slots},
        rates::RateBook,
        standings::Standings,
        tokens::Tokens,
    },
    pool::idle::IdleConnections,
    spare::Spares,
};
use crate::{
    kernel::{
        ids::{RequestId, ShardId},
        routing::{hash, sessions::Sessions},
        time::MonoUs,
    },
    link::{bodies::BodySender, down::DownDoor, gauges::ShardGauges, up::UpSender},
    sys::socket::Listener,
};
pub use run::{Setup, run};
use serving::Serving;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

/// What a shard owns.
pub struct Shard {
    /// Which one.
    pub id: ShardId,
    /// How many there are.
    pub count: usize,
    /// From the control plane.
    pub door: Arc<DownDoor>,
    /// For the control plane's eyes.
    pub gauges: Arc<ShardGauges>,
    /// To the journal.
    pub up: RefCell<UpSender>,
    /// Its part of the budgets.
    pub leases: RefCell<LeaseBook>,
    /// Its part of the rate limits.
    pub rates: RefCell<RateBook>,
    /// Its places for requests.
    pub slots: Rc<Slots>,
    /// Everything that requests may wait for here.
    pub queues: Queues,
    /// Callers and sessions seen lately, and what they are held to.
    pub standings: RefCell<Standings>,
    /// Tokens that have been verified.
    pub tokens: RefCell<Tokens>,
    /// What requests usually cost.
    pub expectations: RefCell<Expectations>,
    /// What the upstreams are shown, where it is minted.
    pub credentials: RefCell<credentials::CredentialBook>,
    /// Upstream connections waiting for their next use.
    pub idle: RefCell<IdleConnections>,
    /// Which target served a session last.
    pub sessions: RefCell<Sessions>,
    /// Who is being served.
    pub callers: callers::Callers,
    /// Deadlines and the coarse clock.
    pub sweeper: deadlines::Sweeper,
    /// To the store of bodies.
    pub bodies: RefCell<BodySender>,
    /// What requests have done with.
    pub spares: Spares,
    /// Bytes of request bodies that are kept, over all connections.
    pub kept_bytes: Rc<Cell<usize>>,
    serving: RefCell<Rc<Serving>>,
    sequence: Cell<u64>,
    chance: Cell<u64>,
    connections: Cell<usize>,
    /// Accepts in the kernel's hands: each may still bring a connection.
    accepts: Cell<usize>,
    listeners: Box<[Listener]>,
    running: Cell<usize>,
}

impl Shard {
    /// What is served now. A request keeps what it gets here to its end.
    pub fn serving(&self) -> Rc<Serving> {
        self.serving.borrow().clone()
    }

    /// The identity of a request that began at a moment.
    pub fn next_request_id(&self, began: MonoUs) -> RequestId {
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1));
        RequestId::new(self.sweeper.unix_at(began).0, self.id, sequence)
    }

    /// Chance, for choices that need not be secret.
    pub fn chance(&self) -> u64 {
        let state = self.chance.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.chance.set(state);
        hash::mix(state, u64::from(self.id.0))
    }

    /// Counts a running request, for as long as the guard lives.
    pub fn begin_request(self: &Rc<Self>) -> RunningRequest {
        self.running.set(self.running.get() + 1);
        self.gauges.requests_running.add(1);
        RunningRequest(self.clone())
    }

    /// Client connections.
    pub fn connections(&self) -> usize {
        self.connections.get()
    }

    /// Running requests.
    pub fn running(&self) -> usize {
        self.running.get()
    }
}

/// A running request.
pub struct RunningRequest(Rc<Shard>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.gauges.requests_running.sub(1);
    }
}
