//! Learned repair: what upstreams refuse by name is left out of a request (`[repair]`, `kernel::repairs`). A refusal is read
//! before the client sees any of it, noted, and where the operator wants it the same target is asked once more without what it
//! named. Whatever is not understood goes on to the client, in the bytes and the framing it came in.

use super::{asked::Asked, download::Download, edits::Edits, framing::BodyFraming, may_ask_again};
use crate::{
    data::{
        edge::incoming::Exchange,
        gate::{Routed, admit::whole_body},
        shard::deadlines::Awaited,
    },
    dialect::{
        bridge::{self, Text, Without},
        refused,
    },
    kernel::{
        fault::{Fault, FaultKind},
        limits::{BULK_BUFFER_BYTES, HEAD_ROOM_BYTES, KEPT_ANSWER_BYTES_MAX},
        record::{Format, Operation},
        repairs::{Known as Repair, Named, RepairMode},
        snapshot::Upstream,
    },
    sys::{buf::Buf, clock, socket::Reader},
    wire::h1::{Known, ResponseBody, ResponseHead, header, header_all},
};

/// A request in its own format, without what its upstream refuses.
pub struct Repaired {
    /// The line in place of the client's `anthropic-beta`, if that changes.
    pub line: Option<Vec<u8>>,
    /// What was left out; the client is told.
    pub dropped: String,
}

/// Whose refusals are looked at.
pub struct Looks<'a> {
    upstream: &'a Upstream,
    /// The upstream's name for the model.
    model: &'a str,
    /// What the request was sent without.
    dropped: &'a str,
}

/// What requests to an upstream are sent without. Nothing is allocated where there is nothing.
pub(super) fn known(cx: &Exchange<'_>, routed: &Routed<'_>, upstream: &Upstream, model: &str) -> Vec<Repair> {
    let repairs = &cx.serving.registry.repairs;
    if cx.serving.repair != RepairMode::Repair || repairs.is_empty() || !is_looked_at(routed) {
        return Vec::new();
    }
    repairs.known(upstream.name_id, model, cx.shard.sweeper.unix())
}

/// Bodies that weir can read: a count of Bedrock's has the request inside a string.
fn is_looked_at(routed: &Routed<'_>) -> bool {
    let route = &routed.identified.incoming.route;
    match route.operation {
        Operation::Messages => true,
        Operation::CountTokens => route.format != Format::Bedrock,
        _ => false,
    }
}

/// Counts what was left out.
pub(super) fn count(cx: &Exchange<'_>, known: &[Repair], dropped: &[String]) {
    let left_out = || known.iter().filter(|known| dropped.iter().any(|name| name == known.named.name()));
    left_out().for_each(Repair::count);
    if left_out().next().is_some() {
        cx.shard.gauges.repairs.add(1);
    }
}

/// Says a request in its own format without what is known to be refused. Where its body cannot be kept it goes as it is.
pub(super) async fn repaired(
    cx: &Exchange<'_>,
    format: Format,
    edits: Edits,
    known: &[Repair],
) -> Result<(Edits, Option<Box<Repaired>>), Fault> {
    let refused: Vec<Named> = known.iter().map(|known| known.named.clone()).collect();
    let inside = format == Format::Bedrock || refused.iter().any(|named| matches!(named, Named::Field(_)));
    let parts = match inside {
        false => None,
        true => match waited(cx).await? {
            true => cx.pipe.whole(),
            false => return Ok((edits, None)),
        },
    };
    let pieces: Option<Vec<&[u8]>> = parts.as_ref().map(|parts| parts.iter().map(|part| part.bytes()).collect());
    let betas: Vec<&[u8]> = betas(cx, format);
    let said = bridge::without(pieces.as_deref().map(Text), &betas, &refused);
    let Some(Without { edits: more, line, dropped }) = said.filter(|said| !said.dropped.is_empty()) else {
        return Ok((edits, None));
    };
    count(cx, known, &dropped);
    Ok((edits.and(&more), Some(Box::new(Repaired { line, dropped: dropped.join(",") }))))
}

/// Waits for the whole body. False if there is no room for that.
async fn waited(cx: &Exchange<'_>) -> Result<bool, Fault> {
    if cx.pipe.is_ended() {
        return Ok(true);
    }
    match whole_body(cx).await {
        Ok(()) => Ok(true),
        Err(fault) if fault.kind == FaultKind::Overloaded && cx.pipe.failure().is_none() => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// The betas in a request's header, where that means anything.
fn betas<'a>(cx: &Exchange<'a>, format: Format) -> Vec<&'a [u8]> {
    match format {
        Format::Bedrock => Vec::new(),
        _ => header_all(cx.bytes, &cx.head.headers, Known::AnthropicBeta).collect(),
    }
}

