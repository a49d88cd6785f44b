//! The data plane: shards, and the five rooms a request walks through: edge, gate, pool, relay, settle.
//!
//! `walk` takes a request through the rooms; each takes the last one's value and returns proof of what it decided, so that
//! forwarding without a permit does not compile. Deliberately absent: disk, remote calls, locks between shards, and any
//! knowledge of the control plane but the two doors of `link`.

pub mod edge;
pub mod gate;
pub mod pool;
pub mod relay;
pub mod settle;
pub mod shard;
pub mod spare;
pub mod walk;
