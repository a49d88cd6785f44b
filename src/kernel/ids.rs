//! Newtypes for everything that is numbered, so that two numbers cannot be swapped.

use super::{routing::hash::mix, time::UnixMs};
use std::{
    fmt,
    hash::{BuildHasherDefault, Hasher},
};

/// Number of a shard, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

/// A principal's place in the process-wide, append-only table of principals (see `Principals`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PrincipalId(pub u32);

/// Position of an upstream in one snapshot's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamIx(pub u16);

/// Position of a key in one snapshot's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIx(pub u32);

/// Version of a snapshot; grows by one with every publication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotVersion(pub u64);

/// Identity of one request, unique across shards, restarts and machines: 48 bits of Unix milliseconds, 16 bits of shard,
/// 64 bits drawn at start and counted up. Sorts by time. It is the key that makes journal replay idempotent.
///
/// Aligned as a word is: a future or a record that holds one would have to be allocated at a multiple of 16, which takes the
/// allocator longer and more memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(Rust, packed(8))]
pub struct RequestId(pub u128);

impl RequestId {
    /// Length of the printed form: `req_` and 32 hexadecimal digits.
    pub const TEXT_LEN: usize = 36;

    /// Puts an id together.
    pub fn new(unix_ms: u64, shard: ShardId, sequence: u64) -> Self {
        Self((u128::from(unix_ms & 0xffff_ffff_ffff) << 80) | (u128::from(shard.0) << 64) | u128::from(sequence))
    }

    /// The moment it was put together at.
    pub fn began_at(self) -> UnixMs {
        UnixMs((self.0 >> 80) as u64)
    }

    /// The printed form, without allocation.
    pub fn text(self) -> [u8; Self::TEXT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = *b"req_00000000000000000000000000000000";
        for (place, byte) in self.0.to_be_bytes().iter().enumerate() {
            out[4 + place * 2] = DIGITS[usize::from(byte >> 4)];
            out[5 + place * 2] = DIGITS[usize::from(byte & 15)];
        }
        out
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req_{:032x}", { self.0 })
    }
}

/// For tables of numbers that weir itself gives out: no stranger chooses them, so that nothing needs to be keyed.
pub type Mixing = BuildHasherDefault<MixingHasher>;

/// Mixes numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct MixingHasher(u64);

impl Hasher for MixingHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = super::routing::hash::bytes(self.0, bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.write_u64(u64::from(number));
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0, number);
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = mix(mix(self.0, number as u64), (number >> 64) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_forms_agree() {
        let id = RequestId::new(1_763_000_000_123, ShardId(3), 0xdead_beef);
        assert_eq!(std::str::from_utf8(&id.text()).unwrap(), id.to_string());
        assert!(RequestId::new(2, ShardId(0), 0) > RequestId::new(1, ShardId(9), u64::MAX));
    }
}
