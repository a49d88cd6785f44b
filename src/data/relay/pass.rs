//! The answer's body on its way down where both sides speak one format: in the buffers it came in, with the meter and the audit's tap
//! looking on, and what a client is told when the upstream breaks off.

use super::{
    attempt::Ended,
    download::{Body, Download, Stop},
    objects,
};
use crate::{
    data::shard::deadlines::Awaited,
    dialect::errors,
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::{BULK_BUFFER_BYTES, SMALL_BUFFER_BYTES},
    },
    sys::{
        buf::Buf,
        socket::{Reader, Writer},
    },
};

impl Download<'_> {
    /// Relays the body, the head in front of its first part.
    pub(super) async fn body(
        &mut self,
        reader: &mut Reader,
        client: &mut Writer,
        mut body: Body,
        mut buf: Buf,
        head: Vec<u8>,
    ) -> Ended {
        let mut head = Some(head);
        let mut bulk = false;
        loop {
            match self.pass_on(client, &mut body, buf, &mut head).await {
                Ok(Passed { done, .. }) if self.draining() && (done.is_some() || self.meter.stream_ended()) => {
                    self.finish();
                    return Ended::Drained;
                }
                Ok(Passed { done: Some(clean), .. }) => {
                    self.finish();
                    return Ended::Whole { reusable: clean && body.keep_alive };
                }
                Ok(Passed { buf: back, .. }) => buf = back,
                Err(Stop::Client) => return Ended::ClientLeft,
                Err(Stop::Upstream) => return Box::pin(self.break_off(client, &body)).await,
            }
            let wanted = if bulk { BULK_BUFFER_BYTES } else { SMALL_BUFFER_BYTES };
            if buf.capacity() == wanted {
                buf.clear_with_head_room(0)
            } else {
                buf = Buf::of(wanted)
            }
            self.deadlines.arm(Awaited::Read, self.cx.shard.sweeper.in_(self.cx.serving.limits.idle_timeout));
            let (result, back) = reader.read(buf).await;
            // While the client is slow to take it, the upstream owes nothing.
            self.deadlines.disarm(Awaited::Read);
            buf = back;
            match result {
                Ok(0)
                    if body.framing.ends_with_connection()
                        && self.deadlines.passed().is_none()
                        && !self.cx.link.gone.get()
                        && !self.cx.link.revoked.get() =>
                {
                    self.finish();
                    return Ended::Whole { reusable: false };
                }
                Ok(bytes) if bytes > 0 => bulk = buf.room() == 0 || (bulk && bytes * 4 > BULK_BUFFER_BYTES),
                _ => return Box::pin(self.break_off(client, &body)).await,
            }
        }
    }

    /// The answer is whole.
    fn finish(&mut self) {
        self.meter.finish();
        if let Some(objects) = &mut self.objects {
            objects.finish();
        }
    }

    /// Sends what a read brought: the same buffer, cut to what belongs to this answer.
    async fn pass_on(
        &mut self,
        client: &mut Writer,
        body: &mut Body,
        mut buf: Buf,
        head: &mut Option<Vec<u8>>,
    ) -> Result<Passed, Stop> {
        let came = buf.len();
        let mut payload_len = 0;
        let (meter, tap, looking) = (&mut self.meter, &mut self.tap, &mut self.objects);
        let unchunk = body.unchunk;
        let mut look = |bytes: &[u8]| {
            meter.feed(bytes);
            if let Some(looking) = looking.as_mut() {
                looking.feed(bytes);
            }
            if let Some(tap) = tap.as_mut() {
                tap.feed(bytes);
            }
        };
        let scanned = if unchunk {
            let mut ranges = Vec::new();
            let scanned = body.framing.scan(buf.filled(), |range| ranges.push(range));
            for range in ranges {
                let bytes = buf.filled_mut();
                look(&bytes[range.clone()]);
                bytes.copy_within(range.clone(), payload_len);
                payload_len += range.len();
            }
            scanned
        } else {
            let bytes = buf.filled();
            body.framing.scan(bytes, |range| {
                payload_len += range.len();
                look(&bytes[range]);
            })
        };
        let Ok(scanned) = scanned else { return Err(Stop::Upstream) };
        if self.meter.shows_sticky() {
            objects::stick(self);
        }
        buf.truncate(if unchunk { payload_len } else { scanned.taken });
        let done = scanned.done.then_some(scanned.taken == came);
        if self.draining() {
            return Ok(Passed { buf, done });
        }
        match self.send(client, head, buf).await {
            Ok(buf) => {
                self.client_bytes += payload_len as u64;
                if let Some(tap) = &mut self.tap {
                    tap.release();
                }
                Ok(Passed { buf, done })
            }
            Err(Stop::Client) if self.draining() => Ok(Passed { buf: Buf::small(), done }),
            Err(stop) => Err(stop),
        }
    }

    async fn send(&mut self, client: &mut Writer, head: &mut Option<Vec<u8>>, mut buf: Buf) -> Result<Buf, Stop> {
        if let Some(head) = head.take()
            && !buf.prepend(&head)
        {
            self.write(client, Buf::copy_of(&head)).await?;
        }
        if !buf.is_empty() {
            buf = self.write(client, buf).await?;
        }
        Ok(buf)
    }

    /// The upstream broke off. An event tells a streaming client, where one can stand; else the connection is reset. The end is
    /// never faked (contract.md §4.1).
    async fn break_off(&mut self, client: &mut Writer, body: &Body) -> Ended {
        if self.cx.link.gone.get() {
            return Ended::ClientLeft;
        }
        if !self.head_sent {
            return Ended::NoAnswer;
        }
        self.cx.link.closing.set(true);
        if body.framing.takes_a_chunk() && !body.unchunk && self.meter.at_event_boundary() && !self.meter.stream_ended()
        {
            let broken = match self.deadlines.passed() {
                Some(_) => "the upstream stopped sending; the answer above may be incomplete",
                None => "the upstream broke off; the answer above may be incomplete",
            };
            let broken = Fault::new(Room::Relay, FaultKind::UpstreamBroken, broken);
            let fault = self.cx.link.revocation(Room::Relay).unwrap_or(broken);
            let event = errors::stream_end(self.format, &fault, self.cx.id);
            let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
            chunk.extend_from_slice(&event);
            chunk.extend_from_slice(b"\r\n0\r\n\r\n");
            if self.write(client, Buf::copy_of(&chunk)).await.is_ok() {
                return Ended::Broken;
            }
            return Ended::ClientLeft;
        }
        self.cx.link.broken.set(true);
        Ended::Broken
    }
}

struct Passed {
    buf: Buf,
    /// The body is whole; true if nothing followed it.
    done: Option<bool>,
}
