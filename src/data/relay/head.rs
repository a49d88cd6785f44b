//! Heads on their way: what an upstream sees of the client's, what a client sees of the upstream's, and the one edit that a
//! body may need. Headers pass by the lists of `dialect::headers`; values are never rewritten, only left out or added.

use super::target::write_target;
use crate::{
    data::{edge::incoming::Exchange, gate::Routed, relay::credential::Shows},
    dialect::headers::{goes_down, goes_up},
    kernel::{ids::RequestId, limits::SMALL_BUFFER_BYTES, snapshot::Upstream},
    sys::buf::{Buf, Part},
    wire::h1::{Header, RequestBody, ResponseBody, ResponseHead, connection_names},
};
use std::{io::Write, rc::Rc};

/// A replacement of raw bytes at a known offset of the body (law 1).
#[derive(Clone)]
pub struct Splice {
    from: u64,
    to: u64,
    text: Part,
}

impl Splice {
    /// Replaces `from..to` by a text.
    pub fn new(from: u64, to: u64, text: &[u8]) -> Self {
        let len = text.len();
        Self { from, to, text: Part::new(Rc::new(Buf::copy_of(text)), 0..len) }
    }

    /// By how much the body grows.
    pub fn growth(&self) -> i64 {
        self.text.len() as i64 - (self.to - self.from) as i64
    }

    /// What stands in for a part of the body that begins at `offset`: before, text, after.
    pub fn apply(&self, offset: u64, part: &Part) -> [Option<Part>; 3] {
        let end = offset + part.len() as u64;
        if end <= self.from || offset >= self.to {
            return [Some(part.clone()), None, None];
        }
        let local = |at: u64| (at.clamp(offset, end) - offset) as usize;
        let before = part.slice(0..local(self.from));
        let after = part.slice(local(self.to)..part.len());
        let text = (offset <= self.from).then(|| self.text.clone());
        [Some(before), text, Some(after)]
    }
}

/// The edit that a target needs: its own model id in place of what the client wrote.
pub fn splice_for(routed: &Routed<'_>, model: &str) -> Option<Splice> {
    let (from, to) = routed.model_at.filter(|_| !routed.wrote(model))?;
    let quoted = serde_json::Value::from(model).to_string();
    Some(Splice::new(from, to, quoted.as_bytes()))
}

/// A head to be sent, with room for the first bytes of the body behind it.
pub struct UpstreamHead {
    /// The head.
    pub buf: Buf,
    /// The body goes in chunks of ours.
    pub chunked: bool,
}

/// Builds the head an upstream gets.
pub fn upstream_head(
    cx: &Exchange<'_>,
    routed: &Routed<'_>,
    upstream: &Upstream,
    model: &str,
    splice: Option<&Splice>,
    shows: &Shows<'_>,
) -> UpstreamHead {
    let mut out: Vec<u8> = Vec::with_capacity(1024);
    out.extend_from_slice(cx.head.method_name.of(cx.bytes));
    out.push(b' ');
    write_target(&mut out, cx, routed, upstream, model);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(upstream.authority.as_bytes());
    out.extend_from_slice(b"\r\n");
    let credential = &upstream.credential;
    out.extend_from_slice(credential.lines.expose());
    let (hop, format) = (Hop::new(cx.bytes, &cx.head.headers), upstream.provider.format());
    for header in &cx.head.headers {
        let name = header.name.of(cx.bytes);
        if goes_up(format, header.known, name) && !hop.ends_here(name) && !credential.replaces(name) {
            line(&mut out, name, header.value.of(cx.bytes));
        }
    }
    // What must be metered must be readable.
    out.extend_from_slice(b"accept-encoding: identity\r\n");
    shows.put_on(&mut out);
    let chunked = match cx.head.body {
        // A signed body is whole by now, so its length is known, however the client framed it.
        RequestBody::Length(_) | RequestBody::Chunked if let Some(payload) = shows.payload() => {
            let _ok = write!(out, "content-length: {}\r\n\r\n", payload.bytes);
            false
        }
        RequestBody::Length(bytes) => {
            let grown = bytes.saturating_add_signed(splice.map_or(0, Splice::growth));
            // Writing to memory does not fail.
            let _ok = write!(out, "content-length: {grown}\r\n\r\n");
            false
        }
        RequestBody::Chunked => {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            true
        }
        RequestBody::None => {
            out.extend_from_slice(b"\r\n");
            false
        }
    };
    let mut buf = Buf::of(SMALL_BUFFER_BYTES.max(out.len()));
    buf.append(&out);
    UpstreamHead { buf, chunked }
}

