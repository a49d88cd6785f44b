//! Segment headers and frames as bytes: sealing and opening. Sans-io. The layout is in the module's header (`mod.rs`).

use super::{
    FRAME_CONTENT_MAX,
    key::{BodyKey, Cipher, KeyId, KeyRing},
};
use crate::{
    kernel::{ids::RequestId, time::UnixMs},
    link::bodies::{BodyEnd, ExchangeEnd, Way},
};
use aws_lc_rs::rand;

pub(super) const HEADER_BYTES: usize = 128;
pub(super) const FRAME_HEAD_BYTES: usize = 32;
const MAGIC: &[u8; 8] = b"WEIRBODY";
const VERSION: u32 = 1;
const TAG_BYTES: usize = 16;
const END_BYTES: usize = 2 * BODY_END_BYTES + 1;
const BODY_END_BYTES: usize = 8 + 32 + 1;
/// Fast, and half the size already.
const COMPRESSION_LEVEL: i32 = 3;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes(Way),
    End,
    SegmentEnd,
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Bytes(Way::Request) => 1,
            Self::Bytes(Way::Response) => 2,
            Self::End => 3,
            Self::SegmentEnd => 4,
        }
    }

    fn of(number: u8) -> Option<Self> {
        [Self::Bytes(Way::Request), Self::Bytes(Way::Response), Self::End, Self::SegmentEnd]
            .into_iter()
            .find(|kind| kind.number() == number)
    }
}

/// A segment's header, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub segment: u64,
    pub created_at: UnixMs,
    pub key: KeyId,
    bytes: [u8; HEADER_BYTES],
}

/// Seals the frames of one segment.
pub(super) struct Sealer {
    cipher: Cipher,
    segment: u64,
    frames: u64,
}

/// Opens them.
pub(super) struct Opener {
    cipher: Cipher,
    segment: u64,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FrameHead {
    pub sealed_bytes: usize,
    pub kind: Kind,
    pub compressed: bool,
    pub number: u64,
    pub id: RequestId,
    bytes: [u8; FRAME_HEAD_BYTES],
}

impl Header {
    /// Reads a header, or says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let bytes: [u8; HEADER_BYTES] = bytes
            .get(..HEADER_BYTES)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| format!("it has {} bytes, a segment's header has {HEADER_BYTES}", bytes.len()))?;
        if &bytes[0..8] != MAGIC {
            return Err("it does not begin like a segment of bodies".into());
        }
        if u32_at(&bytes, 124) != crc32fast::hash(&bytes[..124]) {
            return Err("its header does not match its checksum".into());
        }
        if u32_at(&bytes, 8) != VERSION {
            return Err(format!("it is of format version {}, this weir reads {VERSION}", u32_at(&bytes, 8)));
        }
        let mut key = KeyId::default();
        key.copy_from_slice(&bytes[32..40]);
        Ok(Self { segment: u64_at(&bytes, 16), created_at: UnixMs(u64_at(&bytes, 24)), key, bytes })
    }

    /// Unwraps the data key.
    pub fn opener(&self, keys: &KeyRing) -> Result<Opener, String> {
        let hex = || self.key.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let key = keys.find(self.key).ok_or_else(|| format!("it wants body key {}, which was not given", hex()))?;
        let mut wrapped = self.bytes[52..100].to_vec();
        let nonce = self.bytes[40..52].try_into().unwrap_or_default();
        let opened = key.cipher().and_then(|cipher| {
            let data_key: [u8; 32] = cipher.open(nonce, &self.bytes[..40], &mut wrapped)?.try_into().ok()?;
            Cipher::new(&data_key)
        });
        let cipher = opened.ok_or("its data key does not open: its header was changed")?;
        Ok(Opener { cipher, segment: self.segment })
    }
}

impl Sealer {
    /// Begins a segment: its header, and what seals its frames. `None` without randomness from the system.
    pub fn begin(segment: u64, created_at: UnixMs, key: &BodyKey) -> Option<(Self, [u8; HEADER_BYTES])> {
        let (mut data_key, mut nonce) = ([0; 32], [0; 12]);
        rand::fill(&mut data_key).and_then(|()| rand::fill(&mut nonce)).ok()?;
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        out[16..24].copy_from_slice(&segment.to_le_bytes());
        out[24..32].copy_from_slice(&created_at.0.to_le_bytes());
        out[32..40].copy_from_slice(&key.id());
        out[40..52].copy_from_slice(&nonce);
        let mut wrapped = data_key.to_vec();
        key.cipher()?.seal(nonce, &out[..40], &mut wrapped)?;
        out[52..100].copy_from_slice(&wrapped);
        let crc = crc32fast::hash(&out[..124]);
        out[124..128].copy_from_slice(&crc.to_le_bytes());
        Some((Self { cipher: Cipher::new(&data_key)?, segment, frames: 0 }, out))
    }

