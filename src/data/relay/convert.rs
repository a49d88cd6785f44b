//! The answer's way down where the client's format is another than the upstream's: the events said anew, framed by us, with pings
//! while the upstream is silent. The same rules as for any answer: the meter looks on, the end is never faked.

use super::{
    attempt::Ended,
    carry::{Carry, Way, Whole},
    download::{Body, Download, Left},
    quiet::Quiet,
};
use crate::{
    data::shard::deadlines::Awaited,
    dialect::errors,
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::SMALL_BUFFER_BYTES,
        record::Format,
        routing::Failure,
    },
    sys::{
        buf::Buf,
        clock, runtime,
        socket::{Reader, Writer},
    },
};
use std::{future::poll_fn, io::Write, pin::pin, task::Poll};

/// Keeps a client's connection and its watchdogs awake (contract.md §4.3).
const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// What a read came to.
struct Turned {
    out: Vec<u8>,
    /// The answer is whole; true if nothing followed it.
    done: Option<bool>,
    sound: bool,
}

impl Download<'_> {
    /// Relays an answer between two formats.
    pub(super) async fn convert(
        &mut self,
        reader: &mut Reader,
        client: &mut Writer,
        mut body: Body,
        mut buf: Buf,
        head: Vec<u8>,
    ) -> Ended {
        let mut head = Some(head);
        let mut quiet = Quiet::from(clock::mono());
        loop {
            let turned = self.turn(&mut body, &buf);
            let ends = turned.done.is_some() || !turned.sound;
            if !turned.out.is_empty() {
                quiet.broken(clock::mono());
            }
            if !matches!(body.carry, Carry::Whole(_))
                && let Err(ended) = self.tell(client, &mut head, turned.out).await
            {
                return ended;
            }
            if self.draining() && (ends || self.meter.stream_ended()) {
                if let (Some(objects), Carry::Whole(whole)) = (&mut self.objects, &body.carry) {
                    let _nobody_reads = objects.said(whole, self.status);
                }
                return Ended::Drained;
            }
            match turned.done {
                _ if !turned.sound => return self.break_off_converted(client, &body).await,
                Some(clean) => return self.end(client, &body, clean && body.keep_alive).await,
                None => {}
            }
            buf.clear_with_head_room(0);
            if buf.capacity() < SMALL_BUFFER_BYTES {
                buf = Buf::small();
            }
            let (read, back) = self.read_on(reader, client, (&body, &mut quiet), buf).await;
            buf = back;
            match read {
                Ok(0)
                    if body.framing.ends_with_connection() && self.deadlines.passed().is_none() && self.is_wanted() =>
                {
                    return self.end(client, &body, false).await;
                }
                Ok(bytes) if bytes > 0 => {}
                _ => return self.break_off_converted(client, &body).await,
            }
        }
    }

    fn turn(&mut self, body: &mut Body, buf: &Buf) -> Turned {
        let (bytes, meter, tap) = (buf.filled(), &mut self.meter, &mut self.tap);
        let Body { framing, carry, .. } = body;
        let (mut out, mut sound) = (Vec::new(), true);
        let scanned = framing.scan(bytes, |range| {
            let payload = bytes.get(range).unwrap_or_default();
            meter.feed(payload);
            if let Some(tap) = tap.as_mut() {
                tap.feed(payload);
            }
            sound = sound && carry.feed(payload, meter, &mut out).is_ok();
        });
        let Ok(scanned) = scanned else { return Turned { out, done: None, sound: false } };
        let done = scanned.done.then_some(scanned.taken == bytes.len());
        // An end inside an event is a stream that broke.
        sound = sound && (done.is_none() || carry.at_boundary());
        Turned { out, done, sound }
    }

    /// Sends what there is, in a chunk of ours; the head at once.
    async fn tell(&mut self, client: &mut Writer, head: &mut Option<Vec<u8>>, out: Vec<u8>) -> Result<(), Ended> {
        if self.draining() || (head.is_none() && out.is_empty()) {
            return Ok(());
        }
        let mut bytes = head.take().unwrap_or_default();
        self.chunk(&mut bytes, &out);
        match self.write(client, &mut Buf::copy_of(&bytes)).await {
            Ok(_) => {
                self.client_bytes += out.len() as u64;
                if let Some(tap) = &mut self.tap {
                    tap.release();
                }
                Ok(())
            }
            Err(_) if self.draining() => Ok(()),
            Err(_) => Err(Ended::ClientLeft),
        }
    }

    fn chunk(&self, bytes: &mut Vec<u8>, out: &[u8]) {
        if out.is_empty() {
            return;
        }
        if self.cx.head.minor_version == 0 {
            bytes.extend_from_slice(out);
            return;
        }
        // Writing to memory does not fail.
        let _ok = write!(bytes, "{:x}\r\n", out.len());
        bytes.extend_from_slice(out);
        bytes.extend_from_slice(b"\r\n");
    }

    async fn end(&mut self, client: &mut Writer, body: &Body, reusable: bool) -> Ended {
        self.meter.finish();
        if !body.carry.at_boundary() {
            return self.break_off_converted(client, body).await;
        }
        if let Carry::Whole(whole) = &body.carry {
            return self.answer(client, whole, body.way, reusable).await;
        }
        if self.cx.head.minor_version == 0 {
            return Ended::Whole { reusable };
        }
        match self.write(client, &mut Buf::copy_of(b"0\r\n\r\n")).await {
            Ok(_) => Ended::Whole { reusable },
            Err(_) => Ended::ClientLeft,
        }
    }

    /// A short answer, said anew.
    async fn answer(&mut self, client: &mut Writer, whole: &Whole, way: Way, reusable: bool) -> Ended {
        let said = match &mut self.objects {
            Some(objects) => match objects.said(whole, self.status) {
                Ok(said) if objects.looks_on(&said) && self.second.hides(Failure::NoModel) => {
                    return Ended::Hidden { failure: Failure::NoModel, reusable };
                }
                said => said.map(|page| page.said).ok(),
            },
            None => whole.said(way, self.operation, self.status, self.cx.id),
        };
        let Some(said) = said else { return Ended::NoAnswer };
        self.told = said.status;
        let bytes = whole.rendered(&said, self.cx.id, self.cx.link.closing.get());
        match self.write(client, &mut Buf::copy_of(&bytes)).await {
            Ok(_) => {
                self.client_bytes += said.body.len() as u64;
                Ended::Whole { reusable }
            }
            Err(_) => Ended::ClientLeft,
        }
    }

    /// Nobody has ended this from our side.
    fn is_wanted(&self) -> bool {
        !self.cx.link.gone.get() && !self.cx.link.revoked.get()
    }

    /// Reads on. While nothing comes, a client that reads SSE gets pings, once its message has begun; the read stays where it
    /// is (law 10).
    async fn read_on(
        &mut self,
        reader: &mut Reader,
        client: &mut Writer,
        (body, quiet): (&Body, &mut Quiet),
        buf: Buf,
    ) -> (std::io::Result<usize>, Buf) {
        self.deadlines.arm(Awaited::Read, self.cx.shard.sweeper.in_(self.cx.serving.limits.idle_timeout));
        let pings = matches!(body.carry, Carry::Frames(_));
        let mut read = pin!(reader.read(buf));
        let done = loop {
            let mut silence = pin!(runtime::sleep(quiet.left(clock::mono())));
            let came = poll_fn(|cx| match read.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if silence.as_mut().poll(cx).is_ready() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await;
            if let Some(done) = came {
                break done;
            }
            quiet.broken(clock::mono());
            if pings && self.client_bytes > 0 && self.is_wanted() && !self.meter.stream_ended() {
                let mut bytes = Vec::new();
                self.chunk(&mut bytes, PING);
                // A client that is gone cancels the upstream, which ends the read.
                let _gone = self.write(client, &mut Buf::copy_of(&bytes)).await;
            }
        };
        self.deadlines.disarm(Awaited::Read);
        done
    }

    /// The upstream broke off, or sent what is no answer: said in the client's format, behind what it has already.
    async fn break_off_converted(&mut self, client: &mut Writer, body: &Body) -> Ended {
        if self.cx.link.gone.get() {
            return Ended::ClientLeft;
        }
        if !self.head_sent {
            return Ended::NoAnswer;
        }
        self.cx.link.closing.set(true);
        if self.meter.stream_ended() || self.cx.head.minor_version == 0 {
            self.cx.link.broken.set(true);
            return Ended::Broken;
        }
        let text = match self.deadlines.passed() {
            Some(_) => "the upstream stopped sending; the answer above may be incomplete",
            None => "the upstream broke off; the answer above may be incomplete",
        };
        let broken = Fault::new(Room::Relay, FaultKind::UpstreamBroken, text);
        let fault = self.cx.link.revocation(Room::Relay).unwrap_or(broken);
        let mut bytes = Vec::new();
        self.chunk(&mut bytes, &errors::stream_end(body.way.to, &fault, self.cx.id));
        bytes.extend_from_slice(b"0\r\n\r\n");
        match self.write(client, &mut Buf::copy_of(&bytes)).await {
            Ok(_) => Ended::Broken,
            Err(Left) => Ended::ClientLeft,
        }
    }
}

/// The `content-type` of a stream in a format.
pub(super) fn stream_type(format: Format) -> &'static str {
    match format {
        Format::Anthropic | Format::Vertex => "text/event-stream; charset=utf-8",
        Format::Bedrock => "application/vnd.amazon.eventstream",
    }
}
