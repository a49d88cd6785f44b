//! `[limits]`.

use super::reader::Reader;
use crate::kernel::{
    limits::{HEAD_BYTES_MAX, Limits, SMALL_BUFFER_BYTES},
    overload::class::Shedding,
    turns::Duplicates,
};
use std::{ops::RangeInclusive, time::Duration};

const MIB: u64 = 1024 * 1024;
/// Twice what the provider takes (contract.md §1.5): room for its next step, while a shard's memory stays bounded.
const BODY_BYTES_MAX: u64 = 64 * MIB;
/// Shorter timeouts than this would cut off healthy peers.
const SHORTEST: Duration = Duration::from_millis(10);
const CONNECTIONS_MAX: u64 = 256 * 1024;
const QUEUE_MAX: u64 = 16 * 1024;

/// Reads `[limits]`.
pub(super) fn limits(root: &Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(reader) = root.table("limits") else { return limits };
    limits.body_bytes_max = reader.size("body_max", limits.body_bytes_max, 1024..=BODY_BYTES_MAX);
    let head = reader.size("head_max", HEAD_BYTES_MAX as u64, SMALL_BUFFER_BYTES as u64..=HEAD_BYTES_MAX as u64);
    limits.head_bytes_max = usize::try_from(head).unwrap_or(HEAD_BYTES_MAX);
    for (key, place, longest) in [
        ("head_timeout", &mut limits.head_timeout, minutes(10)),
        ("body_timeout", &mut limits.body_timeout, minutes(60)),
        ("keep_alive_timeout", &mut limits.keep_alive_timeout, minutes(60)),
        ("connect_timeout", &mut limits.connect_timeout, minutes(2)),
        ("first_byte_timeout", &mut limits.first_byte_timeout, minutes(120)),
        ("idle_timeout", &mut limits.idle_timeout, minutes(120)),
        ("stream_max_timeout", &mut limits.stream_max_timeout, minutes(24 * 60)),
    ] {
        *place = reader.duration(key, *place, SHORTEST..=longest);
    }
    limits.drain_timeout = reader.duration("drain_timeout", limits.drain_timeout, Duration::ZERO..=minutes(24 * 60));
    limits.connections_max = count(&reader, "connections", limits.connections_max, 1..=CONNECTIONS_MAX);
    // Without a word on streams a small connection cap brings the stream cap down with it.
    let streams = limits.streams_max.min(limits.connections_max);
    limits.streams_max = count(&reader, "streams", streams, 1..=CONNECTIONS_MAX);
    if limits.streams_max > limits.connections_max {
        let message = format!("is {}, more than the {} connections", limits.streams_max, limits.connections_max);
        reader.error("streams", message, "lower limits.streams or raise limits.connections");
    }
    limits.queue_max = count(&reader, "queue", limits.queue_max, 0..=QUEUE_MAX);
    let waits = SHORTEST..=Duration::from_secs(60);
    limits.queue_wait = reader.duration("queue_wait", limits.queue_wait, waits);
    limits.shedding = shedding(&reader);
    let policies = [("off", Duplicates::Off), ("count", Duplicates::Count), ("cancel_first", Duplicates::CancelFirst)];
    limits.duplicates = reader.choice("duplicates", &policies).unwrap_or_default();
    reader.finish();
    limits
}

fn shedding(reader: &Reader<'_>) -> Shedding {
    let usual = Shedding::default();
    let percent = |key, usual: u8| u8::try_from(reader.integer(key, u64::from(usual), 1..=100)).unwrap_or(usual);
    let shedding = Shedding {
        subagent_percent: percent("shed_subagent", usual.subagent_percent),
        auxiliary_percent: percent("shed_auxiliary", usual.auxiliary_percent),
    };
    if shedding.auxiliary_percent > shedding.subagent_percent {
        let Shedding { subagent_percent, auxiliary_percent } = shedding;
        let message = format!("is {auxiliary_percent}, more than the {subagent_percent} of limits.shed_subagent");
        reader.error("shed_auxiliary", message, "lower it: auxiliary requests are the first to be turned away");
    }
    shedding
}

/// How long a connection attempt may take, here and per upstream.
pub(super) fn connect_timeout(reader: &Reader<'_>, default: Duration) -> Duration {
    reader.duration("connect_timeout", default, SHORTEST..=minutes(2))
}

const fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn count(reader: &Reader<'_>, key: &'static str, default: usize, bounds: RangeInclusive<u64>) -> usize {
    usize::try_from(reader.integer(key, default as u64, bounds)).unwrap_or(default)
}
