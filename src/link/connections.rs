//! What a shard shows of its upstream connections.

use super::gauges::Gauge;
use crate::kernel::keep_alive::Retired;

/// The figures of one shard.
#[derive(Default)]
pub struct ConnectionGauges {
    /// TLS handshakes with upstreams that began anew, ever.
    pub handshakes_full: Gauge,
    /// Those that resumed an earlier session, ever.
    pub handshakes_resumed: Gauge,
    retired: [Gauge; Retired::ALL.len()],
}

impl ConnectionGauges {
    /// Counts a connection that is not used again.
    pub fn retire(&self, why: Retired) {
        self.retired[why as usize].add(1);
    }

    /// Connections that were not used again for this reason, ever.
    pub fn retired(&self, why: Retired) -> u64 {
        self.retired[why as usize].get()
    }
}
