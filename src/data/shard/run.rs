//! The life of a shard: accept, tick, drain.

use super::{
    Shard,
    callers::{Callers, end_revoked, end_superseded},
    deadlines::Sweeper,
    guard::guarded,
    serving::{Place, Serving},
};
use crate::{
    data::spare::Spares,
    data::{
        edge::connection,
        gate::{
            expect::Expectations,
            leases::LeaseBook,
            queue::{Queues, Slots},
            rates::RateBook,
        },
        pool::idle::IdleConnections,
    },
    kernel::{ids::ShardId, limits::TICK, overload::fair::Room},
    link::{
        bodies::BodySender,
        down::{DownDoor, Phase},
        gauges::ShardGauges,
        up::UpSender,
    },
    sys::{
        affinity, buf, clock, heap,
        runtime::{self, Driver},
        socket::{Listener, Socket},
    },
};
use std::{
    cell::{Cell, RefCell},
    io,
    net::{SocketAddr, TcpListener},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

/// Deadlines are looked at every so many ticks.
const SWEEP_TICKS: u64 = 5;
/// Idle upstream connections are looked at every so many ticks.
const POOL_TICKS: u64 = 50;
/// How long an accept that failed (no descriptor left, say) waits before the next.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// How long a connection without a request gets to leave when the shard drains.
const DRAIN_GRACE: Duration = Duration::from_millis(200);

/// What a shard is made of.
pub struct Setup {
    /// Which one.
    pub id: ShardId,
    /// How many there are.
    pub count: usize,
    /// The core to be pinned to.
    pub core: Option<usize>,
    /// How it waits for the kernel.
    pub driver: Driver,
    /// Its listening sockets: one of its own, or what a process before this left.
    pub listeners: Vec<TcpListener>,
    /// From the control plane.
    pub door: Arc<DownDoor>,
    /// For the control plane's eyes.
    pub gauges: Arc<ShardGauges>,
    /// To the journal.
    pub up: UpSender,
    /// To the store of bodies.
    pub bodies: BodySender,
    /// Where its request numbers begin; drawn at random, so that ids never repeat across restarts.
    pub sequence: u64,
}

/// Runs a shard on the calling thread. Returns only if its runtime cannot be built.
pub fn run(setup: Setup) -> io::Error {
    if let Some(core) = setup.core
        && let Err(error) = affinity::pin_to(core)
    {
        tracing::warn!(shard = setup.id.0, core, %error, "cannot pin the shard to its core; it runs unpinned");
    }
    runtime::run(setup.driver, move || live(setup))
}

async fn live(setup: Setup) -> i32 {
    let listeners: io::Result<Box<[Listener]>> = setup.listeners.into_iter().map(Listener::new).collect();
    let listeners = match listeners {
        Ok(listeners) => listeners,
        Err(error) => {
            tracing::error!(shard = setup.id.0, %error, "cannot listen");
            return 1;
        }
    };
    let place = Place { shard: usize::from(setup.id.0), shards: setup.count, gauges: &setup.gauges };
    let serving = Rc::new(Serving::new(setup.door.latest(), None, &place));
    let shard = Rc::new(Shard {
        id: setup.id,
        count: setup.count,
        up: RefCell::new(setup.up),
        leases: RefCell::new(LeaseBook::new(usize::from(setup.id.0), setup.count)),
        rates: RefCell::new(RateBook::new(setup.count)),
        slots: Slots::new(room(&serving), setup.gauges.clone()),
        queues: Queues::default(),
        standings: RefCell::default(),
        expectations: RefCell::new(Expectations::default()),
        credentials: RefCell::default(),
        idle: RefCell::new(IdleConnections::default()),
        sessions: RefCell::default(),
        tokens: RefCell::default(),
        callers: Callers::default(),
        sweeper: Sweeper::new(clock::mono(), clock::ahead_us()),
        bodies: RefCell::new(setup.bodies),
        spares: Spares::default(),
        kept_bytes: Rc::default(),
        sequence: Cell::new(setup.sequence),
        chance: Cell::new(setup.sequence.rotate_left(17)),
        connections: Cell::new(0),
        accepts: Cell::new(0),
        listeners,
        running: Cell::new(0),
        serving: RefCell::new(serving),
        door: setup.door,
        gauges: setup.gauges,
    });
    shard.queues.follow(std::iter::once(&shard.slots).chain(shard.serving().slots_in_use()));
    shard.credentials.borrow_mut().follow(&shard.serving().upstreams);
    shard.door.applied(shard.id, shard.serving().version);
    for place in 0..shard.listeners.len() {
        runtime::spawn(accept_all(shard.clone(), place));
    }
    tick_on(shard).await;
    runtime::forever().await
}

/// Accepts for ever: an accept is never dropped. While draining, newcomers are turned away; while nothing is to be accepted, they
/// are left in the socket's queue.
async fn accept_all(shard: Rc<Shard>, place: usize) {
    let Some(listener) = shard.listeners.get(place) else { return };
    loop {
        if !shard.door.accepts() {
            runtime::sleep(TICK).await;
            continue;
        }
        shard.accepts.set(shard.accepts.get() + 1);
        let accepted = listener.accept().await;
        shard.accepts.set(shard.accepts.get() - 1);
        match accepted {
            Ok((socket, peer)) => admit_connection(&shard, socket, peer),
            Err(_) if !shard.door.accepts() => {}
            Err(error) => {
                tracing::warn!(shard = shard.id.0, %error, "cannot accept");
                runtime::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn admit_connection(shard: &Rc<Shard>, socket: Socket, peer: SocketAddr) {
    let serving = shard.serving();
    let full = shard.connections.get() >= serving.limits.connections_max;
    // A trusted proxy speaks for others; whom it speaks for is looked at with each request.
    let edge = &serving.edge;
    let mut welcome = edge.allow_from.iter().chain(&edge.trusted_proxies);
    let allowed = edge.allow_from.is_empty() || welcome.any(|net| net.contains(&peer.ip()));
    if full || !allowed || shard.door.phase() >= Phase::Draining {
        shard.gauges.connections_refused.add(1);
        return;
    }
    shard.gauges.connections_accepted.add(1);
    shard.connections.set(shard.connections.get() + 1);
    shard.gauges.connections.add(1);
    let shard = shard.clone();
    runtime::spawn(async move {
        if guarded(connection::serve(shard.clone(), socket, peer)).await.is_none() {
            shard.gauges.panics.add(1);
            tracing::error!(
                shard = shard.id.0,
                "a connection ended in a panic; its request is closed as gateway_failed"
            );
        }
        shard.connections.set(shard.connections.get() - 1);
        shard.gauges.connections.sub(1);
    });
}

/// The heartbeat. It ends when the shard has drained.
async fn tick_on(shard: Rc<Shard>) {
    let mut draining: Option<Drain> = None;
    for count in 1u64.. {
        runtime::sleep(TICK).await;
        shard.sweeper.advance(clock::mono(), clock::ahead_us());
        shard.gauges.ticks.set(count);
        take_snapshot(&shard);
        shard.credentials.borrow_mut().tick();
        let held = shard.leases.borrow_mut().tick(clock::unix());
        shard.gauges.leased_nanos.set(held.0.max(0) as u64);
        shard.rates.borrow_mut().tick(clock::mono());
        shard.queues.tick(shard.sweeper.now());
        end_superseded(&shard);
        if count % SWEEP_TICKS == 0 {
            shard.sweeper.sweep();
            shard.gauges.replay_bytes.set(shard.kept_bytes.get() as u64);
            shard.gauges.body_lane_bytes.set(shard.bodies.borrow().waiting() as u64);
            shard.gauges.buffer_bytes.set(buf::lent_bytes() as u64);
            if buf::trim() {
                // A burst is over, and not only its buffers are free now.
                heap::give_back();
            }
            let (serving, now) = (shard.serving(), shard.sweeper.now());
            let upstreams = serving.watches().map(|(upstream, watch)| (upstream.name_id, watch));
            shard.gauges.upstreams.write(upstreams, |row, watch| watch.show(row, now));
        }
        if count % POOL_TICKS == 0 {
            shard.standings.borrow_mut().tick(clock::mono());
            let idle =
                shard.idle.borrow_mut().prune(shard.sweeper.now(), &shard.serving(), &shard.gauges.connections_up);
            shard.gauges.upstream_idle.set(idle as u64);
        }
        if !shard.door.accepts() && shard.accepts.get() > 0 {
            shard.listeners.iter().for_each(Listener::stop);
        }
        if shard.door.phase() >= Phase::Retiring {
            let drain = draining.get_or_insert_with(|| Drain::begin(&shard));
            if drain.is_over(&shard) {
                shard.door.finished(shard.id);
                return;
            }
        }
    }
}

/// The places of a shard.
fn room(serving: &Serving) -> Room {
    Room { slots: serving.limits.streams_max, waiting_max: serving.limits.queue_max }
}

fn take_snapshot(shard: &Rc<Shard>) {
    let before = shard.serving();
    if let Some(newer) = shard.door.newer_than(before.version) {
        let place = Place { shard: usize::from(shard.id.0), shards: shard.count, gauges: &shard.gauges };
        let serving = Rc::new(Serving::new(newer, Some(&before), &place));
        shard.slots.resize(room(&serving));
        shard.queues.follow(serving.slots_in_use());
        let version = serving.version;
        shard.credentials.borrow_mut().follow(&serving.upstreams);
        *shard.serving.borrow_mut() = serving;
        end_revoked(shard);
        shard.door.applied(shard.id, version);
    }
}

/// A drain under way: connections without a request leave soon, running requests finish, and at the deadline all end. While it
/// retires, a shard closes no connection that waits for a request: nobody can know whether one is on its way. They end with
/// their next answer, which says so, or when they have been idle for `keep_alive_timeout`.
struct Drain {
    idle_leave_at: crate::kernel::time::MonoUs,
    all_end_at: crate::kernel::time::MonoUs,
    ended: bool,
    looked: u64,
}

impl Drain {
    fn begin(shard: &Shard) -> Self {
        let limits = &shard.serving().limits;
        Self {
            idle_leave_at: shard.sweeper.in_(DRAIN_GRACE),
            all_end_at: shard.sweeper.in_(limits.drain_timeout),
            ended: false,
            looked: 0,
        }
    }

    fn is_over(&mut self, shard: &Shard) -> bool {
        let now = shard.sweeper.now();
        if self.looked.is_multiple_of(SWEEP_TICKS) {
            let oldest = shard.callers.oldest().map_or(0, |since| now.since(since));
            shard.gauges.oldest_request_us.set(oldest);
        }
        let retired = shard.connections.get() == 0 && shard.accepts.get() == 0;
        let draining = shard.door.phase() >= Phase::Draining && now >= self.idle_leave_at;
        let no_request = shard.running.get() == 0 && (retired || draining);
        let too_late = now >= self.all_end_at || shard.door.phase() == Phase::Stopping;
        // Once is not enough: a connection may have been on its way to its upstream just then.
        self.looked += 1;
        if (no_request || too_late) && (!self.ended || self.looked.is_multiple_of(SWEEP_TICKS)) {
            self.ended = true;
            shard.sweeper.end_all();
        }
        self.ended && shard.running.get() == 0 && shard.up.borrow().promised() == 0
    }
}
