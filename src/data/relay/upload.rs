//! The request's way up: our head and the first bytes of the body in one send, then the body as it arrives.

use super::head::{Splice, UpstreamHead};
use crate::{
    data::{
        edge::{
            incoming::Exchange,
            pipe::{BodyFailure, Cursor, Next},
        },
        shard::deadlines::{Awaited, Deadlines},
    },
    sys::{
        buf::{Buf, Part},
        socket::Writer,
    },
};
use std::{cell::Cell, io};

/// How an upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uploaded {
    /// The upstream's kernel has every byte.
    Whole,
    /// The upstream takes no more; its answer may say why.
    Broken,
    /// The exchange was over before the body was.
    Stopped,
    /// The client's body failed.
    BodyFailed(BodyFailure),
}

/// One upload.
pub struct Upload<'a> {
    /// The exchange.
    pub cx: &'a Exchange<'a>,
    /// The head to send.
    pub head: UpstreamHead,
    /// The edit of the body, if one is needed.
    pub splice: Option<Splice>,
    /// The answer is complete, or will never be.
    pub over: &'a Cell<bool>,
    /// Set when every byte has been sent.
    pub whole: &'a Cell<bool>,
    /// The upstream connection's deadlines.
    pub deadlines: &'a Deadlines,
}

impl Upload<'_> {
    /// Sends everything.
    pub async fn run(self, writer: &mut Writer) -> Uploaded {
        let UpstreamHead { buf, chunked } = self.head;
        let mut head = Some(buf);
        let mut cursor = Cursor::default();
        let patience = self.cx.serving.limits.idle_timeout;
        let ended = loop {
            let part = match self.cx.pipe.next(cursor, self.over).await {
                Next::Part(part) => part,
                Next::End => break Uploaded::Whole,
                Next::Stopped => break Uploaded::Stopped,
                Next::Failed(failure) => break Uploaded::BodyFailed(failure),
            };
            self.deadlines.arm(Awaited::Write, self.cx.shard.sweeper.in_(patience));
            let pieces = match &self.splice {
                Some(splice) => splice.apply(cursor.offset, &part),
                None => [Some(part.clone()), None, None],
            };
            for piece in pieces.into_iter().flatten().filter(|p| !p.is_empty()) {
                if let Err(_upstream_closed) = send(writer, &mut head, piece, chunked).await {
                    return Uploaded::Broken;
                }
            }
            self.cx.pipe.sent(&mut cursor, &part);
        };
        let last = if chunked && ended == Uploaded::Whole { &b"0\r\n\r\n"[..] } else { b"" };
        if ended == Uploaded::Whole && finish(writer, head, last).await.is_err() {
            return Uploaded::Broken;
        }
        self.deadlines.disarm(Awaited::Write);
        if let Uploaded::BodyFailed(_) = ended {
            // Half a body must not be answered: cancel.
            self.deadlines.kill().end();
        } else if ended == Uploaded::Whole {
            self.whole.set(true);
            self.deadlines.arm(Awaited::Read, self.cx.shard.sweeper.in_(self.cx.serving.limits.first_byte_timeout));
        }
        ended
    }
}

async fn send(writer: &mut Writer, head: &mut Option<Buf>, piece: Part, chunked: bool) -> io::Result<()> {
    if chunked {
        let mut out = Buf::of(piece.len() + 16);
        out.append(format!("{:x}\r\n", piece.len()).as_bytes());
        out.append(piece.bytes());
        out.append(b"\r\n");
        if let Some(head) = head.take() {
            writer.write_all(head).await.0?;
        }
        return writer.write_all(out).await.0;
    }
    if let Some(mut out) = head.take() {
        if out.room() >= piece.len() {
            out.append(piece.bytes());
            return writer.write_all(out).await.0;
        }
        writer.write_all(out).await.0?;
    }
    writer.write_part(piece).await
}

async fn finish(writer: &mut Writer, head: Option<Buf>, last: &[u8]) -> io::Result<()> {
    if let Some(head) = head {
        writer.write_all(head).await.0?;
    }
    if !last.is_empty() {
        writer.write_all(Buf::copy_of(last)).await.0?;
    }
    Ok(())
}
