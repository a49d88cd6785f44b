//! A head gives the same answer however slowly it arrives, and no bytes make a parser panic.

use proptest::prelude::*;

use super::*;
use crate::wire::h1::{header::Header, lines::LineWalk, request, response};

const REQUESTS: &[&str] = &[
    "POST /v1/messages?beta=true HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nX-A: b\r\n\r\nabc",
    "\r\nGET http://h/x HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2 HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nHost: h\nX: y\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nbad name: y\r\n\r\n",
    "CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Feeds growing prefixes that end at `ends`, then the whole. Stops at the first answer, as a connection does.
fn request_grown(input: &[u8], ends: &[usize]) -> Result<Option<RequestHead>, HeadError> {
    let mut parser = RequestParser::new(LIMITS);
    let mut head = RequestHead::default();
    for end in ends.iter().copied().chain([input.len()]) {
        if parser.parse(&input[..end.min(input.len())], &mut head)? == Progress::Complete {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

fn response_grown(input: &[u8], ends: &[usize]) -> Result<Option<ResponseHead>, HeadError> {
    let mut parser = ResponseParser::new(LIMITS);
    let mut head = ResponseHead::default();
    for end in ends.iter().copied().chain([input.len()]) {
        if parser.parse(&input[..end.min(input.len())], &mut head)? == Progress::Complete {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

#[test]
fn every_split_of_a_head_gives_the_same_answer() {
    for input in REQUESTS.iter().map(|text| text.as_bytes()) {
        let whole = request(input);
        let steps: Vec<usize> = (0..=input.len()).collect();
        assert_eq!(request_grown(input, &steps), whole);
        for first in 0..=input.len() {
            for second in first..=input.len() {
                assert_eq!(request_grown(input, &[first, second]), whole, "split at {first}, {second}");
            }
        }
    }
    let input = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\nabc";
    let steps: Vec<usize> = (0..=input.len()).collect();
    assert_eq!(response_grown(input, &steps), response(input));
    assert!(response(input).unwrap().is_some());
}

/// Pieces that make interesting heads far more often than random bytes do.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("GET / HTTP/1.1\r\n"),
        Just("POST http://h/x?y HTTP/1.0\r\n"),
        Just("HTTP/1.1 200 OK\r\n"),
        Just("Host: h\r\n"),
        Just("Content-Length: 3\r\n"),
        Just("Content-Length:"),
        Just("Transfer-Encoding: chunked\r\n"),
        Just("Connection: close,"),
        Just("Expect: 100-continue\r\n"),
        Just("\r\n"),
        Just("\r\n\r\n"),
        Just("\n"),
        Just("\r"),
        Just(" "),
        Just("\t"),
        Just(":"),
        Just("\0"),
        Just(","),
        Just("x-a"),
        Just("%"),
        Just("?"),
        Just("/"),
        Just("\u{e9}"),
        Just("*"),
        Just("HTTP/1."),
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat().into_bytes())
}

fn check(input: &[u8], ends: &mut [usize]) {
    ends.sort_unstable();
    let grown = request_grown(input, ends);
    let whole = request(input);
    // Both refuse or both agree; a head seen in parts may be refused for an earlier of two faults.
    assert_eq!(grown.is_err(), whole.is_err(), "{:?}", String::from_utf8_lossy(input));
    if let Ok(grown) = grown {
        assert_eq!(Ok(grown), whole);
    }
    let grown = response_grown(input, ends);
    let whole = response(input);
    assert_eq!(grown.is_err(), whole.is_err(), "{:?}", String::from_utf8_lossy(input));
    if let Ok(grown) = grown {
        assert_eq!(Ok(grown), whole);
    }
}

/// What a head says, wherever its parts lie.
fn said(buf: &[u8], headers: &[Header]) -> Vec<(Vec<u8>, Vec<u8>, Known)> {
    headers.iter().map(|h| (h.name.of(buf).to_vec(), h.value.of(buf).to_vec(), h.known)).collect()
}

/// Lines that are taken apart here say what httparse makes of them, and are refused for the same reason.
fn judged_alike(input: &[u8]) {
    let mut walk = LineWalk::default();
    if let Ok(Some(end)) = walk.advance(input, &LIMITS, true) {
        let (buf, start) = (&input[..end], walk.message_start);
        let (mut own, mut judged) = (RequestHead::default(), RequestHead::default());
        let result = request::fill(buf, start, walk.is_clean(), &mut own);
        assert_eq!(result, request::fill(buf, start, false, &mut judged), "{:?}", String::from_utf8_lossy(input));
        if result.is_ok() {
            assert_eq!(said(buf, &own.headers), said(buf, &judged.headers));
            (own.headers, judged.headers) = Default::default();
            assert_eq!(own, judged);
        }
    }
    let mut walk = LineWalk::default();
    if let Ok(Some(end)) = walk.advance(input, &LIMITS, false) {
        let buf = &input[..end];
        let (mut own, mut judged) = (ResponseHead::default(), ResponseHead::default());
        let result = response::fill(buf, walk.is_clean(), &mut own);
        assert_eq!(result, response::fill(buf, false, &mut judged), "{:?}", String::from_utf8_lossy(input));
        if result.is_ok() {
            assert_eq!(said(buf, &own.headers), said(buf, &judged.headers));
            (own.headers, judged.headers) = Default::default();
            assert_eq!(own, judged);
        }
    }
}

/// Whole heads with lines that are written in every way there is.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let first =
        prop_oneof![Just("GET / HTTP/1.1\r\nHost: h\r\n"), Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.1 204\r\n")];
    let line = (
        "[a-zA-Z!#|~-]{0,6}",
        "[: \\t]{0,3}",
        "[ -~\\t\u{e9}]{0,70}",
        prop_oneof![Just(""), Just("\r"), Just("\x7f"), Just(" ")],
    );
    let lines = proptest::collection::vec(line.prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}\r\n")), 0..6);
    (first, lines).prop_map(|(first, lines)| format!("{first}{}\r\nbody", lines.concat()).into_bytes())
}

proptest! {
    #[test]
    fn a_line_taken_apart_here_says_otherwise_than_httparse_does(input in prop_oneof![lines(), pieces()]) {
        judged_alike(&input);
    }

    #[test]
    fn likely_bytes_never_panic_and_splits_change_nothing(
        input in pieces(), mut ends in proptest::collection::vec(0_usize..200, 0..6),
    ) {
        check(&input, &mut ends);
    }

    #[test]
    fn any_bytes_never_panic_and_splits_change_nothing(
        input in proptest::collection::vec(any::<u8>(), 0..300), mut ends in proptest::collection::vec(0_usize..300, 0..6),
    ) {
        check(&input, &mut ends);
    }
}
