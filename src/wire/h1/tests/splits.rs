//! A head gives the same answer however slowly it arrives, and no bytes make a parser panic.

use proptest::prelude::*;

use super::*;
use crate::wire::h1::lines::{LineWalk, Rules, Walked};
use crate::wire::h1::{header::Header, request, response};

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

/// Heads that are taken apart here say what httparse makes of them, and are refused for the same reason.
fn judged_alike(input: &[u8]) {
    let mut own = RequestHead::default();
    let rules = Rules { limits: &LIMITS, leading_crlf: true };
    if let Ok(Some(walked)) = LineWalk::default().advance(input, rules, &mut own.headers) {
        let (buf, mut judged) = (&input[..walked.end], RequestHead::default());
        let result = request::fill(buf, walked, &mut own);
        let theirs = request::fill(buf, Walked { plain: false, ..walked }, &mut judged);
        assert_eq!(result, theirs, "{:?}", String::from_utf8_lossy(input));
        if result.is_ok() {
            assert_eq!(said(buf, &own.headers), said(buf, &judged.headers));
            (own.headers, judged.headers) = Default::default();
            assert_eq!(own, judged);
        }
    }
    let mut own = ResponseHead::default();
    let rules = Rules { limits: &LIMITS, leading_crlf: false };
    if let Ok(Some(walked)) = LineWalk::default().advance(input, rules, &mut own.headers) {
        let (buf, mut judged) = (&input[..walked.end], ResponseHead::default());
        let result = response::fill(buf, walked, &mut own);
        let theirs = response::fill(buf, Walked { plain: false, ..walked }, &mut judged);
        assert_eq!(result, theirs, "{:?}", String::from_utf8_lossy(input));
        if result.is_ok() {
            assert_eq!(said(buf, &own.headers), said(buf, &judged.headers));
            assert_eq!(own.reason.of(buf), judged.reason.of(buf));
            (own.headers, judged.headers) = Default::default();
            (own.reason, judged.reason) = Default::default();
            assert_eq!(own, judged);
        }
    }
}

/// Start lines, most of them nearly sound.
fn start_lines() -> impl Strategy<Value = String> {
    let request = (
        prop_oneof![Just("GET"), Just("OPTIONS"), Just("CONNECT"), Just("x-!#~"), Just("G(T"), Just("")],
        prop_oneof![Just(" "), Just("  "), Just("\t"), Just("")],
        "(/|\\*|http://h|)[!-~]{0,9}[ -~\t\u{7f}\u{e9}]?[?/]?",
        prop_oneof![Just(" HTTP/1.1"), Just(" HTTP/1.0"), Just("  HTTP/1.1"), Just(" HTTP/1.2"), Just(" HTTP/1.1 ")],
    );
    let response = (
        prop_oneof![Just("HTTP/1.1"), Just("HTTP/1.0"), Just("HTTP/2.0"), Just("HTTP/1.1 ")],
        "[ \t]?[0-9]{2,4}",
        prop_oneof![Just(""), Just(" "), Just("  "), Just("\t")],
        "[ -~\t\u{7f}\u{e9}]{0,9}",
    );
    prop_oneof![
        Just("GET / HTTP/1.1\r\nHost: h\r\n".to_owned()),
        Just("HTTP/1.1 200 OK\r\n".to_owned()),
        request.prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}\r\nHost: h\r\n")),
        response.prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}\r\n")),
    ]
}

/// Whole heads with lines that are written in every way there is.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = (
        prop_oneof![Just("x-stainless-".to_owned()), "[a-zA-Z0-9!#|~_.-]{0,6}"],
        "[: \\t]{0,3}",
        "[ -~\\t\u{e9}]{0,70}",
        prop_oneof![5 => Just(""), 1 => Just("\r"), 1 => Just("\x7f"), 1 => Just(" ")],
    );
    let lines = proptest::collection::vec(line.prop_map(|(a, b, c, d)| format!("{a}{b}{c}{d}\r\n")), 0..6);
    (start_lines(), lines).prop_map(|(start, lines)| format!("{start}{}\r\nbody", lines.concat()).into_bytes())
}

