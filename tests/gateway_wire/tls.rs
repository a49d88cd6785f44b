//! TLS on both sides: clients of ours and upstreams of ours.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConfig, HandshakeKind};

use crate::fixture::{KEY, assert_own_error, config_of, long_prompt, message, message_with, prompt, provider, sha256};
use crate::raw_upstream::{RawUpstream, ok};
use crate::support::http::Connection;
use crate::support::{DEADLINE, Weir, eventually};
use crate::tls_kit::{Authority, Identity, TlsFront, TlsStream, connect, read_answer};
use weir::kernel::limits::{HEAD_ROOM_BYTES, SMALL_BUFFER_BYTES};
use weir::loadtest::provider::ProviderHandle;

/// A gateway that speaks TLS with its clients.
struct Secured {
    weir: Weir,
    provider: ProviderHandle,
    client: Arc<ClientConfig>,
    _files: Authority,
}

fn listener(own: &Identity, more: &str) -> String {
    format!("tls = {{ cert = \"{}\", key = \"{}\"{more} }}", own.cert_file.display(), own.key_file.display())
}

fn secured(shards: usize, more_tls: &str, more_toml: &str) -> Secured {
    let files = Authority::new();
    let own = files.issue("gateway.test");
    let provider = provider();
    let config = config_of(shards, &format!("http://{}", provider.addr()), more_toml);
    let config = config.replacen("[listen]", &format!("[listen]\n{}", listener(&own, more_tls)), 1);
    let weir = Weir::start_with(&config, &[("ALICE_KEY", KEY)]);
    Secured { weir, provider, client: files.client(None), _files: files }
}

impl Secured {
    fn connect(&self) -> TlsStream {
        connect(self.weir.clients(), &self.client, "gateway.test").expect("a handshake")
    }

    fn still_serves(&self) {
        let mut stream = self.connect();
        stream.write_all(&message(self.weir.clients(), "", &prompt(false, "x"))).expect("a request");
        assert_eq!(read_answer(&mut stream).expect("an answer").status, 200);
    }
}

#[test]
fn requests_and_streams_pass_through_tls_byte_for_byte() {
    let bench = secured(1, "", "");
    let mut stream = bench.connect();
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]), "offered with h2, chosen as it is spoken");
    let addr = bench.weir.clients();
    let bodies = [prompt(false, "one"), prompt(true, "two"), long_prompt(5 << 20), prompt(true, "three")];
    let scripts = ["", "events=200,event_bytes=500", "body_bytes=5000000", "chunk=split,crlf=1"];
    for (turn, (body, script)) in bodies.iter().zip(scripts).enumerate() {
        stream.write_all(&message(addr, script, body)).expect("a request");
        let answer = read_answer(&mut stream).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        let books = bench.provider.books_when(DEADLINE, |sums| sums.requests == turn as u64 + 1).expect("an exchange");
        let entry = &books.entries[turn];
        assert_eq!(entry.request_sha256, sha256(body), "{script}");
        assert_eq!(entry.response_sha256, sha256(&answer.body), "{script}");
    }
}

#[test]
fn a_session_resumes_on_every_shard() {
    let bench = secured(2, "", "");
    for turn in 0..12 {
        let mut stream = bench.connect();
        stream.write_all(&message(bench.weir.clients(), "", &prompt(false, "x"))).expect("a request");
        assert_eq!(read_answer(&mut stream).expect("an answer").status, 200);
        let kind = stream.conn.handshake_kind();
        let expected = if turn == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
        assert_eq!(kind, Some(expected), "connection {turn}");
    }
}

#[test]
fn with_a_client_ca_a_stranger_gets_nowhere() {
    let clients = Authority::new();
    let bench = secured(1, &format!(", client_ca = \"{}\"", clients.file().display()), "");
    let addr = bench.weir.clients();
    let ask = |config: &Arc<ClientConfig>| -> std::io::Result<u16> {
        let mut stream = connect(addr, config, "gateway.test")?;
        stream.write_all(&message(addr, "", &prompt(false, "x")))?;
        read_answer(&mut stream).map(|answer| answer.status)
    };
    let own = bench._files.client(Some(&clients.issue("alice")));
    assert_eq!(ask(&own).expect("an answer"), 200);
    assert!(ask(&bench.client).is_err(), "no certificate");
    let strangers = Authority::new();
    let stranger = bench._files.client(Some(&strangers.issue("mallory")));
    assert!(ask(&stranger).is_err(), "a certificate of another CA");
    assert_eq!(bench.provider.books().totals.requests, 1);
    assert_eq!(ask(&own).expect("an answer"), 200);
}

