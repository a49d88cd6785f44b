//! What this shard remembers of upstreams and targets from one request to the next, over reloads too: the health of an
//! upstream, and until when a target has asked to be left alone.

use crate::{
    data::shard::Shard,
    kernel::{
        limits::RETRY_AFTER_MAX,
        routing::{
            Failure,
            health::{self, Health},
            pick::Standing,
        },
        time::MonoUs,
    },
    link::board::UpstreamGauges,
};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::Duration,
};

/// An upstream's health on this shard.
pub struct UpstreamWatch(RefCell<Health>);

/// Until when a target has asked to be left alone.
#[derive(Default)]
pub struct TargetWatch(Cell<MonoUs>);

impl TargetWatch {
    /// It has named a wait.
    pub fn wait(&self, now: MonoUs, wait: Duration) {
        self.0.set(self.0.get().max(now.after(wait.min(RETRY_AFTER_MAX))));
    }

    /// What is left of its wait; none if it may be asked.
    pub fn left(&self, now: MonoUs) -> Option<Duration> {
        let left = self.0.get().since(now);
        (left > 0).then(|| Duration::from_micros(left))
    }
}

impl Default for UpstreamWatch {
    fn default() -> Self {
        Self(RefCell::new(Health::new(MonoUs(0))))
    }
}

impl UpstreamWatch {
    /// What it takes now.
    pub fn standing(&self, now: MonoUs) -> Standing {
        self.0.borrow().standing(now)
    }

    /// Looks at its health.
    pub fn look<T>(&self, look: impl FnOnce(&Health) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Shows what there is to see.
    pub fn show(&self, row: &UpstreamGauges, now: MonoUs) {
        let health = self.0.borrow();
        let standing = health.standing(now);
        row.set_condition(health.condition(now));
        row.share.set(u64::from(standing.share));
        row.ejected_for_ms.set(health.ejected().map_or(0, |(_, until)| until.since(now) / 1000));
        row.in_flight.set(u64::from(standing.in_flight));
        row.latency_us.set(u64::from(standing.latency_us));
        row.ejections.set(health.ejections);
        row.retries_left.set(health.retries.left(now));
        row.retries_denied.set(health.retries_denied);
    }

    /// May a connection be made?
    pub fn may_dial(&self, now: MonoUs) -> bool {
        self.0.borrow().may_dial(now)
    }

    /// May another attempt follow one that failed here?
    pub fn has_retry(&self, now: MonoUs) -> bool {
        self.0.borrow().retries.has_one(now)
    }

    /// Another attempt follows one that failed here. False if there were too many already.
    pub fn take_retry(&self, now: MonoUs) -> bool {
        self.0.borrow_mut().retries.take(now)
    }

    /// Another attempt could follow, but for the budget.
    pub fn deny_retry(&self) {
        self.0.borrow_mut().retries_denied += 1;
    }

    /// Begins an attempt. `first`: the request has not been asked of anybody yet.
    pub fn begin(self: &Rc<Self>, now: MonoUs, first: bool) -> Visit {
        let mut health = self.0.borrow_mut();
        if first {
            health.retries.earn();
        }
        let attempt = health.begin(now);
        drop(health);
        Visit { watch: self.clone(), attempt: Cell::new(Some(attempt)) }
    }
}

/// One attempt at an upstream, for as long as it lasts.
pub struct Visit {
    watch: Rc<UpstreamWatch>,
    attempt: Cell<Option<health::Attempt>>,
}

impl Visit {
    /// The upstream has begun to answer; what it says is nobody's fault but the request's.
    pub fn answered(&self, now: MonoUs) {
        self.tell(|health, attempt| health.answered(attempt, now));
    }

    /// It failed. Says so once when that ejects the upstream.
    pub fn failed(&self, shard: &Shard, upstream: &str, failure: Failure, status: u16) {
        let (now, chance) = (shard.sweeper.now(), shard.chance());
        let before = self.watch.look(|health| health.ejections);
        self.tell(|health, attempt| health.failed(attempt, failure, status, now, chance));
        let after = self.watch.look(|health| (health.ejections, health.ejected()));
        if let (count, Some((illness, until))) = after
            && count > before
        {
            let seconds = until.since(now) as f64 / 1e6;
            tracing::warn!(
                shard = shard.id.0,
                upstream,
                illness = illness.as_str(),
                ?failure,
                status,
                seconds,
                "upstream ejected"
            );
        }
    }

    fn tell(&self, tell: impl FnOnce(&mut Health, &mut health::Attempt)) {
        if let Some(mut attempt) = self.attempt.get() {
            tell(&mut self.watch.0.borrow_mut(), &mut attempt);
            self.attempt.set(Some(attempt));
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(attempt) = self.attempt.take() {
            self.watch.0.borrow_mut().finish(attempt);
        }
    }
}
