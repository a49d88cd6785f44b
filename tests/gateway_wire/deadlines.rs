//! Deadlines: who dawdles is told so or cut off, and who only waits for somebody else is not.

use std::time::{Duration, Instant};

use crate::fixture::{
    Bench, assert_own_error, bench, chunk, chunked_head, gateway, long_prompt, message, message_with, prompt, sha256,
};
use crate::raw_upstream::{MESSAGE, RawUpstream, ok};
use crate::support::http::Connection;

/// Time passes: what is tested is that nothing happens in it. Never used to wait for something.
fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

#[test]
fn a_silent_upstream_is_told_as_a_timeout() {
    let bench = bench("[limits]\nfirst_byte_timeout = \"200ms\"\n");
    for (turn, stream) in [false, true].into_iter().enumerate() {
        let mut connection = bench.connect();
        connection.send(&message(bench.weir.clients(), "silent=1", &prompt(stream, "x")));
        assert_own_error(&connection.read_response(), 504, "timeout_error");
        bench.sees_the_client_leave(turn + 1);
        connection.send(&message(bench.weir.clients(), "", &prompt(false, "next")));
        assert_eq!(connection.read_response().status, 200, "the client's connection goes on");
        bench.provider.books_when(crate::support::DEADLINE, |sums| sums.open == 0);
    }
}

#[test]
fn an_upstream_that_falls_silent_mid_stream_is_told_at_an_event_boundary() {
    let bench = bench("[limits]\nidle_timeout = \"300ms\"\n");
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), "stall_at=3", &prompt(true, "x")));
    let answer = connection.read_response();
    let text = answer.text();
    assert!(text.contains("event: error") && text.contains("stopped sending"), "{text}");
    assert!(!text.contains("message_stop"), "{text}");
    assert!(connection.is_closed());
    bench.sees_the_client_leave(1);
    // An answer that is no stream cannot be told so: it is reset.
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), "stall_at=1,body_bytes=9000", &prompt(false, "x")));
    let head = connection.read_head();
    assert_eq!(head.header("content-length"), Some("9000"));
    assert!(connection.read_to_end().len() < 9000);
}

#[test]
fn pings_keep_a_stream_alive_beyond_the_idle_timeout() {
    let bench = bench("[limits]\nidle_timeout = \"600ms\"\nfirst_byte_timeout = \"600ms\"\n");
    let script = "events=2,gap_ms=900,pings=100";
    let answer = bench.ask(script, &prompt(true, "x"));
    assert!(answer.text().contains("message_stop"), "{}", answer.text());
    assert_eq!(sha256(&answer.body), bench.entry(1).response_sha256);
}

#[test]
fn an_exchange_that_lasts_too_long_ends_even_though_it_is_alive() {
    let bench = bench("[limits]\nstream_max_timeout = \"500ms\"\n");
    let answer = bench.ask("events=10000,gap_ms=20", &prompt(true, "x"));
    assert!(answer.text().contains("event: error"), "{}", answer.text());
    bench.sees_the_client_leave(1);
}

#[test]
fn a_slow_head_is_told_and_cut_off() {
    let bench = bench("[limits]\nhead_timeout = \"300ms\"\n");
    let mut connection = bench.connect();
    connection.send(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\n");
    assert_own_error(&connection.read_response(), 408, "invalid_request_error");
    assert!(connection.is_closed());
    // Byte by byte is no better: the deadline counts from the first.
    let mut connection = bench.connect();
    let began = Instant::now();
    let slow = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-slow: ".iter().chain(std::iter::repeat(&b'x'));
    connection.set_deadline(Duration::from_millis(50));
    for byte in slow {
        assert!(began.elapsed() < Duration::from_secs(30), "never cut off");
        let mut answer = [0; 1];
        if std::io::Write::write_all(&mut connection.stream(), &[*byte]).is_err()
            || connection.stream().peek(&mut answer).is_ok()
        {
            break;
        }
    }
    bench.still_serves();
}

#[test]
fn a_kept_connection_without_a_request_is_closed_in_silence() {
    let bench = bench("[limits]\nkeep_alive_timeout = \"300ms\"\n");
    assert!(bench.connect().is_closed(), "nothing was asked, nothing is answered");
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), "", &prompt(false, "x")));
    assert_eq!(connection.read_response().status, 200);
    assert!(connection.is_closed());
}

