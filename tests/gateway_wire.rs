//! The gateway as the wire sees it: the real binary between raw sockets and a provider that keeps books. What a stranger
//! may send, what HTTP promises, what must arrive byte for byte, what happens when somebody dies or dawdles, and TLS.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

mod support;

#[path = "gateway_wire/bytes_down.rs"]
mod bytes_down;
#[path = "gateway_wire/bytes_up.rs"]
mod bytes_up;
#[path = "gateway_wire/deadlines.rs"]
mod deadlines;
#[path = "gateway_wire/dns.rs"]
mod dns;
#[path = "gateway_wire/driver.rs"]
mod driver;
#[path = "gateway_wire/faults.rs"]
mod faults;
#[path = "gateway_wire/fixture.rs"]
mod fixture;
#[path = "gateway_wire/http_semantics.rs"]
mod http_semantics;
#[path = "gateway_wire/kept_connections.rs"]
mod kept_connections;
#[path = "gateway_wire/memory.rs"]
mod memory;
#[path = "gateway_wire/odd_upstreams.rs"]
mod odd_upstreams;
#[path = "gateway_wire/proxies.rs"]
mod proxies;
#[path = "gateway_wire/proxy_kit.rs"]
mod proxy_kit;
#[path = "gateway_wire/raw_upstream.rs"]
mod raw_upstream;
#[path = "gateway_wire/strict_edge.rs"]
mod strict_edge;
#[path = "gateway_wire/tls.rs"]
mod tls;
#[path = "gateway_wire/tls_kit.rs"]
mod tls_kit;
