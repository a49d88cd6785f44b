//! The pool room from outside: the real binary in front of several accounts that die, stall, refuse and come back. Every client
//! sees an answer or an honest error, nobody is asked more often than stated, and what is booked is what the providers bill.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

mod support;

#[path = "gateway_routing/affinity.rs"]
mod affinity;
#[path = "gateway_routing/caches.rs"]
mod caches;
#[path = "gateway_routing/cap.rs"]
mod cap;
#[path = "gateway_routing/duplicates.rs"]
mod duplicates;
#[path = "gateway_routing/failover.rs"]
mod failover;
#[path = "gateway_routing/fixture.rs"]
mod fixture;
#[path = "gateway_routing/health.rs"]
mod health;
#[path = "gateway_routing/overload.rs"]
mod overload;
#[allow(dead_code, reason = "the wire tests use the rest")]
#[path = "gateway_wire/raw_upstream.rs"]
mod raw_upstream;
#[path = "gateway_routing/storm.rs"]
mod storm;