#[test]
fn a_slow_body_is_told_and_never_answered_by_the_provider() {
    let bench = bench("[limits]\nbody_timeout = \"300ms\"\n");
    let body = long_prompt(100_000);
    for chunked in [false, true] {
        let mut connection = bench.connect();
        if chunked {
            connection.send(&chunked_head(bench.weir.clients(), ""));
            connection.send(&chunk(&body[..50_000]));
        } else {
            let bytes = message(bench.weir.clients(), "", &body);
            connection.send(&bytes[..bytes.len() - 50_000]);
        }
        assert_own_error(&connection.read_response(), 408, "invalid_request_error");
        assert!(connection.is_closed());
    }
    // One that has not even named its model.
    let mut connection = bench.connect();
    let bytes = message(bench.weir.clients(), "", &body);
    connection.send(&bytes[..bytes.len() - body.len() + 3]);
    assert_own_error(&connection.read_response(), 408, "invalid_request_error");
    let books = bench.provider.books_when(crate::support::DEADLINE, |sums| sums.open == 0).expect("all ended");
    assert!(books.entries.iter().all(|entry| entry.status == 0), "{:?}", books.entries);
    bench.still_serves();
}

#[test]
fn a_client_that_sends_its_body_slowly_is_no_fault_of_the_upstream() {
    let bench = bench("[limits]\nfirst_byte_timeout = \"300ms\"\nidle_timeout = \"300ms\"\nbody_timeout = \"30s\"\n");
    let body = prompt(false, &"slow ".repeat(200));
    let bytes = message(bench.weir.clients(), "", &body);
    let (first, rest) = bytes.split_at(bytes.len() - 500);
    let mut connection = bench.connect();
    connection.send(first);
    bench.provider.books_when(crate::support::DEADLINE, |sums| sums.open == 1).expect("the upload has begun");
    pause(Duration::from_millis(900));
    connection.send(rest);
    let answer = connection.read_response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(bench.entry(1).request_sha256, sha256(&body));
}

#[test]
fn an_upstream_that_takes_a_body_slowly_is_no_fault_of_the_client() {
    let upstream = RawUpstream::start(|mut peer| {
        // Far more than the sockets hold is on its way, and for longer than the client would be given.
        pause(Duration::from_millis(1500));
        if peer.read_request().is_some() {
            peer.send(&ok(MESSAGE));
        }
    });
    let weir = gateway(&upstream.url(), "[limits]\nbody_timeout = \"600ms\"\n");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, &"slow ".repeat(5_000_000))));
    let answer = connection.read_response();
    assert_eq!(answer.status, 200, "{}", answer.text());
    upstream.check();
}

/// Asks for an answer much larger than the sockets hold, and reads none of it for a while.
fn dawdling_reader(bench: &Bench, script: &str, dawdle: Duration) -> Vec<u8> {
    let mut connection = bench.connect();
    let body = prompt(true, "dawdle");
    connection.send(&message_with(bench.weir.clients(), script, &[("connection", "close")], &body));
    let head = connection.read_head();
    assert_eq!(head.status, 200);
    pause(dawdle);
    connection.read_body(&head)
}

#[test]
fn a_reader_that_pauses_within_the_idle_timeout_gets_its_whole_answer() {
    // The first byte must come at once, while a pause of the reader may take longer.
    let bench = bench("[limits]\nfirst_byte_timeout = \"300ms\"\nidle_timeout = \"2s\"\n");
    let script = "events=500,event_bytes=60000,length=1";
    let whole = dawdling_reader(&bench, script, Duration::from_millis(1000));
    assert_eq!(sha256(&whole), bench.entry(1).response_sha256);
    // The upstream was heard long ago only because the client did not read.
    let script = "events=500,event_bytes=60000,gap_ms=1";
    let whole = dawdling_reader(&bench, script, Duration::from_millis(1600));
    assert_eq!(sha256(&whole), bench.entry(2).response_sha256);
}

#[test]
fn a_reader_that_never_reads_is_cut_off() {
    let bench = bench("[limits]\nidle_timeout = \"300ms\"\n");
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), "events=2000,event_bytes=60000", &prompt(true, "x")));
    bench.sees_the_client_leave(1);
    let wire = connection.read_to_end();
    assert!(!String::from_utf8_lossy(&wire).contains("message_stop"));
    bench.still_serves();
}

#[test]
fn a_connection_attempt_that_hangs_is_given_up() {
    // A listener whose queue is full takes no more connections: the attempt hangs, as it would at a host that is away.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a port");
    full.listen(0).expect("a listener");
    let addr = full.local_addr().expect("an address").as_socket().expect("an IP address");
    let fillers: Vec<_> = (0..8)
        .map(|_| {
            let filler = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
            filler.set_nonblocking(true).expect("an option");
            let _under_way = filler.connect(&addr.into());
            filler
        })
        .collect();
    let weir = crate::fixture::gateway(&format!("http://{addr}"), "[limits]\nconnect_timeout = \"200ms\"\n");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    assert_own_error(&connection.read_response(), 502, "api_error");
    drop(fillers);
}
