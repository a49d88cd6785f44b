//! Asking an HTTP proxy for a tunnel to an upstream (CONNECT, RFC 9110 §9.3.6).
//!
//! Whatever goes wrong here is a connection that could not be made, told in words that name the proxy; no client is to blame.

use crate::{
    kernel::{limits::SMALL_BUFFER_BYTES, tunnel::Tunnel},
    sys::{
        buf::Buf,
        socket::{Reader, Writer},
    },
    wire::h1::{HEADERS_MAX, HeadLimits, Progress, ResponseHead, ResponseParser},
};
use std::io;

/// Asks for the tunnel. What is read from the connection afterwards comes from the upstream.
pub async fn open(tunnel: &Tunnel, reader: &mut Reader, writer: &mut Writer) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("the proxy {} {error}", tunnel.proxy));
    ask(tunnel, reader, writer).await.map_err(named)
}

async fn ask(tunnel: &Tunnel, reader: &mut Reader, writer: &mut Writer) -> io::Result<()> {
    let closed = |error: io::Error| io::Error::new(error.kind(), format!("broke off: {error}"));
    writer.write_all(Buf::copy_of(tunnel.ask.expose())).await.map_err(closed)?;
    let (mut answer, mut buf) = (Answer::new(), Buf::small());
    while !answer.opens(buf.filled())? {
        if buf.room() == 0 {
            return Err(wrong("answered with too long a head"));
        }
        let (read, back) = reader.read(buf).await;
        buf = back;
        if read.map_err(closed)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed the connection instead of an answer"));
        }
    }
    Ok(())
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The proxy's answer, as it arrives.
struct Answer {
    parser: ResponseParser,
    head: ResponseHead,
    /// Where the head that is awaited begins, behind interim ones.
    from: usize,
}

impl Answer {
    fn new() -> Self {
        let limits = HeadLimits { head_bytes_max: SMALL_BUFFER_BYTES, target_bytes_max: 0, headers_max: HEADERS_MAX };
        Self { parser: ResponseParser::new(limits), head: ResponseHead::default(), from: 0 }
    }

    /// Does what has arrived open the tunnel? False while it is not whole; an error if it never will.
    fn opens(&mut self, bytes: &[u8]) -> io::Result<bool> {
        loop {
            let rest = bytes.get(self.from..).unwrap_or_default();
            let progress = self.parser.parse(rest, &mut self.head);
            if progress.map_err(|_| wrong("answered with something that is no HTTP"))? == Progress::Partial {
                return Ok(false);
            }
            self.from += self.head.head_len;
            match self.head.status {
                100..=199 => {}
                200..=299 if self.from < bytes.len() => {
                    return Err(wrong("sent bytes that nobody can have sent before the first of ours"));
                }
                200..=299 => return Ok(true),
                status => return Err(refusal(status, self.head.reason.of(rest))),
            }
        }
    }
}

fn refusal(status: u16, reason: &[u8]) -> io::Error {
    let reason = String::from_utf8_lossy(reason);
    let reason = reason.trim();
    let (kind, what) = match status {
        407 => (
            io::ErrorKind::PermissionDenied,
            "it wants other credentials than proxy of the upstream or HTTPS_PROXY has",
        ),
        403 | 405 => (io::ErrorKind::PermissionDenied, "it does not allow connections to this upstream"),
        408 | 504 => (io::ErrorKind::TimedOut, "the upstream did not answer it in time"),
        502 | 503 => (io::ErrorKind::HostUnreachable, "it cannot reach the upstream"),
        _ => (io::ErrorKind::ConnectionRefused, "no tunnel"),
    };
    io::Error::new(kind, format!("answered {status}{}{reason}: {what}", if reason.is_empty() { "" } else { " " }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an answer in one piece says; one that comes in two, cut anywhere, must say the same.
    fn verdict(bytes: &[u8]) -> Result<bool, String> {
        let told = |answer: &mut Answer, bytes: &[u8]| answer.opens(bytes).map_err(|error| error.to_string());
        let whole = told(&mut Answer::new(), bytes);
        for cut in 0..bytes.len() {
            let mut answer = Answer::new();
            match told(&mut answer, &bytes[..cut]) {
                Ok(false) => assert_eq!(told(&mut answer, bytes), whole, "cut at {cut}"),
                // Only a head that stands there whole is judged early.
                early => assert!(
                    early == whole || early == Ok(true) && bytes[..cut].ends_with(b"\r\n\r\n"),
                    "{cut}: {early:?}"
                ),
            }
        }
        whole
    }

    #[test]
    fn an_answer_is_taken_for_a_tunnel_it_does_not_open() {
        assert_eq!(verdict(b"HTTP/1.1 200 Connection established\r\n\r\n"), Ok(true));
        assert_eq!(verdict(b"HTTP/1.0 200 OK\r\nvia: x\r\ncontent-length: 0\r\n\r\n"), Ok(true));
        assert_eq!(verdict(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"), Ok(true));
        assert_eq!(verdict(b"HTTP/1.1 200 OK\r\n"), Ok(false));
        for (bytes, words) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n"[..], "407 Proxy Auth"),
            (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 5\r\n\r\nsorry", "cannot reach the upstream"),
            (b"HTTP/1.1 504 \r\n\r\n", "answered 504: the upstream"),
            (b"HTTP/1.1 301 Moved\r\nlocation: /\r\n\r\n", "301"),
            (b"HTTP/1.1 200 OK\r\n\r\n\x16", "before the first of ours"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "no HTTP"),
            (b"HTTP/1.1 200 OK\n\n", "no HTTP"),
        ] {
            let told = verdict(bytes).expect_err(words);
            assert!(told.contains(words), "{told}");
        }
    }
}
