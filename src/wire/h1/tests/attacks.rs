//! What brought down or fooled other HTTP/1.1 stacks, request side and upstream side.

use super::*;

const CL: &str = "Content-Length: 3\r\n";
const TE: &str = "Transfer-Encoding: chunked\r\n";

#[test]
fn content_length_beside_transfer_encoding_smuggles_nothing() {
    assert_eq!(post_with(&format!("{CL}{TE}")), Err(HeadError::LengthWithCoding));
    assert_eq!(post_with(&format!("{TE}{CL}")), Err(HeadError::LengthWithCoding));
    assert_eq!(post_with(&format!("{CL}Transfer-Encoding: identity\r\n")), Err(HeadError::LengthWithCoding));
    assert_eq!(ok_with(&format!("{CL}{TE}")), Err(HeadError::LengthWithCoding));
}

#[test]
fn two_content_lengths_are_refused_even_when_equal() {
    assert_eq!(post_with("Content-Length: 3\r\nContent-Length: 5\r\n"), Err(HeadError::LengthRepeated));
    assert_eq!(post_with("Content-Length: 3\r\ncontent-length: 3\r\n"), Err(HeadError::LengthRepeated));
    assert_eq!(ok_with("Content-Length: 3\r\nContent-Length: 3\r\n"), Err(HeadError::LengthRepeated));
}

#[test]
fn a_content_length_is_plain_digits() {
    for value in
        ["", "+3", "-3", "3, 3", "3,3", "3 3", "0x3", "3.0", "3a", "18446744073709551616", "99999999999999999999999"]
    {
        assert_eq!(post_with(&format!("Content-Length: {value}\r\n")), Err(HeadError::LengthInvalid), "{value:?}");
        assert_eq!(ok_with(&format!("Content-Length: {value}\r\n")), Err(HeadError::LengthInvalid), "{value:?}");
    }
    let length = |value: &str| post_with(&format!("Content-Length: {value}\r\n")).unwrap().unwrap().body;
    assert_eq!(length("18446744073709551615"), RequestBody::Length(u64::MAX));
    assert_eq!(length("0"), RequestBody::Length(0));
    assert_eq!(length(" 12\t"), RequestBody::Length(12));
}

#[test]
fn a_transfer_encoding_is_exactly_one_chunked() {
    for lines in [
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding:\r\n",
    ] {
        assert_eq!(post_with(lines), Err(HeadError::CodingAmbiguous), "{lines:?}");
        assert_eq!(ok_with(lines), Err(HeadError::CodingAmbiguous), "{lines:?}");
    }
    assert_eq!(post_with("Transfer-Encoding: gzip, chunked\r\n"), Err(HeadError::CodingUnknown));
    assert_eq!(post_with("transfer-encoding: Chunked\r\n").unwrap().unwrap().body, RequestBody::Chunked);
    assert!(post_with("Transfer-Encoding: \x0bchunked\r\n").is_err());
    assert!(post_with("Transfer-Encoding : chunked\r\n").is_err());
}

#[test]
fn chunked_means_nothing_in_http_1_0() {
    let input = format!("POST / HTTP/1.0\r\n{TE}\r\n");
    assert_eq!(request(input), Err(HeadError::CodingBeforeHttp11));
    assert_eq!(response(format!("HTTP/1.0 200 OK\r\n{TE}\r\n")), Err(HeadError::CodingBeforeHttp11));
}