#[test]
fn garbage_instead_of_a_handshake_harms_nobody() {
    let bench = secured(1, "", "[limits]\nhead_timeout = \"300ms\"\n");
    let addr = bench.weir.clients();
    let garbage: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        &[0; 5000],
        &[0xff; 70_000],
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        b"\x15\x03\x03\x00\x02\x02\x28",
    ];
    for bytes in garbage {
        let connection = Connection::open(addr);
        let _refused = (&mut connection.stream()).write_all(bytes);
        let mut connection = connection;
        // An alert, an end or a reset; a handshake that is not finished in time is ended too.
        connection.read_to_end();
    }
    let mut silent = Connection::open(addr);
    assert!(silent.is_closed(), "a handshake that never begins is ended");
    bench.still_serves();
}

#[test]
fn an_end_that_is_meant_says_goodbye_and_a_broken_one_does_not() {
    let bench = secured(1, "", "");
    let addr = bench.weir.clients();
    let mut stream = bench.connect();
    stream
        .write_all(&message_with(addr, "until_close=1", &[("connection", "close")], &prompt(true, "x")))
        .expect("sent");
    let answer = read_answer(&mut stream).expect("whole, and closed in order");
    let books = bench.provider.books_when(DEADLINE, |sums| sums.requests == 1).expect("an exchange");
    assert_eq!(sha256(&answer.body), books.entries[0].response_sha256);
    let mut stream = bench.connect();
    stream.write_all(&message(addr, "until_close=1,reset_at=3", &prompt(true, "x"))).expect("sent");
    assert!(read_answer(&mut stream).is_err(), "without a goodbye nobody takes it for whole");
}

#[test]
fn a_client_that_leaves_a_tls_stream_cancels_the_provider() {
    let bench = secured(1, "", "");
    for goodbye in [false, true] {
        let mut stream = bench.connect();
        stream.write_all(&message(bench.weir.clients(), "events=1000,gap_ms=20", &prompt(true, "x"))).expect("sent");
        let mut first = [0; 64];
        stream.read_exact(&mut first).expect("the answer begins");
        if goodbye {
            stream.conn.send_close_notify();
            stream.flush().expect("goodbye");
        }
        drop(stream);
        bench.provider.books_when(DEADLINE, |sums| sums.open == 0).expect("the exchange ends");
    }
    let outcomes: Vec<_> = bench.provider.books().entries.into_iter().map(|entry| entry.outcome).collect();
    assert_eq!(outcomes, [weir::loadtest::provider::Outcome::ClientGone; 2]);
    bench.still_serves();
}

/// A plain gateway in front of an upstream at `https://localhost`.
fn secured_upstream(host: &str, front: &TlsFront, ca: Option<&Authority>, more_toml: &str) -> Weir {
    let config = config_of(1, &format!("https://{host}:{}", front.addr.port()), more_toml);
    let config = match ca {
        Some(ca) => config.replacen("auth = {", &format!("ca = \"{}\"\nauth = {{", ca.file().display()), 1),
        None => config,
    };
    Weir::start_with(&config, &[("ALICE_KEY", KEY)])
}

