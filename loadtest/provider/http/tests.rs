use std::io::Write as _;

use super::*;

/// Reads one request, with its body, out of raw bytes sent over a real socket that then closes.
fn read(bytes: &[u8]) -> Result<(Head, Vec<u8>), ReadError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let bytes = bytes.to_vec();
    let writer = std::thread::spawn(move || {
        // The reader may refuse and close early.
        bytes.chunks(7).for_each(|part| drop(client.write_all(part)));
    });
    let result = runtime.block_on(async {
        let mut conn = Conn::new(tokio::net::TcpStream::from_std(server).unwrap());
        let (mut head, mut body) = (Head::default(), Vec::new());
        head.read(&mut conn).await?;
        let framing = head.framing()?;
        read_body(&mut conn, framing, &mut body).await?;
        Ok((head, body))
    });
    writer.join().unwrap();
    result
}

fn refused(request: &str) -> bool {
    matches!(read(request.as_bytes()), Err(ReadError::Bad(_)))
}

#[test]
fn head_parts_are_cut_at_the_wrong_place() {
    let (head, body) =
        read(b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: a\r\nX-Api-Key:  k1 \r\nContent-Length: 5\r\n\r\nhello")
            .unwrap();
    assert_eq!((head.method(), head.target()), ("POST", "/v1/messages?beta=true"));
    assert_eq!(head.get("x-api-key").map(<[u8]>::trim_ascii), Some(&b"k1"[..]));
    assert_eq!(head.fields().map(|(name, _)| name).collect::<Vec<_>>(), ["Host", "X-Api-Key", "Content-Length"]);
    assert_eq!(body, b"hello");
    assert!(head.keeps_alive());
}

#[test]
fn chunk_framing_leaks_into_the_body() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\nt: 1\r\n\r\n";
    assert_eq!(read(request).unwrap().1, b"abc0123456789");
}

#[test]
fn ambiguous_framing_is_accepted() {
    let with = |headers: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n{body}");
    for (headers, body) in [
        ("Content-Length: 3\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Content-Length: 3\r\nContent-Length: 3", "abc"),
        ("Content-Length: +3", "abc"),
        ("Content-Length: 3, 3", "abc"),
        ("Content-Length: ", "abc"),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "3\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "0x3\r\nabc\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "3\r\nabcd\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "\r\n\r\n"),
        ("Host: b", ""),
        ("X: a\nY: b", ""),
        ("X : a", ""),
    ] {
        assert!(refused(&with(headers, body)), "{headers:?} {body:?}");
    }
    assert!(refused("POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), "no host");
}

#[test]
fn body_that_ends_early_passes_for_whole() {
    let cut = read(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc").unwrap_err();
    assert_eq!(cut, ReadError::Gone);
    let cut = read(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").unwrap_err();
    assert_eq!(cut, ReadError::Gone);
}

#[test]
fn huge_length_is_waited_for() {
    let huge = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX + 1);
    assert_eq!(read(huge.as_bytes()).unwrap_err(), ReadError::TooLarge);
    let huge = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n", BODY_BYTES_MAX + 1);
    assert_eq!(read(huge.as_bytes()).unwrap_err(), ReadError::TooLarge);
}
