//! The ledger through the real gateway: starts from snapshots, disks that fail, and the reports that dashboards ask for.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]
#![allow(dead_code, reason = "the fixtures are shared with other test binaries")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_ledger/command_line.rs"]
mod command_line;
#[path = "gateway_ledger/disks.rs"]
mod disks;
#[path = "gateway_money/fleet.rs"]
mod fleet;
#[path = "gateway_ledger/organizations.rs"]
mod organizations;
#[path = "gateway_ledger/snapshots.rs"]
mod snapshots;
#[path = "gateway_ledger/stores.rs"]
mod stores;
