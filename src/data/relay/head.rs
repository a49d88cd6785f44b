//! Heads on their way: what an upstream sees of the client's, and what a client sees of the upstream's. Headers pass by the lists of `dialect::headers`; values are never rewritten, only left out or added.

use super::{
    asked::Asked,
    carry::{Carry, Way},
    convert::stream_type,
    target::write_target,
};
use crate::{
    data::{edge::incoming::Exchange, gate::Routed, relay::credential::Shows},
    dialect::{
        anthropic::limits::UsageLimits,
        bedrock::errors::uuid,
        headers::{kinds_down, kinds_up},
    },
    kernel::{ids::RequestId, limits::SMALL_BUFFER_BYTES, record::Format, snapshot::Upstream},
    sys::buf::Buf,
    wire::h1::{
        Header, Headers, Known, RequestBody, ResponseBody, ResponseHead, connection_names, decimal, header,
        names_headers,
    },
};

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
    asked: &Asked<'_>,
    shows: &Shows<'_>,
) -> UpstreamHead {
    let credential = &upstream.credential;
    // The client's head, what stands in front of and among its lines, and a signature.
    let added = upstream.base_path.len() + upstream.authority.len() + credential.lines.expose().len();
    let out = &mut *cx.shard.spares.text.borrow_mut();
    out.clear();
    out.reserve(cx.head.head_len + added + 512);
    out.extend_from_slice(cx.head.method_name.of(cx.bytes));
    out.push(b' ');
    write_target(out, cx, routed, upstream, asked);
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(upstream.authority.as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(credential.lines.expose());
    let (hop, kinds) = (Hop::new(cx.bytes, &cx.head.headers), asked.kept(kinds_up(upstream.provider.format())));
    // Nearly always the credential stands in headers that do not pass by their kind.
    let by_name = hop.any || credential.names.iter().any(|name| kinds.has(Known::of(name.as_bytes())));
    pass(out, cx.bytes, &cx.head.headers, |header| {
        kinds.has(header.known)
            && !(by_name && {
                let name = header.name.of(cx.bytes);
                hop.ends_here(name) || credential.replaces(name)
            })
    });
    if let Some(bridging) = &asked.bridged {
        out.extend_from_slice(&bridging.lines);
    }
    if let Some(line) = asked.repaired.as_ref().and_then(|repaired| repaired.line.as_ref()) {
        out.extend_from_slice(line);
    }
    // What must be metered must be readable.
    out.extend_from_slice(b"accept-encoding: identity\r\n");
    shows.put_on(out);
    let chunked = match cx.head.body {
        // A signed body is whole by now, so its length is known, however the client framed it.
        RequestBody::Length(_) | RequestBody::Chunked if let Some(payload) = shows.payload() => {
            content_length(out, payload.bytes);
            out.extend_from_slice(b"\r\n");
            false
        }
        _ if let Some(bridging) = &asked.bridged => {
            content_length(out, bridging.bytes);
            out.extend_from_slice(b"\r\n");
            false
        }
        RequestBody::Length(bytes) => {
            content_length(out, bytes.saturating_add_signed(asked.edits.growth()));
            out.extend_from_slice(b"\r\n");
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
    buf.append(out);
    UpstreamHead { buf, chunked }
}

/// The headers that a `Connection` header names: they end at this hop (RFC 9110 7.6.1). Nearly always there are none.
struct Hop<'b> {
    bytes: &'b [u8],
    headers: &'b Headers,
    any: bool,
}

impl<'b> Hop<'b> {
    fn new(bytes: &'b [u8], headers: &'b Headers) -> Self {
        Self { bytes, headers, any: names_headers(bytes, headers) }
    }

    fn ends_here(&self, name: &[u8]) -> bool {
        self.any && connection_names(self.bytes, self.headers).any(|named| named.eq_ignore_ascii_case(name))
    }
}

/// Appends the header lines that pass. Those that stand one behind the other and are written as everybody does are one copy.
fn pass(out: &mut Vec<u8>, bytes: &[u8], headers: &[Header], passes: impl Fn(&Header) -> bool) {
    let mut run = 0..0;
    for header in headers.iter().filter(|header| passes(header)) {
        let (start, end) = (header.name.start as usize, header.value.end as usize);
        let (colon, value) = (header.name.end as usize, header.value.start as usize);
        let usual = value == colon + 2
            && matches!(bytes.get(colon..), Some([b':', b' ', ..]))
            && matches!(bytes.get(end..), Some([b'\r', b'\n', ..]));
        if usual && start == run.end {
            run.end = end + 2;
            continue;
        }
        out.extend_from_slice(bytes.get(run).unwrap_or_default());
        run = if usual { start..end + 2 } else { 0..0 };
        if !usual {
            line(out, header.name.of(bytes), header.value.of(bytes));
        }
    }
    out.extend_from_slice(bytes.get(run).unwrap_or_default());
}

fn content_length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(b"content-length: ");
    decimal(out, bytes);
    out.extend_from_slice(b"\r\n");
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
    /// Usage-limit headers of our own; they replace the upstream's.
    pub limits: Option<UsageLimits>,
    /// The connection ends after it.
    pub close: bool,
    /// The upstream's chunks are taken out, for a client that knows none.
    pub unchunk: bool,
    /// How the upstream framed it.
    pub framing: ResponseBody,
    /// The upstream speaks another format.
    pub bridged: Option<BridgedHead<'a>>,
    /// What was left out for an upstream of the client's own format.
    pub dropped: &'a str,
}

/// How the head of an answer differs that comes from another format.
#[derive(Clone, Copy)]
pub struct BridgedHead<'a> {
    /// From which, to which.
    pub way: Way,
    /// How its body is carried.
    pub carry: &'a Carry,
    /// What the upstream had no word for.
    pub dropped: &'a str,
}

