//! Exports through the real program: to directories and to an S3 server, killed in the middle, read back by DuckDB, and
//! compared with what the gateway itself says was spent.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

mod support;

#[path = "gateway_money/fleet.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod fleet;
#[path = "clients/install.rs"]
mod install;

#[path = "export/killed.rs"]
mod killed;
#[path = "export/service.rs"]
mod service;
#[path = "export/sums.rs"]
mod sums;
#[path = "export/warehouse.rs"]
mod warehouse;
