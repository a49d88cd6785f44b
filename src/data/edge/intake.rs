//! The client's bytes: the body of the running request into the pipe, then the watch that notices a disconnect and catches
//! the first bytes of the next request. It runs beside the walk, and is never dropped: to end it, reading is shut down.

use super::{
    incoming::ClientLink,
    pipe::{BodyFailure, BodyPipe},
    signal::first_of,
};
use crate::{
    data::shard::deadlines::Awaited,
    kernel::limits::{
        BODY_READ_BYTES_MAX, BULK_BUFFER_BYTES, CHUNK_EXTENSION_BYTES_MAX, SMALL_BUFFER_BYTES, TRAILER_BYTES_MAX,
    },
    sys::{
        buf::{Buf, Part},
        clock, runtime,
        socket::Reader,
    },
    wire::h1::{ChunkEvent, ChunkLimits, ChunkedScanner, RequestBody},
};
use std::{ops::Range, rc::Rc, time::Duration};

/// How often a client whose next request waits is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What the client sent after its request.
pub enum NextBytes {
    /// The beginning of another one.
    Bytes(Buf),
    /// Nothing: the connection is over.
    Gone,
}

/// The body to be taken in.
pub struct Source {
    /// How it is framed.
    pub framing: RequestBody,
    /// What came behind the head in the same read.
    pub first: Part,
    /// The most that is taken.
    pub bytes_max: u64,
}

/// Takes in the body, then watches.
pub async fn run(reader: &mut Reader, source: Source, pipe: &BodyPipe, link: &ClientLink) -> NextBytes {
    let mut intake = Intake { reader, pipe, link, bytes_max: source.bytes_max };
    let rest = match source.framing {
        RequestBody::None => Ok(source.first),
        RequestBody::Length(bytes) => intake.length(source.first, bytes).await,
        RequestBody::Chunked => Box::pin(intake.chunked(source.first)).await,
    };
    match rest {
        Ok(rest) => {
            pipe.end();
            intake.watch(rest).await
        }
        Err(next) => next,
    }
}

struct Intake<'a> {
    reader: &'a mut Reader,
    pipe: &'a BodyPipe,
    link: &'a ClientLink,
    bytes_max: u64,
}

