//! Who calls, beyond the listed keys, through the real gateway: tokens of issuers with a published set or a shared secret,
//! client certificates, peers that speak for others. Each test runs a `weir serve` of its own against a simulated provider.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[allow(unused_imports, reason = "each test binary uses a part of it")]
mod support;

#[path = "gateway_identity/certificates.rs"]
mod certificates;
#[path = "gateway_identity/fixture.rs"]
mod fixture;
#[path = "gateway_identity/hostile.rs"]
mod hostile;
#[path = "gateway_identity/idp.rs"]
mod idp;
#[path = "gateway_identity/peers.rs"]
mod peers;
#[path = "gateway_identity/revocation.rs"]
mod revocation;
#[path = "gateway_identity/rotation.rs"]
mod rotation;
#[allow(dead_code, reason = "these tests need no TLS front")]
#[path = "gateway_wire/tls_kit.rs"]
mod tls_kit;
#[path = "gateway_identity/tokens.rs"]
mod tokens;
