use super::*;

#[test]
fn a_streaming_answer_is_read_into_offsets() {
    let input = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nrequest-id: req_1\r\n\r\n5\r\n";
    let head = response(input).unwrap().unwrap();
    assert_eq!((head.status, head.minor_version, head.chunked, head.keep_alive), (200, 1, true, true));
    assert_eq!(head.reason.of(input), b"OK");
    assert_eq!(head.body(Method::Post), ResponseBody::Chunked);
    assert_eq!(header(input, &head.headers, Known::RequestId), Some(&b"req_1"[..]));
    assert_eq!(&input[head.head_len..], b"5\r\n");
}

#[test]
fn an_empty_reason_phrase_is_legal() {
    for line in ["HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.0 429 Too Many  Requests", "HTTP/1.1 200 d\u{e9}j\u{e0}"] {
        assert!(response(format!("{line}\r\n\r\n")).unwrap().is_some(), "{line}");
    }
}

#[test]
fn malformed_status_lines_are_refused() {
    for line in [
        "HTTP/1.1 099 x",
        "HTTP/1.1 600 x",
        "HTTP/1.1 20 x",
        "HTTP/1.1 2000 x",
        "HTTP/1.1  200 x",
        "HTTP/2.0 200 x",
        "ICY 200 OK",
        "http/1.1 200 OK",
        "HTTP/1.1",
        "HTTP/1.1 2x0 OK",
        " HTTP/1.1 200 OK",
        "HTTP/1.1 200 a\0b",
    ] {
        assert!(response(format!("{line}\r\n\r\n")).is_err(), "{line}");
    }
    assert_eq!(response("SSH-2.0-"), Err(HeadError::StatusLine));
    assert_eq!(response("\r\nHTTP/1.1 200 OK\r\n\r\n").map_err(|error| error.status()), Err(400));
}

#[test]
fn answers_without_body_by_status_have_none() {
    for status in [100, 101, 103, 199, 204, 304] {
        let head = response(format!("HTTP/1.1 {status} x\r\nContent-Length: 9\r\n\r\n")).unwrap().unwrap();
        assert_eq!(head.body(Method::Get), ResponseBody::None, "{status}");
    }
    let head = response("HTTP/1.1 205 x\r\nContent-Length: 0\r\n\r\n").unwrap().unwrap();
    assert_eq!(head.body(Method::Get), ResponseBody::Length(0));
}

#[test]
fn an_http_1_0_upstream_keeps_its_connection_only_when_it_says_so() {
    assert!(!response("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap().unwrap().keep_alive);
    let head = response("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n").unwrap().unwrap();
    assert!(head.keep_alive);
}
