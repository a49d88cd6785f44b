//! `[listen]` and `[shards]`.

use super::{
    reader::{Reader, shown},
    types::{Driver, Listen, Shards, TlsFiles},
};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// More shards than any machine has cores.
const SHARDS_MAX: u64 = 1024;

/// Reads `[listen]`; without it weir listens on loopback.
pub(super) fn listen(root: &Reader<'_>) -> Listen {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut listen = Listen {
        clients: loopback(8080),
        admin: loopback(8081),
        tls: None,
        trusted_proxies: Vec::new(),
        allow_from: Vec::new(),
    };
    let Some(reader) = root.table("listen") else { return listen };
    listen.clients = address(&reader, "clients", listen.clients);
    listen.admin = address(&reader, "admin", listen.admin);
    listen.tls = reader.table("tls").and_then(|tls| tls_files(&tls));
    listen.trusted_proxies = networks(&reader, "trusted_proxies");
    listen.allow_from = networks(&reader, "allow_from");
    if reader.has("allow_from") && listen.allow_from.is_empty() {
        reader.error(
            "allow_from",
            "allows nobody or means everybody",
            "name networks, or remove it to allow everybody",
        );
    }
    if overlap(listen.clients, listen.admin) {
        let message = format!("is the same address as listen.clients ({})", listen.clients);
        reader.error("admin", message, "give the admin listener a port of its own");
    }
    reader.finish();
    listen
}

fn address(reader: &Reader<'_>, key: &'static str, default: SocketAddr) -> SocketAddr {
    let wanted = "an IP address and a port, such as \"0.0.0.0:8080\" or \"[::]:8080\"";
    reader.measured(key, default, wanted, |text| text.parse().ok())
}

/// Would the second bind fail, or take the first one's connections? Port 0 is a new port each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let same_ip = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && same_ip
}

fn tls_files(reader: &Reader<'_>) -> Option<TlsFiles> {
    for key in ["cert", "key"] {
        if !reader.has(key) {
            reader.error(
                key,
                "is missing",
                format!("write {key} = \"tls.{}\"", if key == "cert" { "crt" } else { "key" }),
            );
        }
    }
    let (cert, key, client_ca) = (reader.file("cert"), reader.file("key"), reader.file("client_ca"));
    reader.finish();
    Some(TlsFiles { cert: cert?, key: key?, client_ca })
}

/// Networks in CIDR form; a single address is a network of one.
pub(super) fn networks(reader: &Reader<'_>, key: &'static str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for (item, text) in reader.texts(key).unwrap_or_default() {
        match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
            Ok(network) => networks.push(network.trunc()),
            Err(_) => reader.error(&item, format!("is {}", shown(text)), "write a network such as \"10.0.0.0/8\""),
        }
    }
    networks
}

/// Reads `[shards]`.
pub(super) fn shards(root: &Reader<'_>) -> Shards {
    let mut shards = Shards { count: 0, pin: true, driver: Driver::IoUring };
    if let Some(reader) = root.table("shards") {
        shards.count = usize::try_from(reader.integer("count", 0, 0..=SHARDS_MAX)).unwrap_or(0);
        shards.pin = reader.boolean("pin", true);
        let drivers = [("io_uring", Driver::IoUring), ("epoll", Driver::Epoll)];
        shards.driver = reader.choice("driver", &drivers).unwrap_or_default();
        reader.finish();
    }
    shards
}