/// The lines of an upstream's head that a client gets, and those that stand in for others.
pub fn passed_lines(out: &mut Vec<u8>, head: &ResponseHead, bytes: &[u8], how: &ClientHead<'_>) {
    let (hop, kinds) = (Hop::new(bytes, &head.headers), kinds_down(how.limits.is_some()));
    pass(out, bytes, &head.headers, |header| {
        kinds.has(header.known) && how.keeps(header.known) && !hop.ends_here(header.name.of(bytes))
    });
    if !how.dropped.is_empty() {
        line(out, b"x-weir-dropped", how.dropped.as_bytes());
    }
    let Some(bridged) = how.bridged else { return };
    // Ids of another platform would mean something else to the client; its operator can still ask for them.
    let theirs = |known| header(bytes, &head.headers, known);
    if let Some(id) = theirs(Known::RequestId).or_else(|| theirs(Known::XAmznRequestId)) {
        line(out, b"x-weir-upstream-request-id", id);
    }
    if !bridged.dropped.is_empty() {
        line(out, b"x-weir-dropped", bridged.dropped.as_bytes());
    }
    match bridged.carry {
        Carry::Frames(_) | Carry::Events(_) => {
            line(out, b"content-type", stream_type(bridged.way.to).as_bytes());
            own_id(out, bridged.way.to, how.id);
        }
        Carry::AsIs => own_id(out, bridged.way.to, how.id),
        // Its own lines say both.
        Carry::Whole(_) => {}
    }
}

fn own_id(out: &mut Vec<u8>, format: Format, id: RequestId) {
    match format {
        Format::Bedrock => line(out, b"x-amzn-requestid", uuid(id).as_bytes()),
        Format::Anthropic | Format::Vertex => line(out, b"request-id", &id.text()),
    }
}

impl ClientHead<'_> {
    fn keeps(&self, known: Known) -> bool {
        let Some(bridged) = self.bridged else { return true };
        match known {
            Known::RequestId | Known::XAmznRequestId | Known::XAmznAny | Known::AnthropicOrganizationId => false,
            Known::ContentType => matches!(bridged.carry, Carry::AsIs),
            _ => true,
        }
    }
}

/// Appends the head a client gets.
pub fn client_head(out: &mut Vec<u8>, head: &ResponseHead, bytes: &[u8], how: &ClientHead<'_>) {
    let limits_bytes = how.limits.map_or(0, |_| UsageLimits::LINES_BYTES_MAX);
    out.reserve(head.head_len + limits_bytes + 256);
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, head.status.into());
    out.push(b' ');
    out.extend_from_slice(head.reason.of(bytes));
    out.extend_from_slice(b"\r\n");
    passed_lines(out, head, bytes, how);
    let reframed = how.bridged.is_some_and(|bridged| !matches!(bridged.carry, Carry::AsIs));
    match (how.framing, head.content_length) {
        _ if reframed && how.unchunk => {}
        _ if reframed => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        // RFC 9110 8.6: a 204 has no length, also where an upstream gives it one.
        (ResponseBody::None, Some(_)) if head.status == 204 => {}
        (ResponseBody::Length(bytes), _) | (ResponseBody::None, Some(bytes)) => {
            content_length(out, bytes);
        }
        (ResponseBody::Chunked, _) if !how.unchunk => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        _ => {}
    }
    if let Some(limits) = how.limits {
        limits.write(out);
    }
    out.extend_from_slice(b"x-weir-request-id: ");
    out.extend_from_slice(&how.id.text());
    out.extend_from_slice(if how.close { b"\r\nconnection: close\r\n\r\n" } else { b"\r\n\r\n" });
}
