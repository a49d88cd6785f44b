//! Upstream connections that were kept and went stale: asked again once, on a new one, and never after the upstream began
//! to answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use weir::loadtest::provider::{self, ProviderOptions};

use crate::fixture::{KEY, assert_own_error, bench, config, gateway, long_prompt, message, prompt, sha256};
use crate::raw_upstream::{MESSAGE, Peer, RawUpstream, ok};
use crate::support::http::{Connection, Response};
use crate::support::{DEADLINE, PROVIDER_KEY, Weir, eventually};

fn ask(connection: &mut Connection, weir: &Weir, body: &[u8]) -> Response {
    connection.send(&message(weir.clients(), "", body));
    connection.read_response()
}

#[test]
fn an_upstream_that_breaks_its_promise_to_keep_connections_is_never_noticed() {
    let bench = bench("");
    let mut connection = bench.connect();
    for script in ["after=close", "after=reset"] {
        for turn in 0..30 {
            let body = prompt(turn % 2 == 0, script);
            connection.send(&message(bench.weir.clients(), script, &body));
            let answer = connection.read_response();
            assert_eq!(answer.status, 200, "{script}, turn {turn}: {}", answer.text());
            assert!(!answer.text().contains("event: error"), "{script}, turn {turn}: {}", answer.text());
        }
    }
    let books = bench.books(60);
    assert_eq!(books.totals.requests, 60, "each was executed once");
}

#[test]
fn a_restarted_upstream_is_never_noticed() {
    let provider = crate::fixture::provider();
    let listen = provider.addr();
    let weir = gateway(&format!("http://{listen}"), "");
    let mut connection = Connection::open(weir.clients());
    assert_eq!(ask(&mut connection, &weir, &prompt(false, "before")).status, 200);
    provider.stop();
    let options = ProviderOptions { listen, api_keys: vec![PROVIDER_KEY.to_owned()], ..ProviderOptions::default() };
    let provider = provider::start(options).expect("the provider starts again");
    let body = long_prompt(300_000);
    assert_eq!(ask(&mut connection, &weir, &body).status, 200);
    let books = provider.books_when(crate::support::DEADLINE, |sums| sums.requests == 1).expect("one exchange");
    assert_eq!(books.entries[0].request_sha256, sha256(&body), "the whole body again");
}

/// Answers the first request of the first connection, then does `second` with the second request on it; other connections
/// answer everything.
fn stale_upstream(second: impl Fn(Peer) + Send + Sync + 'static) -> RawUpstream {
    RawUpstream::start(move |mut peer| {
        if peer.number > 0 {
            while peer.read_request().is_some() {
                peer.send(&ok(MESSAGE));
            }
            return;
        }
        if peer.read_request().is_none() {
            return;
        }
        peer.send(&ok(MESSAGE));
        if peer.read_request().is_some() {
            second(peer);
        }
    })
}

#[test]
fn a_kept_connection_that_dies_before_a_byte_of_the_answer_is_replaced_by_a_new_one() {
    for reset in [false, true] {
        let upstream = stale_upstream(move |peer| if reset { peer.reset() } else { peer.finish() });
        let weir = gateway(&upstream.url(), "");
        let mut connection = Connection::open(weir.clients());
        assert_eq!(ask(&mut connection, &weir, &prompt(false, "one")).status, 200);
        let answer = ask(&mut connection, &weir, &prompt(false, "two"));
        assert_eq!(answer.status, 200, "reset {reset}: {}", answer.text());
        assert_eq!((upstream.requests(), upstream.connections()), (3, 2), "asked again once");
        upstream.check();
    }
}

