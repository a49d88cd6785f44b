//! Answers of our own leave here, marked as ours (interface.md §3).

use crate::{
    dialect::answer::{Answer, reason_phrase},
    kernel::ids::RequestId,
    sys::{buf::Buf, socket::Writer},
};
use std::io::{self, Write};

/// How an answer is to be framed.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    /// The connection ends after it.
    pub close: bool,
    /// The request was a HEAD: length, but no body.
    pub head_only: bool,
}

/// Writes an answer whole. Returns the body bytes sent.
pub async fn send(writer: &mut Writer, answer: &Answer, id: RequestId, framing: Framing) -> io::Result<u64> {
    let bytes = render(answer, id, framing);
    writer.write_all(Buf::copy_of(&bytes)).await.map(|()| if framing.head_only { 0 } else { answer.body.len() as u64 })
}

fn render(answer: &Answer, id: RequestId, framing: Framing) -> Vec<u8> {
    let mut out = Vec::with_capacity(512 + answer.body.len());
    let reason = reason_phrase(answer.status);
    // Writing to memory does not fail.
    let _ok = write!(out, "HTTP/1.1 {} {reason}\r\n", answer.status);
    if let Some(content_type) = answer.content_type {
        let _ok = write!(out, "content-type: {content_type}\r\n");
    }
    for (name, value) in &answer.headers {
        let _ok = write!(out, "{name}: {value}\r\n");
    }
    let _ok =
        write!(out, "content-length: {}\r\nx-weir-origin: gateway\r\nx-weir-request-id: {id}\r\n", answer.body.len());
    out.extend_from_slice(if framing.close { b"connection: close\r\n\r\n" } else { b"\r\n" });
    if !framing.head_only {
        out.extend_from_slice(&answer.body);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_request_gets_the_length_but_not_the_body() {
        let answer = Answer::json(404, b"{}".to_vec()).with("request-id", "x");
        let text = String::from_utf8(render(&answer, RequestId(1), Framing { close: true, head_only: true })).unwrap();
        assert!(text.starts_with("HTTP/1.1 404 Not Found\r\n") && text.contains("content-length: 2\r\n"));
        assert!(text.contains("x-weir-origin: gateway\r\n") && text.ends_with("connection: close\r\n\r\n"));
    }
}
