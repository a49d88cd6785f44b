//! Somebody dies half way: the client is never told that an answer is whole when it is not, and nobody works for a client
//! that has left.

use std::net::Shutdown;

use weir::loadtest::provider::Outcome;

use crate::fixture::{Bench, assert_own_error, bench, chunk, chunked_head, gateway, long_prompt, message, prompt};
use crate::raw_upstream::RawUpstream;
use crate::support::http::Connection;
use crate::support::{DEADLINE, eventually};

#[test]
fn a_reset_before_the_answer_is_told_as_a_bad_gateway() {
    let bench = bench("");
    for stream in [false, true] {
        assert_own_error(&bench.ask("reset_before=1", &prompt(stream, "x")), 502, "api_error");
    }
    bench.still_serves();
}

/// Everything up to the end, by FIN or by reset: the wire bytes of a chunked answer.
fn wire_to_the_end(bench: &Bench, script: &str) -> (u16, String, Vec<u8>) {
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), script, &prompt(true, "broken")));
    let head = connection.read_head();
    (head.status, head.header("transfer-encoding").unwrap_or_default().to_owned(), connection.read_to_end())
}

#[test]
fn a_broken_stream_ends_in_an_error_event_or_a_reset_and_never_in_a_faked_end() {
    let bench = bench("");
    for cut in ["reset_at", "close_at"] {
        for at in 1..6 {
            for how in ["", ",chunk=split", ",crlf=1", ",comments=1", ",chunk=merged", ",trickle=40"] {
                let script = format!("events=6,{cut}={at}{how}");
                let (status, _, wire) = wire_to_the_end(&bench, &script);
                let text = String::from_utf8_lossy(&wire);
                assert_eq!(status, 200, "{script}");
                assert!(!text.contains("message_stop"), "{script}: {text}");
                let told = text.contains("event: error\ndata: {");
                let ended = text.ends_with("\r\n0\r\n\r\n");
                assert_eq!(told, ended, "{script}: an end only behind an error event: {text}");
                if how.is_empty() {
                    assert!(told && text.contains("broke off"), "{script}: {text}");
                }
                if told {
                    let before = &text[..text.find("event: error").expect("it is there")];
                    let size = before.strip_suffix("\r\n").expect("a chunk of its own");
                    let relayed = size.trim_end_matches(|c: char| c.is_ascii_hexdigit()).strip_suffix("\r\n");
                    let event = relayed.expect("behind a whole chunk").ends_with(['\n']);
                    assert!(event, "{script}: between two events: {text}");
                }
            }
        }
    }
    bench.still_serves();
}

#[test]
fn a_stream_with_a_length_or_none_ends_in_a_reset_when_it_breaks() {
    let bench = bench("");
    for script in ["length=1,reset_at=2", "length=1,close_at=2", "until_close=1,reset_at=2"] {
        let (_, coding, wire) = wire_to_the_end(&bench, script);
        let text = String::from_utf8_lossy(&wire);
        assert!(
            coding.is_empty() && !text.contains("message_stop") && !text.contains("event: error"),
            "{script}: {text}"
        );
    }
    let mut connection = bench.connect();
    let old = String::from_utf8(message(bench.weir.clients(), "reset_at=2", &prompt(true, "old"))).expect("text");
    connection.send(old.replacen("HTTP/1.1", "HTTP/1.0", 1).as_bytes());
    connection.read_head();
    let error = read_until_error(&mut connection);
    assert_eq!(error, Some(std::io::ErrorKind::ConnectionReset), "an HTTP/1.0 client would take FIN for the end");
}

/// The error that ends the connection; none for an orderly end.
fn read_until_error(connection: &mut Connection) -> Option<std::io::ErrorKind> {
    use std::io::Read;
    let mut buffer = [0; 4096];
    loop {
        match connection.stream().read(&mut buffer) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) => return Some(error.kind()),
        }
    }
}

#[test]
fn a_broken_json_answer_is_reset_and_never_looks_whole() {
    let bench = bench("");
    for script in ["reset_at=1,body_bytes=20000", "close_at=1,body_bytes=20000", "close_at=1,chunk=event", "close_at=0"]
    {
        let mut connection = bench.connect();
        connection.send(&message(bench.weir.clients(), script, &prompt(false, "broken")));
        let head = connection.read_head();
        if head.status == 502 {
            // The head and the break came together, before a byte had gone to the client.
            continue;
        }
        assert_eq!(read_until_error(&mut connection), Some(std::io::ErrorKind::ConnectionReset), "{script}");
    }
    bench.still_serves();
}

