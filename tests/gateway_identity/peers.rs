//! Peers that speak for others: only with the key, only from the address, only by these two headers.

use crate::fixture::{self, ALICE_KEY, SECRET, assert_refused};
use crate::support::http::Response;

const EMAIL: &str = "x-claude-gateway-user-email";
const ID: &str = "x-claude-gateway-user-id";

fn peer(networks: &str) -> String {
    format!(
        "[[key]]\nid = \"inner-gateway\"\nsecret = \"${{JWT_SECRET}}\"\nuser = \"gateway@example.com\"\n\
         team = \"platform\"\nproject = \"inner\"\ntrusted_peers = [{networks}]\n"
    )
}

#[test]
fn a_trusted_peer_speaks_only_for_itself() {
    let gateway = fixture::start(&peer("\"127.0.0.0/8\""));
    let ask = |more: &[(&str, &str)]| gateway.ask_with(&[&[("x-api-key", SECRET)], more].concat());
    let caller = |answer: &Response| gateway.caller_of(answer);
    let of = |user: &str| ["inner-gateway", user, "platform", "inner"].map(str::to_owned);
    assert_eq!(caller(&ask(&[])), of("gateway@example.com"));
    assert_eq!(caller(&ask(&[(ID, "u-17")])), of("u-17"));
    assert_eq!(caller(&ask(&[(ID, "u-17"), (EMAIL, "carol@example.com")])), of("carol@example.com"));
    assert_eq!(caller(&ask(&[("X-Claude-Gateway-User-Email", "dave@example.com")])), of("dave@example.com"));
    // What cannot be a name is not booked on anybody.
    for bad in ["", &"x".repeat(257)] {
        assert_refused(&ask(&[(EMAIL, bad)]), EMAIL);
    }
    assert_refused(&ask(&[(ID, "a"), (ID, "b")]), ID);
    // The names stay here: the provider sees neither.
    let names = gateway.provider.books()["entries"].to_string().to_ascii_lowercase();
    assert!(!names.contains("x-claude-gateway"), "{names}");
}

#[test]
fn a_stranger_speaks_for_others() {
    // The same key from an address that is not listed, whatever a header says of the address.
    let gateway = fixture::start(&peer("\"10.9.8.7\", \"192.0.2.0/24\""));
    let headers = [("x-api-key", SECRET), (EMAIL, "carol@example.com"), ("x-forwarded-for", "10.9.8.7")];
    let answer = gateway.ask_with(&headers);
    assert_eq!(gateway.caller_of(&answer)[1], "gateway@example.com");
    // Another key from an address that is.
    let gateway = fixture::start(&peer("\"127.0.0.1\""));
    let answer = gateway.ask_with(&[("x-api-key", ALICE_KEY), (EMAIL, "carol@example.com"), (ID, "u-17")]);
    assert_eq!(gateway.caller_of(&answer)[..2], ["dev-alice", "alice@example.com"]);
}
