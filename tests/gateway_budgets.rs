//! Budgets and limits that no key has from the start: of single sessions, first seen by some shard while all are serving.
//! Each test runs a `weir serve` of its own, on two shards, against a simulated provider in this process.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]
#![allow(dead_code, reason = "the fleet is shared with other test binaries, each of which uses a part of it")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_money/fleet.rs"]
mod fleet;
#[path = "gateway_budgets/sessions.rs"]
mod sessions;
#[path = "gateway_money/swarm.rs"]
mod swarm;