#[test]
fn a_bare_lf_head_does_not_swallow_the_second_request() {
    assert_eq!(request("GET / HTTP/1.1\nHost: h\n\nGET /2 HTTP/1.1\nHost: h\n\n"), Err(HeadError::BareLineFeed));
    assert_eq!(request("GET / HTTP/1.1\n"), Err(HeadError::BareLineFeed));
    assert_eq!(request("GET / HTTP/1.1\r\nHost: h\n\r\n"), Err(HeadError::BareLineFeed));
    assert_eq!(request("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err().status(), 400);
    assert_eq!(request("GET / HTTP/1.1\r\nHost: h\r\n\n"), Err(HeadError::BareLineFeed));
    assert_eq!(response("HTTP/1.1 200 OK\nContent-Length: 0\n\n"), Err(HeadError::BareLineFeed));
}

#[test]
fn control_characters_cannot_hide_in_a_head() {
    for value in ["a\rb", "a\0b", "\r", "a\x7fb", "a\x0bb", "\x01", "a\r\rb"] {
        assert!(post_with(&format!("X-A: {value}\r\n")).is_err_and(|error| error.status() == 400), "{value:?}");
        assert!(ok_with(&format!("X-A: {value}\r\n")).is_err(), "{value:?}");
    }
    assert!(post_with("X-A: a\tb \u{e9}\r\n").unwrap().is_some());
    assert!(request("GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n").is_err());
    assert!(request("GET /\r HTTP/1.1\r\nHost: h\r\n\r\n").is_err());
}

#[test]
fn header_names_are_tokens_right_before_their_colon() {
    for line in
        ["X-A : b", ": b", "X A: b", "X\tA: b", "X-\u{e9}: b", "X(A): b", "no colon", "X\0: b", "X@: b", "\"x\": b"]
    {
        let error = post_with(&format!("{line}\r\n")).unwrap_err();
        assert_eq!((error.status(), line), (400, line));
        assert!(ok_with(&format!("{line}\r\n")).is_err(), "{line:?}");
    }
}

#[test]
fn folded_headers_are_refused() {
    assert_eq!(post_with("X-A: b\r\n c\r\n"), Err(HeadError::FoldedHeader));
    assert_eq!(post_with("Transfer-Encoding:\r\n\tchunked\r\n"), Err(HeadError::FoldedHeader));
    assert_eq!(request("GET / HTTP/1.1\r\n Host: h\r\n\r\n"), Err(HeadError::FoldedHeader));
    assert_eq!(ok_with("X-A: b\r\n c\r\n"), Err(HeadError::FoldedHeader));
}

#[test]
fn a_header_name_of_66_000_bytes_is_an_answer_not_a_crash() {
    let name = "n".repeat(66_000);
    assert_eq!(post_with(&format!("{name}: v\r\n")), Err(HeadError::HeadTooLong));
    assert_eq!(ok_with(&format!("{name}: v\r\n")), Err(HeadError::HeadTooLong));
    let limits = HeadLimits { head_bytes_max: 1 << 20, ..LIMITS };
    let input = format!("GET / HTTP/1.1\r\nHost: h\r\n{name}: v\r\n\r\n");
    let mut head = RequestHead::default();
    assert_eq!(RequestParser::new(limits).parse(input.as_bytes(), &mut head), Ok(Progress::Complete));
    assert_eq!(head.headers[1].name.len(), 66_000);
}

#[test]
fn a_header_block_without_end_is_cut_off() {
    let mut parser = RequestParser::new(LIMITS);
    let mut head = RequestHead::default();
    let mut buf = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
    let error = loop {
        buf.extend_from_slice(b"X-A: 0123456789012345678901234567890123456789\r\n");
        match parser.parse(&buf, &mut head) {
            Ok(progress) => assert_eq!(progress, Progress::Partial),
            Err(error) => break error,
        }
    };
    assert_eq!(error.status(), 431);
    assert!(buf.len() <= LIMITS.head_bytes_max + 64);
}

#[test]
fn host_is_there_exactly_once() {
    assert_eq!(request("GET / HTTP/1.1\r\n\r\n"), Err(HeadError::HostMissing));
    assert_eq!(request("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"), Err(HeadError::HostRepeated));
    assert_eq!(request("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"), Err(HeadError::HostRepeated));
    assert!(request("GET / HTTP/1.0\r\n\r\n").unwrap().is_some());
    assert!(request("GET / HTTP/1.1\r\nHost:\r\n\r\n").unwrap().is_some());
    for host in ["a, b", "a b", "u@h", "h/x", "h?x", "h#", "h\\x", "h\u{e9}", "a,b"] {
        assert_eq!(request(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")), Err(HeadError::HostInvalid), "{host}");
    }
}

#[test]
fn expect_100_continue_is_seen_and_others_answered_417() {
    let expects = |lines: &str| post_with(lines).map(|head| head.unwrap().expect_continue);
    assert_eq!(expects(&format!("{CL}Expect: 100-Continue\r\n")), Ok(true));
    assert_eq!(expects(&format!("{TE}Expect: 100-continue\r\n")), Ok(true));
    assert_eq!(expects(CL), Ok(false));
    assert_eq!(expects("Expect: 100-continue\r\n"), Ok(false));
    assert_eq!(expects("Content-Length: 0\r\nExpect: 100-continue\r\n"), Ok(false));
    assert_eq!(expects(&format!("{CL}Expect: 200-ok\r\n")), Err(HeadError::Expectation));
    assert_eq!(expects(&format!("{CL}Expect: 100-continue, x\r\n")), Err(HeadError::Expectation));
    let old = request(format!("POST / HTTP/1.0\r\n{CL}Expect: 100-continue\r\n\r\n")).unwrap().unwrap();
    assert!(!old.expect_continue);
}

#[test]
fn a_huge_content_length_is_a_number_and_no_allocation() {
    let head = post_with("Content-Length: 1000000000\r\n").unwrap().unwrap();
    assert_eq!(head.body, RequestBody::Length(1_000_000_000));
}

#[test]
fn a_head_response_with_content_length_has_no_body_to_wait_for() {
    let head = ok_with(CL).unwrap().unwrap();
    assert_eq!(head.body(Method::Head), ResponseBody::None);
    assert_eq!(head.body(Method::Get), ResponseBody::Length(3));
}

#[test]
fn an_interim_answer_does_not_stand_for_the_final_one() {
    let input = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let mut parser = ResponseParser::new(LIMITS);
    let mut head = ResponseHead::default();
    assert_eq!(parser.parse(input, &mut head), Ok(Progress::Complete));
    assert_eq!((head.status, head.body(Method::Post)), (103, ResponseBody::None));
    let rest = &input[head.head_len..];
    assert_eq!(parser.parse(rest, &mut head), Ok(Progress::Complete));
    assert_eq!((head.status, head.body(Method::Post), head.head_len), (200, ResponseBody::Length(0), rest.len()));
}

#[test]
fn a_close_delimited_answer_keeps_its_body() {
    let head = response("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody").unwrap().unwrap();
    assert_eq!((head.body(Method::Get), head.keep_alive), (ResponseBody::UntilClose, false));
}
