//! Upstreams that answer in ways HTTP allows and few do, and in ways it does not.

use std::io::Read;
use std::net::TcpStream;

use crate::fixture::{assert_own_error, gateway, message, prompt};
use crate::raw_upstream::{MESSAGE, RawUpstream, ok};
use crate::support::Weir;
use crate::support::http::{Connection, Response};

/// A gateway in front of an upstream that answers everything with these bytes and keeps the connection, or closes it.
fn answering(bytes: &'static [u8], close: bool) -> (RawUpstream, Weir) {
    let upstream = RawUpstream::start(move |mut peer| {
        while peer.read_request().is_some() {
            peer.send(bytes);
            if close {
                return peer.finish();
            }
        }
    });
    let weir = gateway(&upstream.url(), "");
    (upstream, weir)
}

fn ask(weir: &Weir, connection: &mut Connection) -> Response {
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    connection.read_response()
}

#[test]
fn an_answer_without_a_body_does_not_eat_the_next_one() {
    let answers: [&'static [u8]; 4] = [
        b"HTTP/1.1 204 No Content\r\nrequest-id: r\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 77\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for bytes in answers {
        let (upstream, weir) = answering(bytes, false);
        let mut connection = Connection::open(weir.clients());
        for _ in 0..3 {
            let answer = ask(&weir, &mut connection);
            assert!(matches!(answer.status, 200 | 204 | 304) && answer.body.is_empty(), "{answer:?}");
            if answer.status == 204 {
                assert!(answer.header("content-length").is_none() && answer.header("transfer-encoding").is_none());
            }
        }
        assert_eq!((upstream.requests(), upstream.connections()), (3, 1), "both connections are kept");
    }
}

#[test]
fn an_answer_that_ends_with_its_connection_is_whole() {
    let (_upstream, weir) =
        answering(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"until\":\"close\"}", true);
    let mut connection = Connection::open(weir.clients());
    let answer = ask(&weir, &mut connection);
    assert_eq!(answer.text(), r#"{"until":"close"}"#);
    assert_eq!(answer.header("connection"), Some("close"), "only the end of the connection can tell the client");
    let (_upstream, weir) = answering(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n{\"old\":1}", true);
    assert_eq!(ask(&weir, &mut Connection::open(weir.clients())).text(), r#"{"old":1}"#);
}

#[test]
fn an_upstream_that_asks_to_close_is_not_used_again() {
    let close = b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 2\r\n\r\n{}";
    let (upstream, weir) = answering(close, false);
    let mut connection = Connection::open(weir.clients());
    for _ in 0..4 {
        let answer = ask(&weir, &mut connection);
        assert_eq!(answer.status, 200);
        assert!(answer.header("connection").is_none(), "the client's connection is another matter");
    }
    assert_eq!(upstream.connections(), 4);
    let (upstream, weir) = answering(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", false);
    let mut connection = Connection::open(weir.clients());
    (0..2).for_each(|_| assert_eq!(ask(&weir, &mut connection).status, 200));
    assert_eq!(upstream.connections(), 2, "HTTP/1.0 keeps nothing unless it says so");
}

#[test]
fn an_ambiguous_answer_is_refused_before_a_client_could_get_anothers() {
    let answers: [&'static [u8]; 9] = [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}}",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\n\n{}",
        b"HTTP/1.1 200 OK\r\nx-a: 1\r\n folded\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n",
        b"HTTP/1.1 999 Whatever\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/2 200\r\ncontent-length: 0\r\n\r\n",
    ];
    for bytes in answers {
        let (upstream, weir) = answering(bytes, false);
        let mut connection = Connection::open(weir.clients());
        for turn in 1..=2 {
            let answer = ask(&weir, &mut connection);
            assert_own_error(&answer, 502, "api_error");
            assert_eq!(upstream.connections(), turn, "{}", String::from_utf8_lossy(bytes));
        }
    }
}

#[test]
fn an_upstream_head_without_end_does_not_fill_the_memory() {
    let upstream = RawUpstream::start(|mut peer| {
        if peer.read_request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\n");
            (0..100_000).for_each(|_| peer.send(b"x-endless: 0123456789\r\n"));
        }
    });
    let weir = gateway(&upstream.url(), "");
    assert_own_error(&ask(&weir, &mut Connection::open(weir.clients())), 502, "api_error");
    let upstream = RawUpstream::start(|mut peer| {
        if peer.read_request().is_some() {
            (0..100_000).for_each(|_| peer.send(b"HTTP/1.1 103 Early Hints\r\n\r\n"));
        }
    });
    let weir = gateway(&upstream.url(), "");
    assert_own_error(&ask(&weir, &mut Connection::open(weir.clients())), 502, "api_error");
}

#[test]
fn a_large_head_of_an_upstream_still_arrives() {
    let upstream = RawUpstream::start(|mut peer| {
        while peer.read_request().is_some() {
            let padding = "p".repeat(30_000);
            let head = format!("HTTP/1.1 200 OK\r\nx-padding: {padding}\r\ncontent-length: {}\r\n\r\n", MESSAGE.len());
            peer.send(head.as_bytes());
            peer.send(MESSAGE.as_bytes());
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    for _ in 0..2 {
        let answer = ask(&weir, &mut connection);
        assert_eq!((answer.status, answer.text()), (200, MESSAGE.to_owned()));
        assert_eq!(answer.header("x-padding").map(str::len), Some(30_000));
    }
}

#[test]
fn trailers_reach_the_client_as_they_are() {
    let (_upstream, weir) = answering(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;ext=1\r\n{}\r\n0\r\nx-checksum: abc\r\n\r\n",
        false,
    );
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    assert_eq!(connection.read_head().header("transfer-encoding"), Some("chunked"));
    let expected = b"2;ext=1\r\n{}\r\n0\r\nx-checksum: abc\r\n\r\n";
    let mut wire = vec![0; expected.len()];
    read_raw(connection.take_ahead(), connection.stream(), &mut wire);
    assert_eq!(String::from_utf8_lossy(&wire), String::from_utf8_lossy(expected));
}

/// The bytes as they are on the wire, chunk framing included.
fn read_raw(ahead: Vec<u8>, mut stream: &TcpStream, wire: &mut [u8]) {
    wire[..ahead.len()].copy_from_slice(&ahead);
    stream.read_exact(&mut wire[ahead.len()..]).expect("the rest of the answer");
}

#[test]
fn a_client_is_told_when_no_upstream_can_be_reached() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let weir = gateway(&format!("http://{nobody}"), "");
    let mut connection = Connection::open(weir.clients());
    for _ in 0..3 {
        let answer = ask(&weir, &mut connection);
        assert_own_error(&answer, 502, "api_error");
        assert!(answer.text().contains("cannot be reached"), "{}", answer.text());
    }
}

#[test]
fn a_model_with_two_targets_goes_to_the_one_that_can_be_reached() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let upstream = RawUpstream::start(|mut peer| {
        while peer.read_request().is_some() {
            peer.send(&ok(MESSAGE));
        }
    });
    let more = format!(
        "\n[[upstream]]\nname = \"away\"\nprovider = \"anthropic\"\nbase_url = \"http://{nobody}\"\n\
         auth = {{ api_key = \"${{PROVIDER_KEY}}\" }}\n\n[[model]]\nid = \"claude-sonnet-4-6\"\n\
         targets = [{{ upstream = \"away\" }}, {{ upstream = \"simulated\" }}]\n"
    );
    let weir = gateway(&upstream.url(), &more);
    let answer = ask(&weir, &mut Connection::open(weir.clients()));
    assert_eq!(answer.text(), MESSAGE);
}
