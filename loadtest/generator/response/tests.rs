use super::*;

const CHUNKED: &[u8] = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nrequest-id: req_1\r\nTransfer-Encoding: chunked\r\n\r\n\
    11\r\nevent: a\ndata: {}\r\n4;x=y\r\n\n\nev\r\n1D\r\nent: m\n\"type\":\"message_stop\"}\r\n1\r\n\n\r\n1\r\n\n\r\n0\r\nt: 1\r\n\r\n";

#[test]
fn pieces_change_what_is_read() {
    let mut expected = None;
    for piece in 1..CHUNKED.len() {
        let mut response = Response::new(true);
        let mut used = 0;
        for part in CHUNKED.chunks(piece) {
            assert!(!response.is_done());
            used += response.feed(part).unwrap();
        }
        assert!(response.is_done() && used == CHUNKED.len() && response.ends_with_stop(), "pieces of {piece}");
        let seen = (
            response.status,
            response.request_id.clone(),
            response.frames,
            response.payload_bytes,
            response.take_sha256().map(|d| d.as_ref().to_vec()),
        );
        assert_eq!(*expected.get_or_insert(seen.clone()), seen);
        assert_eq!((seen.0, seen.1.as_str(), seen.2), (200, "req_1", 2));
    }
}

#[test]
fn next_response_is_swallowed() {
    let mut response = Response::new(false);
    let bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1";
    assert_eq!(response.feed(bytes).unwrap(), bytes.len() - 8);
    assert!(response.is_done() && !response.close);
}

#[test]
fn truncation_passes_for_an_end() {
    for head in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut response = Response::new(false);
        response.feed(format!("HTTP/1.1 200 OK\r\n{head}\r\n3\r\n").as_bytes()).unwrap();
        assert!(!response.closed());
    }
    let mut response = Response::new(false);
    response.feed(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
    assert!(response.closed() && response.payload_bytes == 3);
}

#[test]
fn bad_framing_is_read() {
    for bytes in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc",
        "nonsense\r\n\r\n",
    ] {
        assert!(Response::new(false).feed(bytes.as_bytes()).is_err(), "{bytes:?}");
    }
}
