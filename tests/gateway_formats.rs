//! Every client format through the real gateway: Bedrock InvokeModel, Vertex rawPredict, Foundry and the AWS platform, each to an
//! upstream of its own format and across formats, with the provider's own books as the witness.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_formats/batches.rs"]
mod batches;
#[path = "gateway_formats/bridges.rs"]
mod bridges;
#[path = "gateway_formats/dialects.rs"]
mod dialects;
#[path = "gateway_formats/fixture.rs"]
mod fixture;
#[path = "gateway_formats/kept.rs"]
mod kept;
#[path = "gateway_formats/same_format.rs"]
mod same_format;