#[test]
fn an_upstream_behind_tls_serves_and_its_connection_is_kept() {
    let authority = Authority::new();
    let provider = provider();
    let front = TlsFront::start(&authority.issue("localhost"), provider.addr(), true);
    let weir = secured_upstream("localhost", &front, Some(&authority), "");
    let mut connection = Connection::open(weir.clients());
    let bodies = [prompt(false, "one"), prompt(true, "two"), long_prompt(5 << 20), prompt(true, "three")];
    let scripts = ["", "events=200,event_bytes=500", "body_bytes=5000000", "chunk=split,crlf=1"];
    for (turn, (body, script)) in bodies.iter().zip(scripts).enumerate() {
        connection.send(&message(weir.clients(), script, body));
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let books = provider.books_when(DEADLINE, |sums| sums.requests == turn as u64 + 1).expect("an exchange");
        assert_eq!(books.entries[turn].request_sha256, sha256(body), "{script}");
        assert_eq!(books.entries[turn].response_sha256, sha256(&answer.body), "{script}");
    }
    assert_eq!(front.handshakes(), 1, "one connection for all of them");
    // One that says goodbye after its answer although it promised to stay is replaced.
    for _ in 0..5 {
        connection.send(&message(weir.clients(), "after=close", &prompt(false, "x")));
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn what_a_tls_session_holds_behind_an_answer_never_answers_another_client() {
    // One record with an answer that fills the gateway's first read to the byte, and another answer behind it.
    const FIRST_READ: usize = SMALL_BUFFER_BYTES - HEAD_ROOM_BYTES;
    let authority = Authority::new();
    let upstream = RawUpstream::start(|mut peer| {
        while peer.read_request().is_some() {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
            let body = "x".repeat(FIRST_READ - head.len() - 4 - 4);
            let answer = format!("{head}{}\r\n\r\n{body}", body.len());
            assert_eq!(answer.len(), FIRST_READ);
            peer.send(&[answer.as_bytes(), &ok(r#"{"stolen":true}"#)].concat());
        }
    });
    let front = TlsFront::start(&authority.issue("localhost"), upstream.addr(), true);
    let weir = secured_upstream("localhost", &front, Some(&authority), "");
    for turn in 0..4 {
        let mut connection = Connection::open(weir.clients());
        connection.send(&message(weir.clients(), "", &prompt(false, "mine")));
        let answer = connection.read_response();
        assert!(answer.status == 200 && !answer.text().contains("stolen"), "turn {turn}: {}", answer.text());
    }
    upstream.check();
}

#[test]
fn an_upstream_that_cannot_prove_its_name_gets_no_request() {
    let authority = Authority::new();
    let provider = provider();
    let front = TlsFront::start(&authority.issue("localhost"), provider.addr(), true);
    let stranger = Authority::new();
    for (what, host, ca) in [
        ("another name", "127.0.0.1", Some(&authority)),
        ("an unknown CA", "localhost", None),
        ("another CA", "localhost", Some(&stranger)),
    ] {
        let weir = secured_upstream(host, &front, ca, "");
        let mut connection = Connection::open(weir.clients());
        connection.send(&message(weir.clients(), "", &prompt(false, "secret")));
        assert_own_error(&connection.read_response(), 502, "api_error");
        assert!(weir.log().contains("cannot connect to the upstream"), "{what}: {}", weir.log());
    }
    assert_eq!(provider.books().totals.requests, 0);
}

#[test]
fn an_upstream_that_speaks_no_tls_or_nothing_at_all_is_given_up() {
    let authority = Authority::new();
    let (plain, silent) = (provider(), std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
    for port in [plain.addr().port(), silent.local_addr().expect("an address").port()] {
        let config = config_of(1, &format!("https://localhost:{port}"), "[limits]\nconnect_timeout = \"300ms\"\n");
        let ca = format!("ca = \"{}\"\nauth = {{", authority.file().display());
        let weir = Weir::start_with(&config.replacen("auth = {", &ca, 1), &[("ALICE_KEY", KEY)]);
        let mut connection = Connection::open(weir.clients());
        connection.send(&message(weir.clients(), "", &prompt(false, "x")));
        assert_own_error(&connection.read_response(), 502, "api_error");
    }
}

#[test]
fn an_upstream_cut_off_without_goodbye_is_not_taken_for_whole() {
    let authority = Authority::new();
    let provider = provider();
    let identity = authority.issue("localhost");
    for goodbye in [true, false] {
        let front = TlsFront::start(&identity, provider.addr(), goodbye);
        let weir = secured_upstream("localhost", &front, Some(&authority), "");
        let mut connection = Connection::open(weir.clients());
        connection.send(&message(weir.clients(), "until_close=1", &prompt(true, "x")));
        let head = connection.read_head();
        assert_eq!(head.status, 200);
        let mut stream = connection.stream();
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert_eq!(ended.is_ok(), goodbye, "an attacker could cut a stream short: {ended:?}");
    }
}

#[test]
fn a_stream_passes_through_tls_on_both_sides() {
    let authority = Authority::new();
    let provider = provider();
    let front = TlsFront::start(&authority.issue("localhost"), provider.addr(), true);
    let own = authority.issue("gateway.test");
    let config = config_of(2, &format!("https://localhost:{}", front.addr.port()), "");
    let config = config.replacen("[listen]", &format!("[listen]\n{}", listener(&own, "")), 1);
    let config = config.replacen("auth = {", &format!("ca = \"{}\"\nauth = {{", authority.file().display()), 1);
    let weir = Weir::start_with(&config, &[("ALICE_KEY", KEY)]);
    let client = authority.client(None);
    for turn in 0..4 {
        let mut stream = connect(weir.clients(), &client, "gateway.test").expect("a handshake");
        let script = "events=300,event_bytes=1000,chunk=split";
        stream.write_all(&message(weir.clients(), script, &prompt(true, "both"))).expect("a request");
        let answer = read_answer(&mut stream).expect("an answer");
        let books = provider.books_when(DEADLINE, |sums| sums.requests == turn + 1).expect("an exchange");
        assert_eq!(sha256(&answer.body), books.entries[turn as usize].response_sha256);
    }
}

#[test]
fn an_upstream_pays_for_a_whole_handshake_each_time() {
    let authority = Authority::new();
    let provider = provider();
    let front = TlsFront::start(&authority.issue("localhost"), provider.addr(), true);
    let weir = secured_upstream("localhost", &front, Some(&authority), "");
    let ask = |turn: usize| {
        let mut connection = Connection::open(weir.clients());
        // The upstream ends the connection after each answer, so that each request needs a new one.
        connection.send(&message(weir.clients(), "after=close", &prompt(false, "x")));
        assert_eq!(connection.read_response().status, 200, "connection {turn}");
    };
    (0..12).for_each(ask);
    let (made, resumed) = (front.handshakes(), front.resumed());
    assert_eq!((made - resumed, made >= 12), (1, true), "{resumed} of {made} resumed");
    // A reload that changes nothing about the upstream keeps its sessions.
    reload(&weir, 1);
    (12..16).for_each(ask);
    let (made, resumed) = (front.handshakes(), front.resumed());
    assert_eq!((made - resumed, made >= 16), (1, true), "{resumed} of {made} resumed, after a reload");
    assert!(weir.metric("weir_upstream_tls_handshakes_total", &["resumed=\"true\""]) >= 15.0);
    assert_eq!(weir.metric("weir_upstream_tls_handshakes_total", &["resumed=\"false\""]), 1.0);
}

/// Reloads, and waits until the shard serves by it.
fn reload(weir: &Weir, before: usize) {
    weir.sighup();
    eventually(DEADLINE, "the reload is done", || {
        (weir.log().matches("configuration reloaded").count() >= before).then_some(())
    });
    eventually(DEADLINE, "the shard serves by it", || {
        weir.admin_get("/admin/v1/shards")["settled"].as_bool().filter(|settled| *settled)
    });
}

#[test]
fn a_connection_outlives_the_trust_it_was_made_with() {
    let (old, new) = (Authority::new(), Authority::new());
    let provider = provider();
    let front = TlsFront::start(&old.issue("localhost"), provider.addr(), true);
    let config = |ca: &Authority| {
        let config = config_of(1, &format!("https://localhost:{}", front.addr.port()), "");
        config.replacen("auth = {", &format!("ca = \"{}\"\nauth = {{", ca.file().display()), 1)
    };
    let weir = Weir::start_with(&config(&old), &[("ALICE_KEY", KEY)]);
    let ask = || {
        let mut connection = Connection::open(weir.clients());
        connection.send(&message(weir.clients(), "", &prompt(false, "x")));
        connection.read_response().status
    };
    assert_eq!((ask(), ask()), (200, 200));
    assert_eq!(front.handshakes(), 1);
    weir.write_config(&config(&new));
    reload(&weir, 1);
    assert_eq!(ask(), 502, "nobody trusts the old CA any more, and a connection is there all the same");
    assert_eq!(weir.metric("weir_upstream_connections_retired_total", &["reason=\"moved\""]), 1.0);
    weir.write_config(&config(&old));
    reload(&weir, 2);
    eventually(DEADLINE, "it is trusted again", || (ask() == 200).then_some(()));
}
