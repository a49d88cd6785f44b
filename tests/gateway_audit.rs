//! What the audit keeps of a running gateway, beside its records: who changed what, and bodies. Each test runs a `weir serve` of
//! its own, and asks the real `weir audit` afterwards.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_audit/bodies.rs"]
mod bodies;
#[path = "gateway_audit/changes.rs"]
mod changes;
#[path = "gateway_audit/fixture.rs"]
mod fixture;
#[path = "gateway_audit/secrets.rs"]
mod secrets;
