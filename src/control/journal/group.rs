//! Segment headers and groups as bytes: building and checking. The layout is in the module's header (`mod.rs`).

use super::entry::EntryV1;
use aws_lc_rs::digest::{SHA256, digest};
use memchr::memmem;
use prost::Message;

/// A SHA-256.
pub(in crate::control) type Hash = [u8; 32];

pub(in crate::control) const HEADER_BYTES: usize = 96;
const SEGMENT_MAGIC: &[u8; 8] = b"WEIRJRNL";
const FORMAT_VERSION: u32 = 1;
const GROUP_MAGIC: &[u8; 4] = b"WGRP";
/// Magic, length, count, hash of the group before.
const GROUP_HEAD_BYTES: usize = 44;
/// What the length field does not count: the magic and itself.
const BEFORE_LENGTH_BYTES: usize = 8;
const HASH_BYTES: usize = 32;

/// A segment's header, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::control) struct SegmentHeader {
    pub segment: u64,
    pub created_at_ms: u64,
    pub previous: Hash,
}

impl SegmentHeader {
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[0..8].copy_from_slice(SEGMENT_MAGIC);
        out[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&(HEADER_BYTES as u32).to_le_bytes());
        out[16..24].copy_from_slice(&self.segment.to_le_bytes());
        out[24..32].copy_from_slice(&self.created_at_ms.to_le_bytes());
        out[32..64].copy_from_slice(&self.previous);
        let crc = crc(&out[..92]);
        out[92..96].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The hash of the header itself: what a checkpoint knows a segment by.
    pub fn hash(&self) -> Hash {
        sha256(&self.encode())
    }

    /// Reads a header, or says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Err(format!("it has {} bytes, a segment's header has {HEADER_BYTES}", bytes.len()));
        };
        if &bytes[0..8] != SEGMENT_MAGIC {
            return Err("it does not begin like a journal segment".into());
        }
        let version = u32_at(bytes, 8);
        if u32_at(bytes, 92) != crc(&bytes[..92]) {
            return Err("its header does not match its checksum".into());
        }
        if version != FORMAT_VERSION {
            return Err(format!("it has format version {version}, this weir reads {FORMAT_VERSION}; use a newer weir"));
        }
        let mut previous = [0; 32];
        previous.copy_from_slice(&bytes[32..64]);
        Ok(Self { segment: u64_at(bytes, 16), created_at_ms: u64_at(bytes, 24), previous })
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A group being filled.
pub(super) struct GroupBuilder {
    bytes: Vec<u8>,
    entries: u32,
}

impl GroupBuilder {
    pub fn new() -> Self {
        Self::reusing(Vec::new())
    }

    /// The same, in the memory of a group that has been written.
    pub fn reusing(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        bytes.resize(GROUP_HEAD_BYTES, 0);
        Self { bytes, entries: 0 }
    }

    /// Adds an entry that `encode` appends with its length in front.
    pub fn push_encoded(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        encode(&mut self.bytes);
        self.entries += 1;
    }

    pub fn push(&mut self, entry: &EntryV1) {
        self.bytes.extend_from_slice(&(entry.encoded_len() as u32).to_le_bytes());
        entry.encode_raw(&mut self.bytes);
        self.entries += 1;
    }

    /// An entry as it stands in another group.
    pub fn push_raw(&mut self, entry: &[u8]) {
        self.bytes.extend_from_slice(&(entry.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(entry);
        self.entries += 1;
    }

    pub fn entries(&self) -> usize {
        self.entries as usize
    }

    /// Its memory, where nothing comes of it.
    pub fn into_memory(self) -> Vec<u8> {
        self.bytes
    }

    /// Completes the group behind the one with the hash `previous`.
    pub fn seal(mut self, previous: &Hash) -> Group {
        let length = self.bytes.len() - BEFORE_LENGTH_BYTES + HASH_BYTES;
        self.bytes[0..4].copy_from_slice(GROUP_MAGIC);
        self.bytes[4..8].copy_from_slice(&(length as u32).to_le_bytes());
        self.bytes[8..12].copy_from_slice(&self.entries.to_le_bytes());
        self.bytes[12..44].copy_from_slice(previous);
        let hash = sha256(&self.bytes);
        self.bytes.extend_from_slice(&hash);
        Group { bytes: self.bytes, hash, entries: self.entries as usize }
    }
}

/// A complete group.
pub(super) struct Group {
    pub bytes: Vec<u8>,
    pub hash: Hash,
    pub entries: usize,
}

/// A group found intact in a segment.
#[derive(Debug)]
pub(in crate::control) struct IntactGroup<'a> {
    /// Its place in the chain.
    pub hash: Hash,
    /// What it says the hash before it is.
    pub previous: Hash,
    /// Its size, magic to hash.
    pub size: usize,
    count: u32,
    entries: &'a [u8],
}

impl<'a> IntactGroup<'a> {
    /// What must be read to know a group's size.
    pub const HEAD_BYTES: usize = GROUP_HEAD_BYTES;