#[test]
fn a_new_connection_that_dies_is_not_asked_again() {
    let upstream = RawUpstream::start(|mut peer| {
        if peer.read_request().is_some() {
            peer.reset();
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    assert_own_error(&ask(&mut connection, &weir, &prompt(false, "x")), 502, "api_error");
    assert_eq!(upstream.requests(), 1, "a request that may have been executed is not repeated");
}

#[test]
fn an_upstream_that_began_to_answer_is_not_asked_again() {
    let beginnings: [(&str, &[u8]); 4] = [
        ("half a status line", b"HTTP/1.1 20"),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"),
        ("no HTTP at all", b"SSH-2.0-OpenSSH_9.6\r\n"),
        ("an informational answer", b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"),
    ];
    for (name, bytes) in beginnings {
        let upstream = stale_upstream(move |mut peer| {
            peer.send(bytes);
            peer.finish();
        });
        let weir = gateway(&upstream.url(), "");
        let mut connection = Connection::open(weir.clients());
        assert_eq!(ask(&mut connection, &weir, &prompt(false, "one")).status, 200);
        let answer = ask(&mut connection, &weir, &prompt(false, "two"));
        assert_eq!(upstream.requests(), 2, "{name}: asked again after a byte of the answer");
        assert_own_error(&answer, 502, "api_error");
    }
}

#[test]
fn an_answer_that_broke_off_is_not_asked_for_again() {
    let upstream = stale_upstream(|mut peer| {
        peer.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":");
        peer.finish();
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    assert_eq!(ask(&mut connection, &weir, &prompt(false, "one")).status, 200);
    connection.send(&message(weir.clients(), "", &prompt(false, "two")));
    let head = connection.read_head();
    assert_eq!(head.status, 200);
    assert_eq!(connection.read_to_end(), b"{\"half\":", "and then the end, by force");
    assert_eq!(upstream.requests(), 2);
}

#[test]
fn a_connection_with_leftovers_never_answers_another_client() {
    let upstream = RawUpstream::start(|mut peer| {
        while peer.read_request().is_some() {
            // An answer too many: whoever used this connection next would get somebody else's.
            peer.send(&[ok(MESSAGE), ok(r#"{"stolen":true}"#)].concat());
        }
    });
    let weir = gateway(&upstream.url(), "");
    for turn in 0..5 {
        let mut connection = Connection::open(weir.clients());
        let answer = ask(&mut connection, &weir, &prompt(false, "mine"));
        assert!(!answer.text().contains("stolen"), "turn {turn}: {}", answer.text());
    }
    assert_eq!(upstream.connections(), 5, "such a connection is not kept");
}

#[test]
fn what_an_upstream_says_unasked_never_answers_another_client() {
    let (said, unasked) = std::sync::mpsc::channel();
    let said = std::sync::Mutex::new(said);
    let (client_has_it, go_on) = std::sync::mpsc::channel::<()>();
    let go_on = std::sync::Mutex::new(go_on);
    let upstream = RawUpstream::start(move |mut peer| {
        while peer.read_request().is_some() {
            peer.send(&ok(MESSAGE));
            if peer.number == 0 {
                go_on.lock().expect("nobody else").recv().expect("the client has its answer");
                peer.send(&ok(r#"{"stolen":true}"#));
                said.lock().expect("nobody else").send(()).expect("the test waits");
            }
        }
    });
    let weir = gateway(&upstream.url(), "");
    let mut connection = Connection::open(weir.clients());
    assert_eq!(ask(&mut connection, &weir, &prompt(false, "one")).status, 200);
    client_has_it.send(()).expect("the upstream waits");
    unasked.recv().expect("the upstream has spoken");
    let answer = ask(&mut connection, &weir, &prompt(false, "two"));
    assert_eq!(answer.text(), MESSAGE, "somebody else's answer");
    upstream.check();
}

#[test]
fn many_clients_at_once_never_get_each_others_answers() {
    let bench = Arc::new(bench(""));
    let start = Arc::new(Barrier::new(16));
    let turns = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let (bench, start, turns) = (bench.clone(), start.clone(), turns.clone());
            std::thread::spawn(move || {
                let mut connection = bench.connect();
                start.wait();
                for turn in 0..25 {
                    let number = 1 + client * 1000 + turn;
                    let fault = ["", ",after=close", ",after=reset", ",chunk=split"][turn % 4];
                    let script = format!("input_tokens={number},events=2{fault}");
                    connection.send(&message(bench.weir.clients(), &script, &prompt(turn % 3 == 0, "whose")));
                    let text = connection.read_response().text();
                    assert!(text.contains(&format!(r#""input_tokens":{number},"#)), "client {client}: {text}");
                    turns.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for client in clients {
        client.join().expect("each client gets its own answers");
    }
    assert_eq!(turns.load(Ordering::SeqCst), 400);
}

/// A gateway whose upstream's table says this of kept connections.
fn keeping(upstream: &RawUpstream, keep_alive: &str) -> Weir {
    let config = config(&upstream.url(), "");
    let config = config.replacen("auth = {", &format!("keep_alive = {{ {keep_alive} }}\nauth = {{"), 1);
    Weir::start_with(&config, &[("ALICE_KEY", KEY)])
}

#[test]
fn a_connection_is_kept_longer_than_the_operator_allows() {
    let answers = || {
        RawUpstream::start(|mut peer| {
            while peer.read_request().is_some() {
                peer.send(&ok(MESSAGE));
            }
        })
    };
    let retired = |weir: &Weir, reason: &str| {
        weir.metric("weir_upstream_connections_retired_total", &[&format!("reason=\"{reason}\"")])
    };
    let upstream = answers();
    let weir = keeping(&upstream, "requests = 2");
    let mut connection = Connection::open(weir.clients());
    (0..6).for_each(|_| assert_eq!(ask(&mut connection, &weir, &prompt(false, "x")).status, 200));
    assert_eq!((upstream.requests(), upstream.connections()), (6, 3), "two requests each");
    assert_eq!(retired(&weir, "requests"), 2.0);
    let upstream = answers();
    let weir = keeping(&upstream, "connections = 0");
    let mut connection = Connection::open(weir.clients());
    (0..3).for_each(|_| assert_eq!(ask(&mut connection, &weir, &prompt(false, "x")).status, 200));
    assert_eq!(upstream.connections(), 3, "none is kept");
    eventually(DEADLINE, "each is counted", || (retired(&weir, "full") == 3.0).then_some(()));
    for (keep_alive, reason) in [("age = \"300ms\"", "age"), ("idle = \"300ms\"", "idle")] {
        let upstream = answers();
        let weir = keeping(&upstream, keep_alive);
        let mut connection = Connection::open(weir.clients());
        assert_eq!(ask(&mut connection, &weir, &prompt(false, "x")).status, 200);
        assert_eq!(weir.metric("weir_upstream_connections_total", &["how=\"new\""]), 1.0);
        // Nobody asks again, and the connection ends all the same.
        eventually(DEADLINE, "it is closed", || (retired(&weir, reason) == 1.0).then_some(()));
        assert_eq!(ask(&mut connection, &weir, &prompt(false, "x")).status, 200);
        assert_eq!(upstream.connections(), 2);
    }
}
