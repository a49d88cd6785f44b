//! The epoll driver, for hosts without io_uring: only when asked for by name, and then it serves everything.

use crate::fixture::{KEY, assert_own_error, config, long_prompt, message, prompt, provider, sha256};
use crate::support::http::Connection;
use crate::support::{DEADLINE, Weir};

#[test]
fn on_epoll_everything_works_and_the_log_says_what_it_costs() {
    let provider = provider();
    let config = config(&format!("http://{}", provider.addr()), "[limits]\nfirst_byte_timeout = \"500ms\"\n");
    let config = config.replacen("pin = false", "pin = false\ndriver = \"epoll\"", 1);
    let weir = Weir::start_with(&config, &[("ALICE_KEY", KEY)]);
    assert!(weir.log().contains("\"WARN\"") && weir.log().contains("without io_uring"), "{}", weir.log());
    let mut connection = Connection::open(weir.clients());
    let turns = [
        ("", prompt(false, "one")),
        ("events=300,event_bytes=2000,chunk=split", prompt(true, "two")),
        ("after=reset", long_prompt(5 << 20)),
        ("until_close=0,trailers=1", prompt(true, "three")),
        ("body_bytes=3000000", prompt(false, "four")),
    ];
    for (turn, (script, body)) in turns.iter().enumerate() {
        connection.send(&message(weir.clients(), script, body));
        let answer = connection.read_response();
        assert_eq!(answer.status, 200, "{script}: {}", answer.text());
        let books = provider.books_when(DEADLINE, |sums| sums.requests == turn as u64 + 1).expect("an exchange");
        assert_eq!(books.entries[turn].request_sha256, sha256(body), "{script}");
        assert_eq!(books.entries[turn].response_sha256, sha256(&answer.body), "{script}");
    }
    connection.send(&message(weir.clients(), "silent=1", &prompt(false, "x")));
    assert_own_error(&connection.read_response(), 504, "timeout_error");
    connection.send(&message(weir.clients(), "events=1000,gap_ms=20", &prompt(true, "going")));
    assert_eq!(connection.read_head().status, 200);
    drop(connection);
    let books = provider.books_when(DEADLINE, |sums| sums.requests == 7 && sums.open == 0).expect("both are cancelled");
    let gone = weir::loadtest::provider::Outcome::ClientGone;
    assert!(books.entries[5..].iter().all(|entry| entry.outcome == gone), "{:?}", books.entries);
}

#[test]
fn io_uring_is_the_driver_unless_another_is_asked_for() {
    let provider = provider();
    let weir = crate::fixture::gateway(&format!("http://{}", provider.addr()), "");
    let mut connection = Connection::open(weir.clients());
    connection.send(&message(weir.clients(), "", &prompt(false, "x")));
    assert_eq!(connection.read_response().status, 200);
    let pid = crate::memory::pid(&weir);
    let links = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    let rings = links.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let rings = rings.filter(|link| link.ends_with("anon_inode:[io_uring]")).count();
    assert_eq!(rings, 1, "one ring for the one shard, never a quiet fallback");
}

#[test]
fn a_process_that_ends_with_operations_in_flight_exits_and_does_not_crash() {
    let provider = provider();
    let url = format!("http://{}", provider.addr());
    let mut weir = crate::fixture::gateway(&url, "[limits]\ndrain_timeout = \"300ms\"\n");
    let mut held: Vec<Connection> = (0..20)
        .map(|_| {
            let mut connection = Connection::open(weir.clients());
            connection.send(&message(weir.clients(), "events=100000,gap_ms=5", &prompt(true, "x")));
            assert_eq!(connection.read_head().status, 200);
            connection
        })
        .collect();
    weir.sigterm();
    let code = weir.wait_for_exit();
    assert!(code.is_some(), "no signal ended it: the kernel still had its buffers when it left");
    let wire = held.remove(0).read_to_end();
    assert!(!String::from_utf8_lossy(&wire).contains("message_stop"));
    assert!(!weir.log().contains("panicked"), "{}", weir.log());
}
