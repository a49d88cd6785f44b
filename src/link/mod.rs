//! The two doors between the planes, and nothing else that both could touch.
//!
//! Down: immutable snapshots by version, and a closed set of commands (`down`). Up: one bounded single-producer ring per
//! shard carrying entries (`up`), another carrying bodies where they are stored (`bodies`), and figures that the shard writes and
//! the control plane reads (`gauges`, `board`). No function here waits. Deliberately absent: a wake-up across threads; a shard
//! looks at the door at every tick, the journal at every flush.

pub mod board;
pub mod bodies;
pub mod connections;
pub mod down;
pub mod gauges;
pub mod up;
