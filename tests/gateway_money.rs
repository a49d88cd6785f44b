//! Money through the real gateway: who pays, how much is booked, what a budget stops, and what a crash may not take away.
//! Each test runs a `weir serve` of its own, on two shards, against a simulated provider in this process.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_money/admin.rs"]
mod admin;
#[path = "gateway_money/budgets.rs"]
mod budgets;
#[path = "gateway_money/cap.rs"]
mod cap;
#[path = "gateway_money/crash.rs"]
mod crash;
#[path = "gateway_money/files.rs"]
mod files;
#[path = "gateway_money/fleet.rs"]
mod fleet;
#[path = "gateway_money/holds.rs"]
mod holds;
#[path = "gateway_money/identity.rs"]
mod identity;
#[path = "gateway_money/life.rs"]
mod life;
#[path = "gateway_money/metering.rs"]
mod metering;
#[path = "gateway_money/once.rs"]
mod once;
#[path = "gateway_money/raise.rs"]
mod raise;
#[path = "gateway_money/reload.rs"]
mod reload;
#[path = "gateway_money/replace.rs"]
mod replace;
#[path = "gateway_money/swarm.rs"]
mod swarm;
#[path = "gateway_money/totals.rs"]
mod totals;
