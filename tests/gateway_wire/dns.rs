//! Upstreams by name, with a name server that tells what the test wants.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::fixture::{KEY, assert_own_error, config_of, message, prompt};
use crate::raw_upstream::{RawUpstream, ok};
use crate::support::http::{Connection, Response};
use crate::support::{DEADLINE, Weir, eventually};

const NAME: &str = "upstream.weir.test";
const A: u16 = 1;
const AAAA: u16 = 28;
const SERVER_FAILURE: u8 = 2;

/// A name server for one name.
struct NameServer {
    addr: SocketAddr,
    tells: Arc<Mutex<Result<Vec<IpAddr>, u8>>>,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    /// It tells these addresses, each to live for a second.
    fn start(addresses: &[&str]) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let addr = socket.local_addr().expect("an address");
        let server = NameServer { addr, tells: Arc::new(Mutex::new(Ok(Vec::new()))), asked: Arc::default() };
        server.tell(addresses);
        let (tells, asked) = (server.tells.clone(), server.asked.clone());
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((bytes, from)) = socket.recv_from(&mut query) {
                let told = tells.lock().expect("no panic").clone();
                asked.fetch_add(1, Ordering::SeqCst);
                socket.send_to(&answer(&query[..bytes], &told), from).expect("an answer");
            }
        });
        server
    }

    fn tell(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        *self.tells.lock().expect("no panic") = Ok(addresses);
    }

    fn fail(&self) {
        *self.tells.lock().expect("no panic") = Err(SERVER_FAILURE);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// The answer to a query of one question (RFC 1035 §4).
fn answer(query: &[u8], told: &Result<Vec<IpAddr>, u8>) -> Vec<u8> {
    let name_ends = 12 + query[12..].iter().position(|byte| *byte == 0).expect("the end of a name") + 1;
    let kind = u16::from_be_bytes([query[name_ends], query[name_ends + 1]]);
    let addresses = told.as_deref().unwrap_or_default().iter();
    let fitting: Vec<&IpAddr> = addresses.filter(|address| address.is_ipv4() == (kind == A)).collect();
    let fitting = if matches!(kind, A | AAAA) { fitting } else { Vec::new() };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | told.as_ref().err().copied().unwrap_or(0), 0, 1, 0, fitting.len() as u8, 0, 0, 0, 0]);
    out.extend(&query[12..name_ends + 4]);
    for address in fitting {
        out.extend([0xc0, 12]);
        out.extend(&query[name_ends..name_ends + 4]);
        out.extend(1u32.to_be_bytes());
        match address {
            IpAddr::V4(four) => out.extend([&[0, 4][..], &four.octets()].concat()),
            IpAddr::V6(six) => out.extend([&[0, 16][..], &six.octets()].concat()),
        }
    }
    out
}

/// Answers every request with its own name, at an address of this host.
fn named(addr: SocketAddr, who: &'static str) -> RawUpstream {
    RawUpstream::start_at(addr, move |mut peer| {
        while peer.read_request().is_some() {
            peer.send(&ok(who));
        }
    })
}

fn config(server: &NameServer, port: u16, keep_old: &str) -> String {
    let dns = format!("[dns]\nservers = [\"{}\"]\nttl_min = \"1s\"\nkeep_old = \"{keep_old}\"\n", server.addr);
    let config = config_of(1, &format!("http://{NAME}:{port}"), &dns);
    config.replacen("auth = {", "allow_plain_http = true\nauth = {", 1)
}

fn gateway(server: &NameServer, port: u16, keep_old: &str) -> Weir {
    Weir::start_with(&config(server, port, keep_old), &[("ALICE_KEY", KEY)])
}

fn ask(weir: &Weir) -> Response {
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    connection.read_response()
}

fn shown(weir: &Weir) -> Vec<String> {
    let upstreams = weir.admin_get("/admin/v1/upstreams");
    let addresses = upstreams["data"][0]["addresses"].as_array().expect("addresses").clone();
    addresses.iter().map(|address| address.as_str().expect("a text").to_owned()).collect()
}

const FIRST: &str = r#"{"who":"first"}"#;
const SECOND: &str = r#"{"who":"second"}"#;

#[test]
fn an_upstream_that_moves_is_looked_for_where_it_was() {
    let first = named("127.0.0.1:0".parse().expect("an address"), FIRST);
    let port = first.addr().port();
    let second = named(SocketAddr::from((Ipv4Addr::new(127, 0, 0, 2), port)), SECOND);
    let server = NameServer::start(&["127.0.0.1"]);
    let weir = gateway(&server, port, "0s");
    assert_eq!(ask(&weir).text(), FIRST, "resolved before weir was ready");
    assert_eq!(ask(&weir).text(), FIRST);
    assert_eq!(first.connections(), 1);
    server.tell(&["127.0.0.2"]);
    eventually(DEADLINE, "the new address is known", || (shown(&weir) == [format!("127.0.0.2:{port}")]).then_some(()));
    eventually(DEADLINE, "requests go there, although a connection to the old one lies ready", || {
        (ask(&weir).text() == SECOND).then_some(())
    });
    eventually(DEADLINE, "the old connection is closed", || {
        (weir.metric("weir_upstream_connections_retired_total", &["reason=\"moved\""]) >= 1.0).then_some(())
    });
    // The name server fails: what it said last holds.
    server.fail();
    let before = server.asked();
    eventually(DEADLINE, "it is asked in vain", || (server.asked() > before + 2).then_some(()));
    assert_eq!(ask(&weir).text(), SECOND);
    assert_eq!(shown(&weir), [format!("127.0.0.2:{port}")]);
    // And it comes back with both.
    server.tell(&["127.0.0.1", "127.0.0.2"]);
    eventually(DEADLINE, "both are known", || (shown(&weir).len() == 2).then_some(()));
    assert_eq!(ask(&weir).status, 200);
    assert_eq!(
        second.connections() + first.connections(),
        2,
        "a connection to an address that still counts is used on"
    );
}

#[test]
fn an_address_of_the_other_family_where_nobody_is_keeps_clients_waiting_or_away() {
    let first = named("127.0.0.1:0".parse().expect("an address"), FIRST);
    let server = NameServer::start(&["::1", "127.0.0.1"]);
    let weir = gateway(&server, first.addr().port(), "60s");
    assert_eq!(ask(&weir).text(), FIRST);
    let found = shown(&weir);
    assert_eq!(found.len(), 2, "both families: {found:?}");
}

#[test]
fn an_unknown_name_keeps_weir_from_starting_or_is_never_asked_for_again() {
    let first = named("127.0.0.1:0".parse().expect("an address"), FIRST);
    let server = NameServer::start(&[]);
    server.fail();
    let weir = gateway(&server, first.addr().port(), "60s");
    assert_own_error(&ask(&weir), 502, "api_error");
    server.tell(&["127.0.0.1"]);
    eventually(DEADLINE, "it is found as soon as the name server knows it", || {
        (ask(&weir).status == 200).then_some(())
    });
}
