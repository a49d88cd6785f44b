//! A raw HTTP/1.1 client: bytes out, one answer in, nothing repaired on the way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::DEADLINE;

/// One answer, its body without the chunk framing.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// As received: order, case and repetition.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the JSON answer {:?}", self.text()))
    }
}

/// A connection; a read that takes longer than the deadline fails the test.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Read and not yet used.
    ahead: Vec<u8>,
}

impl Connection {
    pub fn open(addr: SocketAddr) -> Connection {
        let stream = TcpStream::connect_timeout(&addr, DEADLINE)
            .unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"));
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let mut connection = Connection { stream, ahead: Vec::new() };
        connection.set_deadline(DEADLINE);
        connection
    }

    /// How long one read or write may take.
    pub fn set_deadline(&mut self, deadline: Duration) {
        self.stream.set_read_timeout(Some(deadline)).expect("a read timeout");
        self.stream.set_write_timeout(Some(deadline)).expect("a write timeout");
    }

    /// The socket itself: to shut one side, to set its linger time.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the request is written");
    }

    /// The whole answer to a request whose method is not HEAD; informational heads are skipped.
    pub fn read_response(&mut self) -> Response {
        let mut response = self.read_head();
        while (100..200).contains(&response.status) {
            response = self.read_head();
        }
        response.body = self.read_body(&response);
        response
    }

    /// Status and headers; the body is empty and still on its way.
    pub fn read_head(&mut self) -> Response {
        let status_line = self.read_line();
        let status = status_line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("not a status line: {status_line:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.read_line();
            if line.is_empty() {
                return Response { status, headers, body: Vec::new() };
            }
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("not a header line: {line:?}"));
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The body that belongs to `head`.
    pub fn read_body(&mut self, head: &Response) -> Vec<u8> {
        if matches!(head.status, 204 | 304) {
            return Vec::new();
        }
        if head.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            while let Some(chunk) = self.read_chunk() {
                body.extend_from_slice(&chunk);
            }
            return body;
        }
        match head.header("content-length") {
            Some(length) => self.read_exactly(length.parse().expect("a content-length in digits")),
            None => self.read_to_end(),
        }
    }

    /// The next chunk of a chunked body; `None` after the last one, its trailers read and dropped.
    pub fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let line = self.read_line();
        let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.unwrap_or_else(|error| panic!("not a chunk size: {line:?}: {error}"));
        if size == 0 {
            while !self.read_line().is_empty() {}
            return None;
        }
        let chunk = self.read_exactly(size);
        assert_eq!(self.read_line(), "", "a chunk ends in CRLF");
        Some(chunk)
    }

    /// What was read and not yet used, for who wants to read the socket itself from here on.
    pub fn take_ahead(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.ahead)
    }

    /// Whether the peer closes without another byte, by FIN or by reset; waits for either.
    pub fn is_closed(&mut self) -> bool {
        let unread = !self.ahead.is_empty();
        !unread && !self.fill()
    }

    /// What comes of a chunked body, its framing included, until its last chunk or until the peer closes or resets.
    pub fn read_to_end_of_stream(&mut self) -> Vec<u8> {
        while !self.ahead.ends_with(b"\r\n0\r\n\r\n") && self.fill() {}
        std::mem::take(&mut self.ahead)
    }

    /// So many bytes, or fewer if the peer closes or resets.
    pub fn read_up_to(&mut self, bytes: usize) -> Vec<u8> {
        while self.ahead.len() < bytes && self.fill() {}
        let there = self.ahead.len().min(bytes);
        self.ahead.drain(..there).collect()
    }

    /// Everything until the peer closes or resets.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.ahead)
    }

    fn read_exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.ahead.len() < bytes {
            assert!(self.fill(), "the peer closed after {} of {bytes} bytes", self.ahead.len());
        }
        self.ahead.drain(..bytes).collect()
    }

    /// A line without its CRLF.
    fn read_line(&mut self) -> String {
        loop {
            if let Some(end) = self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).take(end).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            let so_far = String::from_utf8_lossy(&self.ahead).into_owned();
            assert!(self.fill(), "the peer closed inside a line: {so_far:?}");
        }
    }

    /// Reads some more; `false` at the end of the stream. A deadline that passes fails the test.
    fn fill(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => false,
            Ok(read) => {
                self.ahead.extend_from_slice(&buffer[..read]);
                true
            }
            // A read with a time limit is not taken up again by the kernel.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => false,
            Err(error) => panic!("no answer from {:?}: {error}; read so far: {} bytes", self.stream, self.ahead.len()),
        }
    }
}

/// One request on a connection of its own. `content-length` is added when there is a body.
pub fn request(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
    let mut connection = Connection::open(addr);
    connection.send(&request_bytes(addr, method, path, headers, body));
    if method == "HEAD" { connection.read_head() } else { connection.read_response() }
}

/// The bytes of a request that keeps its connection.
pub fn request_bytes(addr: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A peer that reads one request head and answers with these bytes.
    fn peer(answer: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a head");
                seen.extend_from_slice(&byte);
            }
            for part in answer.chunks(3) {
                stream.write_all(part).expect("the client reads");
            }
        });
        addr
    }

    #[test]
    fn each_framing_is_read_to_its_own_end() {
        let chunked = peer(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\ntrailer: 1\r\n\r\n",
        );
        assert_eq!(request(chunked, "GET", "/", &[], b"").text(), "abc0123456789");
        let counted = peer(b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhimore");
        let answer = request(counted, "GET", "/", &[], b"");
        assert_eq!((answer.status, answer.header("x-a"), answer.text().as_str()), (404, Some("1"), "hi"));
        let closed = peer(b"HTTP/1.1 200 OK\r\n\r\nuntil the end");
        assert_eq!(request(closed, "GET", "/", &[], b"").text(), "until the end");
    }

    #[test]
    #[should_panic(expected = "the peer closed after 2 of 5 bytes")]
    fn a_body_that_ends_early_is_no_answer() {
        request(peer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi"), "GET", "/", &[], b"");
    }
}
