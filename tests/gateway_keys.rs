//! Keys through the real gateway: made, rotated and revoked over the admin API and the command line while it serves on two
//! shards. Each test runs a `weir serve` of its own against a simulated provider.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_keys/command_line.rs"]
mod command_line;
#[path = "gateway_keys/fixture.rs"]
mod fixture;
#[path = "gateway_keys/life.rs"]
mod life;
#[path = "gateway_keys/on_revoke.rs"]
mod on_revoke;
#[path = "gateway_keys/revocation.rs"]
mod revocation;
#[path = "gateway_keys/rotation.rs"]
mod rotation;