    /// Bytes of a body, as one frame behind `out`.
    pub fn bytes(&mut self, id: RequestId, way: Way, content: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match zstd::bulk::compress(content, COMPRESSION_LEVEL) {
            Ok(small) if small.len() < content.len() => self.frame(Kind::Bytes(way), true, id, small, out),
            _ => self.frame(Kind::Bytes(way), false, id, content.to_vec(), out),
        }
    }

    /// The end of an exchange.
    pub fn end(&mut self, id: RequestId, end: &ExchangeEnd, out: &mut Vec<u8>) -> Option<()> {
        let mut content = Vec::with_capacity(END_BYTES + TAG_BYTES);
        for body in [&end.request, &end.response] {
            content.extend_from_slice(&body.bytes.to_le_bytes());
            content.extend_from_slice(&body.sha256);
            content.push(u8::from(body.cut));
        }
        content.push(u8::from(end.dropped));
        self.frame(Kind::End, false, id, content, out)
    }

    /// The end of the segment. Nothing is sealed behind it.
    pub fn finish(mut self, out: &mut Vec<u8>) -> Option<()> {
        self.frame(Kind::SegmentEnd, false, RequestId(0), Vec::new(), out)
    }

    fn frame(
        &mut self,
        kind: Kind,
        compressed: bool,
        id: RequestId,
        mut content: Vec<u8>,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let mut head = [0; FRAME_HEAD_BYTES];
        head[0..4].copy_from_slice(&((content.len() + TAG_BYTES) as u32).to_le_bytes());
        (head[4], head[5]) = (kind.number(), u8::from(compressed));
        head[8..16].copy_from_slice(&self.frames.to_le_bytes());
        head[16..32].copy_from_slice(&id.0.to_be_bytes());
        self.cipher.seal(nonce(self.frames), &about(self.segment, &head), &mut content)?;
        self.frames += 1;
        out.extend_from_slice(&head);
        out.extend_from_slice(&content);
        Some(())
    }
}

impl FrameHead {
    /// Reads a frame's head; `None` if there are too few bytes for one.
    pub fn decode(bytes: &[u8]) -> Option<Result<Self, String>> {
        let bytes: [u8; FRAME_HEAD_BYTES] = bytes.get(..FRAME_HEAD_BYTES)?.try_into().ok()?;
        let sealed_bytes = u32_at(&bytes, 0) as usize;
        if !(TAG_BYTES..=FRAME_CONTENT_MAX + TAG_BYTES).contains(&sealed_bytes) {
            return Some(Err(format!("a frame says that it has {sealed_bytes} bytes")));
        }
        let Some(kind) = Kind::of(bytes[4]) else {
            return Some(Err(format!("a frame is of kind {}, which this weir does not know", bytes[4])));
        };
        let id = RequestId(u128::from_be_bytes(bytes[16..32].try_into().unwrap_or_default()));
        let number = u64_at(&bytes, 8);
        Some(Ok(Self { sealed_bytes, kind, compressed: bytes[5] == 1, number, id, bytes }))
    }
}

impl Opener {
    /// Opens the content of a frame; none if anything of it is not what was sealed.
    pub fn open(&self, head: &FrameHead, sealed: &mut [u8]) -> Option<Vec<u8>> {
        let content = self.cipher.open(nonce(head.number), &about(self.segment, &head.bytes), sealed)?;
        if head.compressed {
            return zstd::bulk::decompress(content, FRAME_CONTENT_MAX).ok();
        }
        Some(content.to_vec())
    }
}

/// Reads the content of an `End` frame.
pub(super) fn decode_end(content: &[u8]) -> Option<ExchangeEnd> {
    let content: &[u8; END_BYTES] = content.try_into().ok()?;
    let body = |at: usize| BodyEnd {
        bytes: u64_at(content, at),
        sha256: content[at + 8..at + 40].try_into().unwrap_or_default(),
        cut: content[at + 40] == 1,
    };
    Some(ExchangeEnd { request: body(0), response: body(BODY_END_BYTES), dropped: content[END_BYTES - 1] == 1 })
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}

fn about(segment: u64, head: &[u8; FRAME_HEAD_BYTES]) -> [u8; 8 + FRAME_HEAD_BYTES] {
    let mut about = [0; 8 + FRAME_HEAD_BYTES];
    about[..8].copy_from_slice(&segment.to_le_bytes());
    about[8..].copy_from_slice(head);
    about
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}