#[test]
fn an_error_event_of_the_provider_is_relayed_and_the_connection_goes_on() {
    let bench = bench("");
    let mut connection = bench.connect();
    connection.send(&message(bench.weir.clients(), "error_at=3", &prompt(true, "x")));
    let answer = connection.read_response();
    assert!(answer.text().contains("overloaded_error"), "{}", answer.text());
    assert_eq!(answer.text().matches("event: error").count(), 1, "the provider's alone");
    connection.send(&message(bench.weir.clients(), "", &prompt(false, "next")));
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn an_upstream_that_breaks_its_chunks_mid_stream_is_not_believed_to_the_end() {
    let (client_has_it, go_on) = std::sync::mpsc::channel::<()>();
    let go_on = std::sync::Mutex::new(go_on);
    let upstream = RawUpstream::start(move |mut peer| {
        if peer.read_request().is_some() {
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
            peer.send(b"1b\r\nevent: ping\ndata: {\"a\":1}\n\n\r\n");
            go_on.lock().expect("nobody else").recv_timeout(DEADLINE).expect("the client has the first chunk");
            peer.send(b"zz\r\nnonsense\r\n0\r\n\r\n");
            peer.finish();
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(true, "x")));
    assert_eq!(connection.read_head().status, 200);
    assert!(connection.read_chunk().is_some());
    client_has_it.send(()).expect("the upstream waits");
    assert_eq!(read_until_error(&mut connection), Some(std::io::ErrorKind::ConnectionReset));
    upstream.check();
}

#[test]
fn the_provider_is_cancelled_when_the_client_leaves_mid_stream() {
    let bench = bench("");
    for (turn, leave) in [Shutdown::Both, Shutdown::Write].into_iter().enumerate() {
        let mut connection = bench.connect();
        connection.send(&message(bench.weir.clients(), "events=1000,gap_ms=20", &prompt(true, "going")));
        assert_eq!(connection.read_head().status, 200);
        assert!(connection.read_chunk().is_some());
        let left = weir_clock();
        connection.stream().shutdown(leave).expect("a shutdown");
        bench.sees_the_client_leave(turn + 1);
        let ended = bench.provider.books().entries[turn].ended_unix_ms;
        assert!(ended.saturating_sub(left) < 1000, "cancelled after {} ms", ended.saturating_sub(left));
    }
    bench.still_serves();
}

fn weir_clock() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

#[test]
fn the_provider_is_cancelled_when_the_client_leaves_before_the_first_byte() {
    let bench = bench("");
    let mut gone = 0;
    for script in ["silent=1", "first_ms=60000"] {
        for body in [prompt(true, "going"), long_prompt(200_000)] {
            let mut connection = bench.connect();
            connection.send(&message(bench.weir.clients(), script, &body));
            bench.provider.books_when(DEADLINE, |sums| sums.open == 1).expect("the request arrives");
            drop(connection);
            gone += 1;
            bench.sees_the_client_leave(gone);
        }
    }
    let books = bench.provider.books();
    assert!(books.entries.iter().all(|entry| entry.outcome == Outcome::ClientGone), "{:?}", books.entries);
    eventually(DEADLINE, "nothing runs any more", || {
        (bench.weir.metric("weir_shard_connections", &[]) == 0.0).then_some(())
    });
}

#[test]
fn a_client_that_leaves_is_noticed_even_behind_bytes_of_its_next_request() {
    let bench = bench("");
    let mut gone = 0;
    // A stray line end behind a body is what some old clients send; the others pipeline.
    for behind in [&b"\r\n"[..], b"POST /v1/mess", &message(bench.weir.clients(), "", &prompt(false, "next"))] {
        for script in ["silent=1", "stall_at=2"] {
            for at_once in [true, false] {
                let mut connection = bench.connect();
                let bytes = message(bench.weir.clients(), script, &prompt(true, "going"));
                connection.send(if at_once { [&bytes, behind].concat() } else { bytes }.as_slice());
                bench.provider.books_when(DEADLINE, |sums| sums.open == 1).expect("the request arrives");
                if !at_once {
                    connection.send(behind);
                }
                drop(connection);
                gone += 1;
                bench.sees_the_client_leave(gone);
            }
        }
    }
    bench.still_serves();
}

#[test]
fn a_client_that_leaves_half_way_through_its_body_leaves_nothing_running() {
    let bench = bench("");
    let addr = bench.weir.clients();
    let body = long_prompt(300_000);
    for chunked in [false, true] {
        let mut connection = bench.connect();
        if chunked {
            connection.send(&chunked_head(addr, ""));
            connection.send(&chunk(&body[..100_000]));
        } else {
            let bytes = message(addr, "", &body);
            connection.send(&bytes[..bytes.len() - 150_000]);
        }
        bench.provider.books_when(DEADLINE, |sums| sums.open == 1).expect("the request arrives");
        drop(connection);
        bench.provider.books_when(DEADLINE, |sums| sums.open == 0).expect("and is given up");
    }
    let books = bench.provider.books();
    assert!(books.entries.iter().all(|entry| entry.status == 0), "half a body is never answered: {:?}", books.entries);
    bench.still_serves();
}

#[test]
fn a_connection_beyond_the_cap_is_turned_away_and_room_comes_back() {
    let bench = bench("[limits]\nconnections = 3\n");
    let mut held: Vec<Connection> = (0..3)
        .map(|_| {
            let mut connection = bench.connect();
            connection.send(&message(bench.weir.clients(), "", &prompt(false, "in")));
            assert_eq!(connection.read_response().status, 200);
            connection
        })
        .collect();
    assert!(bench.connect().is_closed(), "the fourth finds no room");
    held.pop();
    eventually(DEADLINE, "a place is free again", || {
        (bench.weir.metric("weir_shard_connections", &[]) == 2.0).then_some(())
    });
    bench.still_serves();
}

#[test]
fn more_streams_than_the_cap_are_told_that_the_gateway_is_full() {
    let bench = bench("[limits]\nconnections = 10\nstreams = 2\n");
    let held: Vec<Connection> = (0..2)
        .map(|_| {
            let mut connection = bench.connect();
            connection.send(&message(bench.weir.clients(), "stall_at=2", &prompt(true, "in")));
            assert_eq!(connection.read_head().status, 200);
            connection
        })
        .collect();
    let answer = bench.ask("", &prompt(false, "one too many"));
    assert_own_error(&answer, 529, "overloaded_error");
    assert!(answer.header("retry-after").is_some());
    drop(held);
    eventually(DEADLINE, "a place is free again", || {
        let answer = bench.ask("", &prompt(false, "again"));
        (answer.status == 200).then_some(())
    });
}
