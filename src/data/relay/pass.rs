//! The answer's body on its way down where both sides speak one format: in the buffers it came in, with the meter and the audit's tap
//! looking on, and what a client is told when the upstream breaks off.

use super::{
    attempt::Ended,
    download::{Body, Download},
    framing::BadChunk,
    objects,
};
use crate::{
    data::shard::deadlines::Awaited,
    dialect::errors,
    kernel::{
        fault::{Fault, FaultKind, Room},
        limits::SMALL_BUFFER_BYTES,
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
        let mut came = buf.len();
        loop {
            let next_bytes = buf.next_bytes(came);
            let Ok(scanned) = self.look_at(&mut body, &mut buf) else {
                return Box::pin(self.break_off(client, &body)).await;
            };
            if !self.draining() {
                // The head goes in front of the first bytes, where there is room.
                let mut sent = Ok(());
                if let Some(head) = head.take() {
                    if !buf.prepend(&head) {
                        sent = Box::pin(self.write(client, &mut Buf::copy_of(&head))).await;
                    }
                    if head.capacity() <= SMALL_BUFFER_BYTES {
                        self.cx.shard.spares.lines.borrow_mut().keep(head);
                    }
                }
                if sent.is_ok() && !buf.is_empty() {
                    sent = self.write(client, &mut buf).await;
                }
                match sent {
                    Ok(()) => self.passed(scanned.payload_len),
                    Err(_) if self.draining() => {}
                    Err(_) => return Ended::ClientLeft,
                }
            }
            if self.draining() && (scanned.done.is_some() || self.meter.stream_ended()) {
                self.finish();
                return Ended::Drained;
            }
            if let Some(clean) = scanned.done {
                self.finish();
                return Ended::Whole { reusable: clean && body.keep_alive };
            }
            buf = buf.or_of(next_bytes);
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
                Ok(bytes) if bytes > 0 => came = bytes,
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

    /// Looks at what a read brought, and cuts it to what belongs to this answer.
    fn look_at(&mut self, body: &mut Body, buf: &mut Buf) -> Result<Looked, BadChunk> {
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
            let scanned = body.framing.scan(buf.filled(), |range| ranges.push(range))?;
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
            })?
        };
        if self.meter.shows_sticky() {
            objects::stick(self);
        }
        buf.truncate(if unchunk { payload_len } else { scanned.taken });
        Ok(Looked { payload_len: payload_len as u64, done: scanned.done.then_some(scanned.taken == came) })
    }

    /// The client has taken so much of the answer's body.
    fn passed(&mut self, payload_len: u64) {
        self.client_bytes += payload_len;
        if let Some(tap) = &mut self.tap {
            tap.release();
        }
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
            if self.write(client, &mut Buf::copy_of(&chunk)).await.is_ok() {
                return Ended::Broken;
            }
            return Ended::ClientLeft;
        }
        self.cx.link.broken.set(true);
        Ended::Broken
    }
}

/// What a read brought.
struct Looked {
    /// Payload in it, bytes.
    payload_len: u64,
    /// The body is whole; true if nothing followed it.
    done: Option<bool>,
}
