//! Upstream connections as a scraper sees them, over all shards.

use super::names;
use crate::{kernel::keep_alive::Retired, link::gauges::ShardGauges};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};
use std::{fmt, sync::Arc};

pub(super) struct ConnectionScrape(pub Vec<Arc<ShardGauges>>);

impl ConnectionScrape {
    fn sum(&self, figure: impl Fn(&ShardGauges) -> u64) -> u64 {
        self.0.iter().map(|shard| figure(shard)).sum()
    }
}

impl fmt::Debug for ConnectionScrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionScrape").finish_non_exhaustive()
    }
}

impl Collector for ConnectionScrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let idle = self.sum(|shard| shard.upstream_idle.get());
        let help = "Idle upstream connections now";
        let mut family = encoder.encode_descriptor(names::UPSTREAM_IDLE, help, None, MetricType::Gauge)?;
        family.encode_gauge(&idle)?;
        for (name, help, label, figures) in [
            (
                names::UPSTREAM_CONNECTIONS,
                "Connections that requests were sent on",
                "how",
                vec![
                    ("new", self.sum(|shard| shard.upstream_dials.get())),
                    ("kept", self.sum(|shard| shard.upstream_reuses.get())),
                ],
            ),
            (
                names::UPSTREAM_HANDSHAKES,
                "TLS handshakes with upstreams",
                "resumed",
                vec![
                    ("true", self.sum(|shard| shard.connections_up.handshakes_resumed.get())),
                    ("false", self.sum(|shard| shard.connections_up.handshakes_full.get())),
                ],
            ),
            (
                names::UPSTREAM_RETIRED,
                "Upstream connections not used again although their last exchange was whole",
                "reason",
                Retired::ALL.map(|why| (why.as_str(), self.sum(|shard| shard.connections_up.retired(why)))).to_vec(),
            ),
        ] {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in figures {
                family.encode_family(&[(label, value)])?.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
            }
        }
        Ok(())
    }
}