impl Intake<'_> {
    /// A body of stated length; what came behind it.
    async fn length(&mut self, first: Part, bytes: u64) -> Result<Part, NextBytes> {
        let mut left = bytes;
        let here = (first.len() as u64).min(left) as usize;
        left -= here as u64;
        self.pipe.push(first.slice(0..here));
        if left > 0 {
            // Apart: a stream has this future for long, and most bodies came with their heads.
            drop(first);
            return Box::pin(self.rest_of_length(left)).await;
        }
        Ok(first.slice(here..first.len()))
    }

    /// As much of a body as did not come with its head.
    async fn rest_of_length(&mut self, mut left: u64) -> Result<Part, NextBytes> {
        loop {
            let Some(part) = self.read_more(left).await else { return Err(NextBytes::Gone) };
            let here = (part.len() as u64).min(left) as usize;
            left -= here as u64;
            self.push(part.slice(0..here));
            if left == 0 {
                return Ok(part.slice(here..part.len()));
            }
        }
    }

    /// A body in chunks; what came behind it.
    async fn chunked(&mut self, first: Part) -> Result<Part, NextBytes> {
        let limits =
            ChunkLimits { extension_bytes_max: CHUNK_EXTENSION_BYTES_MAX, trailer_bytes_max: TRAILER_BYTES_MAX };
        let mut scanner = ChunkedScanner::new(limits);
        let mut part = first;
        loop {
            let mut at = 0;
            let mut payload = Payload::default();
            loop {
                let step = scanner.step(&part.bytes()[at..]);
                match step {
                    Ok((taken, ChunkEvent::Data(range))) => {
                        payload.add(&part, at + range.start..at + range.end);
                        at += taken;
                    }
                    Ok((taken, ChunkEvent::End)) => {
                        self.push(payload.whole(&part));
                        return Ok(part.slice(at + taken..part.len()));
                    }
                    Ok((_, ChunkEvent::NeedMore)) => break,
                    Err(_) => {
                        self.pipe.fail(BodyFailure::Malformed("the chunked body is not framed as HTTP says"));
                        return Err(Box::pin(self.linger()).await);
                    }
                }
            }
            self.push(payload.whole(&part));
            if self.pipe.received() > self.bytes_max {
                self.pipe.fail(BodyFailure::TooLarge);
                return Err(Box::pin(self.linger()).await);
            }
            match self.read_more(BODY_READ_BYTES_MAX as u64).await {
                Some(more) => part = more,
                None => return Err(NextBytes::Gone),
            }
        }
    }

    /// Hands payload on, or forgets it when nobody wants it any more.
    fn push(&self, part: Part) {
        if !self.pipe.is_stopped() {
            self.pipe.push(part);
        }
    }

    /// One read of body bytes; none if the body will not be whole.
    async fn read_more(&mut self, expected: u64) -> Option<Part> {
        self.room().await;
        // Few large reads cost less than many of 64 KiB; the pipe's bound holds all the same.
        let room = self.pipe.room_bytes().clamp(BULK_BUFFER_BYTES, BODY_READ_BYTES_MAX);
        let (result, buf) = self.reader.read_body(expected.min(room as u64) as usize).await;
        match result {
            Ok(bytes) if bytes > 0 => {
                // A nearly empty buffer that may be kept for a retry would waste more than a copy costs.
                let nearly_empty = buf.capacity() > SMALL_BUFFER_BYTES && bytes * 4 < buf.capacity();
                let buf = if nearly_empty { Buf::copy_of(buf.filled()) } else { buf };
                let len = buf.len();
                Some(Part::new(Rc::new(buf), 0..len))
            }
            _ => {
                let late = self.link.deadlines.passed() == Some(Awaited::Read);
                if !late {
                    self.link.leave();
                }
                self.pipe.fail(if late { BodyFailure::TimedOut } else { BodyFailure::Gone });
                None
            }
        }
    }

    /// Waits until the pipe takes more. The client's time stands still meanwhile: a slow upstream is not its fault.
    async fn room(&self) {
        if self.pipe.has_room() {
            return;
        }
        let left = self.link.deadlines.pause(Awaited::Read, clock::mono());
        self.pipe.room().await;
        if let Some(left) = left
            && !self.pipe.is_stopped()
        {
            self.link.deadlines.arm(Awaited::Read, clock::mono().after(left));
        }
    }

    /// The body is whole: what comes now is the next request, or the end.
    async fn watch(&mut self, rest: Part) -> NextBytes {
        self.link.body_is_whole();
        if self.link.walking.get() {
            self.link.deadlines.disarm(Awaited::Read);
        }
        if !rest.is_empty() {
            return Box::pin(self.stash(Buf::copy_of(rest.bytes()))).await;
        }
        // Empty, and yet it keeps the buffer that the request came in.
        drop(rest);
        let (result, buf) = self.reader.read(Buf::small()).await;
        match result {
            Ok(bytes) if bytes > 0 => {
                if self.link.closing.get() {
                    drop(buf);
                    return Box::pin(self.linger()).await;
                }
                if self.pipe.is_stopped() {
                    return NextBytes::Bytes(buf);
                }
                Box::pin(self.stash(buf)).await
            }
            _ => {
                self.link.leave();
                self.pipe.wake();
                NextBytes::Gone
            }
        }
    }

    /// The client has begun its next request while this one runs. No more of it is read, so that it waits; but a client that
    /// leaves is to be noticed all the same, or its answer would be made and paid for nobody.
    async fn stash(&mut self, next: Buf) -> NextBytes {
        while !self.pipe.is_stopped() {
            first_of(self.pipe.stopped(), runtime::sleep(LOOK)).await;
            if !self.pipe.is_stopped() && self.link.deadlines.kill().is_left() {
                self.link.leave();
                self.pipe.wake();
                return NextBytes::Gone;
            }
        }
        if self.link.closing.get() {
            // There will be no next request. Closing with its bytes unread would reset the connection, and throw away what the
            // client has not yet taken of its answer.
            return Box::pin(self.linger()).await;
        }
        NextBytes::Bytes(next)
    }

    /// Reads and throws away until the client has seen our answer and leaves, or until the deadline.
    async fn linger(&mut self) -> NextBytes {
        let mut buf = Buf::small();
        loop {
            buf.clear_with_head_room(0);
            let (result, back) = self.reader.read(buf).await;
            buf = back;
            if !matches!(result, Ok(bytes) if bytes > 0) {
                if !self.pipe.is_stopped() {
                    self.link.leave();
                    self.pipe.wake();
                }
                return NextBytes::Gone;
            }
        }
    }
}

/// The payload in one read of a chunked body: where it lies, or a copy of it where there are several chunks. One part for each
/// read, however small the client cuts its chunks.
#[derive(Default)]
struct Payload {
    first: Range<usize>,
    joined: Vec<u8>,
}

impl Payload {
    fn add(&mut self, read: &Part, range: Range<usize>) {
        if self.first.is_empty() {
            self.first = range;
            return;
        }
        if self.joined.is_empty() {
            self.joined.extend_from_slice(&read.bytes()[self.first.clone()]);
        }
        self.joined.extend_from_slice(&read.bytes()[range]);
    }

    fn whole(self, read: &Part) -> Part {
        if self.joined.is_empty() {
            return read.slice(self.first);
        }
        let len = self.joined.len();
        Part::new(Rc::new(Buf::copy_of(&self.joined)), 0..len)
    }
}
