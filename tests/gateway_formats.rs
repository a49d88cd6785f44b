//! Every client format through the real gateway: Bedrock InvokeModel, Vertex rawPredict, Foundry and the AWS platform, each to an
//! upstream of its own format and across formats, with the provider's own books as the witness.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_formats/batches.rs"]
mod batches;
#[path = "gateway_formats/bridges.rs"]
mod bridges;
#[path = "gateway_formats/checklist.rs"]
mod checklist;
#[path = "gateway_formats/dialects.rs"]
mod dialects;
#[path = "gateway_formats/failover.rs"]
mod failover;
#[path = "gateway_formats/fixture.rs"]
mod fixture;
#[path = "gateway_formats/fuzz.rs"]
mod fuzz;
#[path = "gateway_formats/golden.rs"]
mod golden;
#[path = "gateway_formats/kept.rs"]
mod kept;
#[allow(dead_code, reason = "the wire tests use the rest")]
#[path = "gateway_wire/raw_upstream.rs"]
mod raw_upstream;
#[path = "gateway_formats/refusals.rs"]
mod refusals;
#[path = "gateway_formats/same_format.rs"]
mod same_format;
#[path = "gateway_formats/sticky.rs"]
mod sticky;
