//! Every provider's upstream through the real gateway: each kind of credential, its renewal, its failure. The simulated
//! provider checks signatures by the vendor's own signer, takes only the tokens it issued, and plays the endpoints that issue
//! them.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_upstreams/federated.rs"]
mod federated;
#[path = "gateway_upstreams/fixed.rs"]
mod fixed;
#[path = "gateway_upstreams/fixture.rs"]
mod fixture;
#[path = "gateway_upstreams/minted.rs"]
mod minted;
#[path = "gateway_upstreams/renewal.rs"]
mod renewal;
#[path = "gateway_upstreams/secrecy.rs"]
mod secrecy;
#[path = "gateway_upstreams/signed.rs"]
mod signed;
