//! The request's way up: our head and the first bytes of the body in one send, then the body as it arrives.

use super::{Flags, edits::Edits, head::UpstreamHead};
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
use std::io;

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
    /// The edits of the body, where some are needed.
    pub edits: Edits,
    /// What it tells the download, and is told.
    pub flags: &'a Flags,
    /// The upstream connection's deadlines.
    pub deadlines: &'a Deadlines,
}

impl Upload<'_> {
    /// Sends everything, the head first.
    pub async fn run(self, writer: &mut Writer, head: UpstreamHead) -> Uploaded {
        let UpstreamHead { buf, chunked } = head;
        let mut head = Some(buf);
        let mut cursor = Cursor::default();
        let patience = self.cx.serving.limits.idle_timeout;
        let ended = loop {
            let part = match self.cx.pipe.next(cursor, &self.flags.over).await {
                Next::Part(part) => part,
                Next::End => break Uploaded::Whole,
                Next::Stopped => break Uploaded::Stopped,
                Next::Failed(failure) => break Uploaded::BodyFailed(failure),
            };
            self.deadlines.arm(Awaited::Write, self.cx.shard.sweeper.in_(patience));
            let mut broken = false;
            if self.edits.is_empty() {
                broken = send(writer, &mut head, part.clone(), chunked).await.is_err();
            } else {
                for piece in self.edits.apply(cursor.offset, &part) {
                    broken = broken || send(writer, &mut head, piece, chunked).await.is_err();
                }
            }
            // While the client is awaited the upstream owes nothing.
            self.deadlines.disarm(Awaited::Write);
            if broken {
                break Uploaded::Broken;
            }
            self.cx.pipe.sent(&mut cursor, &part);
        };
        self.conclude(writer, head, chunked, ended).await
    }

    async fn conclude(self, writer: &mut Writer, head: Option<Buf>, chunked: bool, mut ended: Uploaded) -> Uploaded {
        if ended == Uploaded::Whole {
            self.deadlines.arm(Awaited::Write, self.cx.shard.sweeper.in_(self.cx.serving.limits.idle_timeout));
            let last = if chunked { &b"0\r\n\r\n"[..] } else { b"" };
            if (head.is_some() || !last.is_empty()) && Box::pin(finish(writer, head, last)).await.is_err() {
                ended = Uploaded::Broken;
            }
            self.deadlines.disarm(Awaited::Write);
        }
        match ended {
            // Half a body must not be answered: cancel.
            Uploaded::BodyFailed(_) => self.deadlines.kill().end(),
            Uploaded::Whole | Uploaded::Broken if !self.flags.begun.get() => {
                let patience = self.cx.serving.limits.first_byte_timeout;
                self.deadlines.arm(Awaited::Read, self.cx.shard.sweeper.in_(patience));
            }
            _ => {}
        }
        self.flags.uploaded.set(ended == Uploaded::Whole);
        ended
    }
}

async fn send(writer: &mut Writer, head: &mut Option<Buf>, mut piece: Part, chunked: bool) -> io::Result<()> {
    if chunked {
        return Box::pin(send_chunk(writer, head.take(), piece)).await;
    }
    if let Some(mut out) = head.take() {
        let joined = out.room() >= piece.len();
        if joined {
            out.append(piece.bytes());
        }
        while !out.is_empty() {
            let (result, left) = writer.write(out).await;
            result?;
            out = left;
        }
        if joined {
            return Ok(());
        }
    }
    while !piece.is_empty() {
        let (result, left) = writer.write_part(piece).await;
        result?;
        piece = left;
    }
    Ok(())
}

async fn send_chunk(writer: &mut Writer, head: Option<Buf>, piece: Part) -> io::Result<()> {
    if let Some(head) = head {
        writer.write_all(head).await?;
    }
    let mut out = Buf::of(piece.len() + 16);
    out.append(format!("{:x}\r\n", piece.len()).as_bytes());
    out.append(piece.bytes());
    out.append(b"\r\n");
    writer.write_all(out).await
}

async fn finish(writer: &mut Writer, head: Option<Buf>, last: &[u8]) -> io::Result<()> {
    if let Some(head) = head {
        writer.write_all(head).await?;
    }
    if !last.is_empty() {
        writer.write_all(Buf::copy_of(last)).await?;
    }
    Ok(())
}