/// Heads as clients send them, some of them with what must be refused; long enough for a next one to begin alike.
fn usual_heads() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        6 => "X-Stainless-[a-z]{1,9}: [!-~]{1,30}",
        1 => Just("Content-Length: 4".to_owned()),
        1 => Just("Transfer-Encoding: chunked".to_owned()),
        1 => Just("Connection: keep-alive".to_owned()),
        1 => Just("anthropic-version: 2023-06-01".to_owned()),
        1 => Just("x-empty:".to_owned()),
        1 => Just("odd\u{e9}: x".to_owned()),
    ];
    let start = prop_oneof![Just(""), Just("\r\n")];
    (start, proptest::collection::vec(line, 1..12)).prop_map(|(start, lines)| {
        format!("{start}POST /v1/messages HTTP/1.1\r\nHost: h\r\n{}\r\n\r\nbody", lines.join("\r\n")).into_bytes()
    })
}

/// A connection's second head, compared with the first, is what it is by itself: whole, and at every step of its arrival.
fn followed_alike(first: &[u8], second: &[u8], ends: &[usize]) {
    let (mut parser, mut head) = (RequestParser::new(LIMITS), RequestHead::default());
    if parser.parse(first, &mut head) != Ok(Progress::Complete) || !parser.was_plain() {
        return;
    }
    let last = first[..head.head_len].to_vec();
    let (mut fresh, mut alone) = (RequestParser::new(LIMITS), RequestHead::default());
    let mut follows = RequestParser::new(LIMITS);
    let ends = ends.iter().copied().filter(|end| (1..second.len()).contains(end)).chain([second.len()]);
    for (step, end) in ends.enumerate() {
        let buf = &second[..end];
        if step == 0 {
            follows.follow(buf, &last, &mut head);
        }
        let (expected, answer) = (fresh.parse(buf, &mut alone), follows.parse(buf, &mut head));
        assert_eq!(answer, expected, "{:?}", String::from_utf8_lossy(second));
        match answer {
            Ok(Progress::Complete) => {
                assert_eq!(follows.was_plain(), fresh.was_plain());
                assert_eq!(head, alone, "{:?}", String::from_utf8_lossy(second));
                return;
            }
            Ok(Progress::Partial) => {}
            Err(_) => return,
        }
    }
}

/// A head as a client of many headers sends it, longer than is looked at in one go.
fn long_head() -> Vec<u8> {
    let lines: String = (0..90).map(|n| format!("X-Stainless-Part-{n}: {}\r\n", "v".repeat(n * 7 % 61))).collect();
    format!("POST /v1/messages HTTP/1.1\r\nhost: h\r\n{lines}content-length: 4\r\n\r\nbody").into_bytes()
}

#[test]
fn a_long_head_is_the_same_in_one_piece_and_in_two() {
    let input = long_head();
    let whole = request(&input).unwrap().unwrap();
    assert_eq!((whole.headers.len(), whole.body), (92, RequestBody::Length(4)));
    judged_alike(&input);
    for cut in 0..input.len() {
        assert_eq!(request_grown(&input, &[cut]), Ok(Some(whole.clone())), "cut at {cut}");
    }
}

#[test]
fn a_list_of_headers_that_changes_on_the_way_costs_time_and_no_header() {
    let input = long_head();
    let whole = request(&input).unwrap();
    let mut parser = RequestParser::new(LIMITS);
    assert_eq!(parser.parse(&input[..2000], &mut RequestHead::default()), Ok(Progress::Partial));
    let mut head = RequestHead::default();
    assert_eq!(parser.parse(&input, &mut head), Ok(Progress::Complete));
    assert_eq!(Some(head), whole);
}

proptest! {
    #[test]
    fn a_line_taken_apart_here_says_otherwise_than_httparse_does(input in prop_oneof![lines(), pieces()]) {
        judged_alike(&input);
    }

    #[test]
    fn a_head_that_follows_another_says_otherwise_than_one_that_comes_first(
        first in prop_oneof![usual_heads(), lines()],
        edit in (0_usize..600, 0_usize..60, prop_oneof![pieces(), Just(Vec::new())]),
        other in lines(),
        mut ends in proptest::collection::vec(0_usize..600, 0..4),
    ) {
        ends.sort_unstable();
        let (from, len, text) = edit;
        let mut edited = first.clone();
        let from = from.min(edited.len());
        edited.splice(from..(from + len).min(edited.len()), text);
        for second in [&edited, &other, &first] {
            followed_alike(&first, second, &ends);
        }
    }

    #[test]
    fn a_head_that_arrives_in_pieces_says_otherwise_than_a_whole_one(
        input in lines(), mut ends in proptest::collection::vec(0_usize..400, 0..6),
    ) {
        check(&input, &mut ends);
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
