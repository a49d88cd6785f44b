//! Prices and last counts through the real gateway: what several models worked on, what is read on after its client left, and
//! history at other prices.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]
#![allow(dead_code, reason = "the fixtures are shared with other test binaries")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_prices/abandoned.rs"]
mod abandoned;
#[path = "gateway_money/fleet.rs"]
mod fleet;
#[path = "gateway_prices/history.rs"]
mod history;
#[path = "gateway_wire/raw_upstream.rs"]
mod raw_upstream;
#[path = "gateway_prices/several_models.rs"]
mod several_models;
