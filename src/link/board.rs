//! What a shard shows of its upstreams: one row each, in the order of the configuration it serves.

use super::gauges::Gauge;
use crate::kernel::{limits::UPSTREAMS_MAX, names::NameId, routing::health::Condition};

/// The figures of one upstream on one shard.
#[derive(Default)]
pub struct UpstreamGauges {
    /// Its name's number plus one; 0 for a row without an upstream.
    name: Gauge,
    condition: Gauge,
    /// How much of its usual traffic it takes, thousandths.
    pub share: Gauge,
    /// How long it stays ejected, milliseconds, as of the last look.
    pub ejected_for_ms: Gauge,
    /// Requests that are running there.
    pub in_flight: Gauge,
    /// How long its answers take to begin, a moving average, microseconds; 0 while nobody knows.
    pub latency_us: Gauge,
    /// Ejections, ever.
    pub ejections: Gauge,
    /// Retries that it could still cause now.
    pub retries_left: Gauge,
    /// Failures that were not tried elsewhere, since there had been too many, ever.
    pub retries_denied: Gauge,
}

impl UpstreamGauges {
    /// Replaces the condition.
    pub fn set_condition(&self, condition: Condition) {
        self.condition.set(condition as u64);
    }

    /// How it is.
    pub fn condition(&self) -> Condition {
        Condition::of(self.condition.get())
    }
}

/// The rows of one shard.
pub struct UpstreamBoard(Box<[UpstreamGauges]>);

impl Default for UpstreamBoard {
    fn default() -> Self {
        Self((0..UPSTREAMS_MAX).map(|_| UpstreamGauges::default()).collect())
    }
}

impl UpstreamBoard {
    /// Writes the rows of these upstreams, and empties the others.
    pub fn write<'a, T: 'a>(&self, upstreams: impl Iterator<Item = (NameId, T)>, fill: impl Fn(&UpstreamGauges, T)) {
        let mut rows = self.0.iter();
        for ((name, upstream), row) in upstreams.zip(rows.by_ref()) {
            fill(row, upstream);
            row.name.set(u64::from(name.0) + 1);
        }
        for row in rows.take_while(|row| row.name.get() != 0) {
            row.name.set(0);
        }
    }

    /// The row of an upstream; none before its shard has written it.
    pub fn row(&self, name: NameId) -> Option<&UpstreamGauges> {
        self.0.iter().take_while(|row| row.name.get() != 0).find(|row| row.name.get() == u64::from(name.0) + 1)
    }
}
