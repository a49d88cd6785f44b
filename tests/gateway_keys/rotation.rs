//! A rotation: for its grace both secrets work, then only the new one.

use serde_json::json;

use crate::fixture::{self, assert_refused};
use crate::support::{DEADLINE, eventually, http};

#[test]
fn the_old_secret_stops_at_once_or_never() {
    let gateway = fixture::start("");
    let old = gateway.create(json!({"id": "made", "user": "bob"}));
    let new = gateway.rotate("made", "8s");
    gateway.settle();
    assert_ne!(old, new);
    for secret in [&old, &new] {
        assert_eq!(gateway.ask(secret).status, 200);
    }
    assert_eq!(gateway.state("made"), "rotating");
    // A client in the middle of the change sends one in each header: that is one key, not two.
    let mut connection = http::Connection::open(gateway.weir.clients());
    let both = [("authorization", format!("Bearer {new}")), ("x-api-key", old.clone())];
    let both = both.each_ref().map(|(name, value)| (*name, value.as_str()));
    connection.send(&http::request_bytes(gateway.weir.clients(), "GET", "/v1/models", &both, b""));
    assert_eq!(connection.read_response().status, 200);
    let refused = eventually(DEADLINE, "the old secret's grace ends", || {
        let answer = gateway.ask(&old);
        (answer.status != 200).then_some(answer)
    });
    assert_refused(&refused, "replaced by a rotation");
    assert_eq!((gateway.state("made").as_str(), gateway.ask(&new).status), ("active", 200));
    // The old one in the other header no longer counts, and does no harm.
    connection.send(&http::request_bytes(gateway.weir.clients(), "GET", "/v1/models", &both, b""));
    assert_eq!(connection.read_response().status, 200);
}

#[test]
fn a_rotation_without_grace_leaves_a_leaked_secret_working() {
    let gateway = fixture::start("");
    let first = gateway.create(json!({"id": "made"}));
    let second = gateway.rotate("made", "1h");
    let third = gateway.rotate("made", "0");
    gateway.settle();
    for gone in [&first, &second] {
        assert_refused(&gateway.ask(gone), "not a valid key");
    }
    assert_eq!(gateway.ask(&third).status, 200);
}