/// Tells a download what was said anew, and whether refusals are looked at.
pub(super) fn attend<'a>(
    cx: &Exchange<'_>,
    routed: &Routed<'_>,
    upstream: &'a Upstream,
    asked: &'a Asked<'_>,
    down: &mut Download<'a>,
) {
    down.bridged = asked.bridged.as_ref().map(|bridging| (upstream.provider.format(), &*bridging.dropped));
    down.dropped = asked.repaired.as_ref().map_or("", |repaired| &repaired.dropped);
    if cx.serving.repair != RepairMode::Off && is_looked_at(routed) {
        let dropped = down.bridged.map_or(down.dropped, |(_, dropped)| dropped);
        down.looks = Some(Looks { upstream, model: &asked.model, dropped });
    }
}

impl Download<'_> {
    /// Looks whether an error names what it refuses. The answer is back as if nobody had looked, with more of it read; and true
    /// or false if the same target is to be asked again: whether its connection may be used.
    pub(super) async fn refused_by_name(
        &self,
        reader: &mut Reader,
        head: &ResponseHead,
        buf: Buf,
    ) -> (Buf, Option<bool>) {
        let framing = head.body(self.cx.head.method);
        let find = |known| header(buf.filled(), &head.headers, known);
        let encoded = find(Known::ContentEncoding).is_some_and(|e| !e.eq_ignore_ascii_case(b"identity"));
        if encoded || framing == ResponseBody::UntilClose {
            return (buf, None);
        }
        let (buf, read) = self.read_ahead(reader, head, BodyFraming::new(framing), buf).await;
        let Some((payload, clean)) = read else { return (buf, None) };
        let again = self.learn(&payload) && self.second.tries.may_repair() && !self.spoke() && may_ask_again(self.cx);
        (buf, again.then_some(clean && head.keep_alive))
    }

    /// Reads on until an answer is whole, if it is short. Gives its payload, and whether nothing followed it.
    async fn read_ahead(
        &self,
        reader: &mut Reader,
        head: &ResponseHead,
        mut framing: BodyFraming,
        buf: Buf,
    ) -> (Buf, Option<(Vec<u8>, bool)>) {
        let mut grown = Buf::of(BULK_BUFFER_BYTES + HEAD_ROOM_BYTES);
        grown.clear_with_head_room(HEAD_ROOM_BYTES);
        if grown.append(buf.filled()) < buf.len() {
            return (buf, None);
        }
        let (mut buf, mut seen, mut payload) = (grown, head.head_len, Vec::new());
        loop {
            let news = buf.filled().get(seen..).unwrap_or_default();
            let scanned = framing.scan(news, |range| payload.extend_from_slice(news.get(range).unwrap_or_default()));
            let Ok(scanned) = scanned else { return (buf, None) };
            if scanned.done {
                let clean = scanned.taken == news.len();
                return (buf, Some((payload, clean)));
            }
            seen = buf.len();
            if payload.len() > KEPT_ANSWER_BYTES_MAX || buf.room() == 0 {
                return (buf, None);
            }
            self.deadlines.arm(Awaited::Read, self.cx.shard.sweeper.in_(self.cx.serving.limits.idle_timeout));
            let (result, back) = reader.read(buf).await;
            self.deadlines.disarm(Awaited::Read);
            buf = back;
            if !matches!(result, Ok(bytes) if bytes > 0) {
                return (buf, None);
            }
        }
    }

    /// Notes what an answer refuses by name, if the request had all of it. False if there is nothing to repair.
    fn learn(&self, payload: &[u8]) -> bool {
        let (Some(looks), Some(parts)) = (&self.looks, self.cx.pipe.whole()) else { return false };
        let mut named = refused::named(payload);
        let gone = |named: &Named| looks.dropped.split(',').any(|dropped| dropped == named.name());
        if named.is_empty() || named.iter().any(gone) {
            return false;
        }
        let pieces: Vec<&[u8]> = parts.iter().map(|part| part.bytes()).collect();
        let betas = betas(self.cx, self.format);
        let has = |named: &[Named]| bridge::present(Text(&pieces), &betas, named);
        if has(&named).len() < named.len() {
            return false;
        }
        let (upstream, model) = (looks.upstream, looks.model);
        for named in &named {
            let (kind, name) = (named.kind(), named.name());
            tracing::info!(request = %self.cx.id, upstream = %upstream.name, model, kind, name, "refused by name");
        }
        named.extend(has(&refused::paired(&named)));
        let repairs = &self.cx.serving.registry.repairs;
        repairs.learn((upstream.name_id, &upstream.name), model, &named, clock::unix());
        self.cx.shard.gauges.refused_by_name.add(1);
        self.cx.serving.repair == RepairMode::Repair
    }
}
