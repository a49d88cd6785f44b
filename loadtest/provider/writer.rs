//! Puts a response body on the wire: content encoding, chunk boundaries, pace of the writes.

use std::io::Write as _;
use std::time::Duration;

use aws_lc_rs::digest;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::time::Instant;

use super::conn::{Conn, Gone};
use super::script::{ChunkMode, FramingScript};

/// Bytes gathered before a batched write.
const BATCH_BYTES: usize = 16 << 10;
/// Events in a merged chunk.
const MERGED_EVENTS: u32 = 8;

/// The sending side of one exchange.
pub(super) struct Writer<'c> {
    conn: &'c mut Conn,
    /// Chunk boundaries; `None` sends the payload as it is.
    chunks: Option<ChunkMode>,
    batch: bool,
    trickle: Option<usize>,
    trailers: bool,
    gzip: Option<GzEncoder<Vec<u8>>>,
    random: fastrand::Rng,
    /// Wire bytes of the next write.
    out: Vec<u8>,
    /// Payload bytes waiting for their chunk to be complete.
    carry: Vec<u8>,
    merged: u32,
    digest: Option<digest::Context>,
    payload_bytes: u64,
}

impl<'c> Writer<'c> {
    /// `out` begins with `head`, which leaves with the first payload or at the next flush.
    pub(super) fn new(conn: &'c mut Conn, framing: &FramingScript, digests: bool, seed: u64) -> Writer<'c> {
        Writer {
            conn,
            chunks: None,
            batch: framing.batch,
            trickle: framing.trickle,
            trailers: framing.trailers,
            gzip: None,
            random: fastrand::Rng::with_seed(seed),
            out: Vec::with_capacity(2048),
            carry: Vec::new(),
            merged: 0,
            digest: digests.then(|| digest::Context::new(&digest::SHA256)),
            payload_bytes: 0,
        }
    }

    /// Queues the response head; it leaves with the first payload.
    pub(super) fn head(&mut self, head: &[u8], chunks: Option<ChunkMode>, gzip: bool) {
        self.out.extend_from_slice(head);
        self.chunks = chunks;
        self.gzip = gzip.then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    }

    pub(super) fn conn(&mut self) -> &mut Conn {
        self.conn
    }

    /// Sends part of the body.
    pub(super) async fn payload(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        match self.gzip.take() {
            None => self.frame(bytes),
            Some(mut encoder) => {
                // Writing to a Vec cannot fail.
                let _ = encoder.write_all(bytes);
                let _ = encoder.flush();
                let encoded = std::mem::take(encoder.get_mut());
                self.gzip = Some(encoder);
                self.frame(&encoded);
            }
        }
        if self.batch && self.out.len() < BATCH_BYTES { Ok(()) } else { self.flush().await }
    }

    /// Sends half of `bytes` only, for a body that is to break off.
    pub(super) async fn half(&mut self, bytes: &[u8]) -> Result<(), Gone> {
        self.payload(&bytes[..bytes.len() / 2]).await?;
        self.settle().await
    }

    fn frame(&mut self, bytes: &[u8]) {
        if let Some(digest) = &mut self.digest {
            digest.update(bytes);
        }
        self.payload_bytes += bytes.len() as u64;
        match self.chunks {
            None => self.out.extend_from_slice(bytes),
            Some(ChunkMode::Event) => push_chunk(&mut self.out, bytes, ""),
            Some(ChunkMode::Extension) => push_chunk(&mut self.out, bytes, ";sim=\"a;b\""),
            Some(ChunkMode::Merged) => {
                self.carry.extend_from_slice(bytes);
                self.merged += 1;
                if self.merged == MERGED_EVENTS {
                    self.push_carry();
                }
            }
            Some(ChunkMode::Split) => self.split(bytes),
        }
    }

    /// Up to three chunks that end inside this event; what is left waits for the next one.
    fn split(&mut self, bytes: &[u8]) {
        self.carry.extend_from_slice(bytes);
        for _ in 0..self.random.usize(1..=3) {
            if self.carry.len() < 2 {
                return;
            }
            let cut = self.random.usize(1..self.carry.len());
            push_chunk(&mut self.out, &self.carry[..cut], "");
            self.carry.drain(..cut);
        }
    }

    fn push_carry(&mut self) {
        push_chunk(&mut self.out, &self.carry, "");
        self.carry.clear();
        self.merged = 0;
    }

    /// Sends everything that was given so far, complete chunk or not.
    pub(super) async fn settle(&mut self) -> Result<(), Gone> {
        if self.chunks.is_some() && !self.carry.is_empty() {
            self.push_carry();
        }
        self.flush().await
    }

    /// Ends the body.
    pub(super) async fn finish(&mut self) -> Result<(), Gone> {
        if let Some(encoder) = self.gzip.take() {
            let tail = encoder.finish().unwrap_or_default();
            self.frame(&tail);
        }
        if self.chunks.is_some() {
            if !self.carry.is_empty() {
                self.push_carry();
            }
            self.out.extend_from_slice(if self.trailers { b"0\r\nx-sim-trailer: 1\r\n\r\n" } else { b"0\r\n\r\n" });
        }
        self.flush().await
    }

    /// Sends the complete chunks; a batched writer may hold some.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        let sent = match self.trickle {
            None => self.conn.send(&self.out).await,
            Some(step) => trickle(self.conn, &self.out, step).await,
        };
        self.out.clear();
        sent
    }

    /// SHA-256 (empty when digests are off) and length of the payload given so far.
    pub(super) fn sums(&mut self) -> (Option<digest::Digest>, u64) {
        (self.digest.take().map(digest::Context::finish), self.payload_bytes)
    }
}

async fn trickle(conn: &mut Conn, bytes: &[u8], step: usize) -> Result<(), Gone> {
    for part in bytes.chunks(step) {
        conn.send(part).await?;
        conn.watch_until(Instant::now() + Duration::from_millis(1)).await?;
    }
    Ok(())
}

/// An empty chunk would end the body, so it is left out.
fn push_chunk(out: &mut Vec<u8>, bytes: &[u8], extension: &str) {
    if bytes.is_empty() {
        return;
    }
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{:x}{extension}\r\n", bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}
