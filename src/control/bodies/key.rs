//! The keys of bodies: one that encrypts, and as many as there ever were to read.

use crate::kernel::secret::Secret;
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use std::path::Path;

/// Bytes of a key.
const KEY_BYTES: usize = 32;
/// A key file, at most. Bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Which key: the first 8 bytes of a SHA-256 of it and a label, so that it tells nothing of the key.
pub type KeyId = [u8; 8];

/// The key that data keys are wrapped with (`audit.body_key`).
#[derive(Clone, PartialEq, Eq)]
pub struct BodyKey {
    secret: Secret<[u8; KEY_BYTES]>,
    id: KeyId,
}

impl BodyKey {
    /// Reads a key of 32 bytes, written as 64 hexadecimal digits or as base64. No error shows any of it.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES { unhex(text) } else { unbase64(text) };
        let bytes: [u8; KEY_BYTES] = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or("is no key: 32 random bytes are wanted, as 64 hexadecimal digits or in base64 (44 characters)")?;
        Ok(Self::new(bytes))
    }

    /// A key of these bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        let named = digest(&SHA256, &[b"weir body key id\0", &bytes[..]].concat());
        let mut id = [0; 8];
        id.copy_from_slice(&named.as_ref()[..8]);
        Self { secret: Secret::new(bytes), id }
    }

    /// Which key it is.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Encrypts with it. `None` only if the library refuses.
    pub(super) fn cipher(&self) -> Option<Cipher> {
        Cipher::new(self.secret.expose())
    }
}

/// Keys to read with.
pub struct KeyRing(Vec<BodyKey>);

impl KeyRing {
    /// These keys.
    pub fn of(keys: Vec<BodyKey>) -> Self {
        Self(keys)
    }

    /// Reads a file with a key on each line; empty lines and lines that begin with `#` are passed by.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: String| format!("the key file {}: {error}", path.display());
        let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
        if length > FILE_BYTES_MAX {
            return Err(failed("is larger than 64 KiB".into()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<_>, _> = lines
            .map(|(place, line)| BodyKey::parse(line).map_err(|error| failed(format!("line {}: {error}", place + 1))))
            .collect();
        match keys? {
            keys if keys.is_empty() => Err(failed("holds no key".into())),
            keys => Ok(Self(keys)),
        }
    }

    /// The key of an id.
    pub fn find(&self, id: KeyId) -> Option<&BodyKey> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({} keys)", self.0.len())
    }
}

/// An AES-256-GCM key in use. Whoever seals gives each nonce once.
pub(super) struct Cipher(LessSafeKey);

impl Cipher {
    pub fn new(key: &[u8; KEY_BYTES]) -> Option<Self> {
        UnboundKey::new(&AES_256_GCM, key).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// Encrypts in place and adds the tag.
    pub fn seal(&self, nonce: [u8; NONCE_LEN], about: &[u8], bytes: &mut Vec<u8>) -> Option<()> {
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(about), bytes).ok()
    }

    /// Decrypts in place; `None` if a bit of it, of `about` or of the nonce is not what was sealed.
    pub fn open<'b>(&self, nonce: [u8; NONCE_LEN], about: &[u8], bytes: &'b mut [u8]) -> Option<&'b [u8]> {
        self.0.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(about), bytes).ok().map(|opened| &*opened)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    let plain = text.bytes().all(|b| b.is_ascii_hexdigit());
    plain.then(|| pairs.map(|p| u8::from_str_radix(std::str::from_utf8(p).ok()?, 16).ok()).collect()).flatten()
}

/// Standard base64 and its URL form, with or without padding.
fn unbase64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut held) = (Vec::new(), 0u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
            bits &= (1 << held) - 1;
        }
    }
    (bits == 0 && held < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_another_writing_is_another_key_or_half_a_key_is_one() {
        let hex = "00".repeat(31) + "ff";
        let base64 = "A".repeat(41) + "P8";
        let key = BodyKey::parse(&hex).unwrap_or_else(|error| panic!("{error}"));
        for text in [format!(" {} \n", hex.to_uppercase()), base64.clone(), format!("{base64}=")] {
            assert!(BodyKey::parse(&text).is_ok_and(|other| other.id() == key.id()), "{text}");
        }
        for wrong in ["", "secret", &hex[1..], &format!("{hex}00"), &hex.replace("ff", "fg"), &base64[1..]] {
            assert!(BodyKey::parse(wrong).is_err(), "{wrong}");
        }
        assert!(BodyKey::new([1; 32]).id() != key.id());
    }
}