/// The headers that a `Connection` header names: they end at this hop (RFC 9110 7.6.1). Nearly always there are none.
struct Hop<'b> {
    bytes: &'b [u8],
    headers: &'b [Header],
    any: bool,
}

impl<'b> Hop<'b> {
    fn new(bytes: &'b [u8], headers: &'b [Header]) -> Self {
        let usual = |name: &[u8]| name.eq_ignore_ascii_case(b"keep-alive") || name.eq_ignore_ascii_case(b"close");
        Self { bytes, headers, any: connection_names(bytes, headers).any(|name| !usual(name)) }
    }

    fn ends_here(&self, name: &[u8]) -> bool {
        self.any && connection_names(self.bytes, self.headers).any(|named| named.eq_ignore_ascii_case(name))
    }
}

fn line(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// How the client's copy of an answer differs from the upstream's.
pub struct ClientHead<'a> {
    /// Which request.
    pub id: RequestId,
    /// Usage-limit headers of our own, as whole lines; they replace the upstream's.
    pub limits: Option<&'a str>,
    /// The connection ends after it.
    pub close: bool,
    /// The upstream's chunks are taken out, for a client that knows none.
    pub unchunk: bool,
    /// How the upstream framed it.
    pub framing: ResponseBody,
}

/// Builds the head a client gets.
pub fn client_head(head: &ResponseHead, bytes: &[u8], how: &ClientHead<'_>) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(head.head_len + 256);
    // Writing to memory does not fail.
    let _ok = write!(out, "HTTP/1.1 {} ", head.status);
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
    let hop = Hop::new(bytes, &head.headers);
    for Header { name, value, known } in &head.headers {
        let name = name.of(bytes);
        if goes_down(*known, how.limits.is_some()) && !hop.ends_here(name) {
            line(&mut out, name, value.of(bytes));
        }
    }
    match (how.framing, head.content_length) {
        // RFC 9110 8.6: a 204 has no length, also where an upstream gives it one.
        (ResponseBody::None, Some(_)) if head.status == 204 => {}
        (ResponseBody::Length(bytes), _) | (ResponseBody::None, Some(bytes)) => {
            let _ok = write!(out, "content-length: {bytes}\r\n");
        }
        (ResponseBody::Chunked, _) if !how.unchunk => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {}
    }
    out.extend_from_slice(how.limits.unwrap_or("").as_bytes());
    let _ok = write!(out, "x-weir-request-id: {}\r\n", how.id);
    out.extend_from_slice(if how.close { b"connection: close\r\n\r\n" } else { b"\r\n" });
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_splice_is_the_same_wherever_the_body_was_cut() {
        let body = br#"{"model":"sonnet","x":1}"#;
        let splice = Splice::new(9, 17, br#""claude-sonnet-4-6""#);
        let whole = br#"{"model":"claude-sonnet-4-6","x":1}"#;
        assert_eq!(body.len() as i64 + splice.growth(), whole.len() as i64);
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let mut out = Vec::new();
                for range in [0..first, first..second, second..body.len()] {
                    let part = Part::new(Rc::new(Buf::copy_of(&body[range.clone()])), 0..range.len());
                    if part.is_empty() {
                        continue;
                    }
                    for piece in splice.apply(range.start as u64, &part).into_iter().flatten() {
                        out.extend_from_slice(piece.bytes());
                    }
                }
                assert_eq!(
                    String::from_utf8_lossy(&out),
                    String::from_utf8_lossy(whole),
                    "cut at {first} and {second}"
                );
            }
        }
    }
}