    /// The size of the group whose head these bytes begin with, as it says itself; `None` if it is no head.
    pub fn size_of(bytes: &[u8]) -> Option<usize> {
        let head = bytes.get(..GROUP_HEAD_BYTES).filter(|head| &head[..4] == GROUP_MAGIC)?;
        Some(BEFORE_LENGTH_BYTES + u32_at(head, 4) as usize)
    }

    /// Checks the group at the start of these bytes.
    pub fn check(bytes: &'a [u8]) -> Result<Self, String> {
        let Some(head) = bytes.get(..GROUP_HEAD_BYTES) else {
            return Err("the file ends within the head of a group".into());
        };
        if &head[0..4] != GROUP_MAGIC {
            return Err("no group begins here".into());
        }
        let size = BEFORE_LENGTH_BYTES + u32_at(head, 4) as usize;
        if size < GROUP_HEAD_BYTES + HASH_BYTES {
            return Err("a group is shorter than it can be".into());
        }
        let Some(whole) = bytes.get(..size) else { return Err("the file ends within a group".into()) };
        let (covered, hash) = whole.split_at(size - HASH_BYTES);
        let computed = sha256(covered);
        if computed != hash {
            return Err("a group does not match its hash".into());
        }
        let mut previous = [0; 32];
        previous.copy_from_slice(&head[12..44]);
        let entries = &covered[GROUP_HEAD_BYTES..];
        Ok(Self { hash: computed, previous, size, count: u32_at(head, 8), entries })
    }

    /// Could a group that begins like this still come?
    pub fn may_begin(bytes: &[u8]) -> bool {
        let known = bytes.len().min(GROUP_MAGIC.len());
        bytes[..known] == GROUP_MAGIC[..known]
    }

    /// The hash before it that the group with this head claims to continue.
    pub fn previous_of(bytes: &[u8]) -> Option<Hash> {
        bytes.get(12..GROUP_HEAD_BYTES)?.try_into().ok()
    }

    /// Do these bytes become a group if only their length field is made to say how many they are?
    pub fn is_whole_but_for_its_length(bytes: &[u8]) -> bool {
        let mut whole = bytes.to_vec();
        let Some(length) = bytes.len().checked_sub(BEFORE_LENGTH_BYTES) else { return false };
        let Some(field) = whole.get_mut(4..8) else { return false };
        field.copy_from_slice(&(length as u32).to_le_bytes());
        IntactGroup::check(&whole).is_ok()
    }

    /// Its entries, as bytes; an error if they do not fill the group exactly.
    pub fn entries(&self) -> Result<Vec<&'a [u8]>, String> {
        let mut rest = self.entries;
        let mut out = Vec::with_capacity((self.count as usize).min(rest.len() / 4));
        while !rest.is_empty() {
            let (length, behind) = rest.split_at_checked(4).ok_or("an entry's length is cut")?;
            let (entry, behind) = behind.split_at_checked(u32_at(length, 0) as usize).ok_or("an entry is cut")?;
            out.push(entry);
            rest = behind;
        }
        if out.len() != self.count as usize {
            return Err(format!("a group announces {} entries and holds {}", self.count, out.len()));
        }
        Ok(out)
    }
}

/// Is there a whole group anywhere in these bytes? Behind a torn tail there is none; behind damage there is.
pub(super) fn any_intact_group(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, GROUP_MAGIC).any(|at| IntactGroup::check(&bytes[at..]).is_ok())
}

/// Hashes bytes.
fn sha256(bytes: &[u8]) -> Hash {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}
