//! Ed25519 keys in files: PKCS#8 and SubjectPublicKeyInfo (RFC 8410), as PEM or DER, as `openssl genpkey -algorithm ed25519`
//! writes them.

use super::{AuditError, failed};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// SubjectPublicKeyInfo of an Ed25519 key, up to the key's 32 bytes (RFC 8410 §4).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
const PEM_MARK: &[u8] = b"-----BEGIN";
const PEM_LINE: usize = 64;

/// A key that signs checkpoints.
pub struct SigningKey(Ed25519KeyPair);

/// A key that checks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub(super) [u8; 32]);

impl SigningKey {
    /// Reads a private key.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let bytes = fs::read(path).map_err(|error| failed("read the private key", path, error))?;
        let wrong = || {
            let what = "is no Ed25519 private key in PKCS#8, PEM or DER; make one with `weir audit keygen`";
            AuditError::Other(format!("{} {what}", path.display()))
        };
        let pair = if is_pem(&bytes) {
            let der = PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|_| wrong())?;
            Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der())
        } else {
            Ed25519KeyPair::from_pkcs8(&bytes)
        };
        pair.map(Self).map_err(|_| wrong())
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AuditError> {
        let signature = self.0.try_sign(message);
        let signature = signature.map_err(|_| AuditError::Other("the private key does not sign".into()))?;
        Ok(signature.as_ref().to_vec())
    }
}

impl PublicKey {
    /// Reads a public key.
    pub fn read(path: &Path) -> Result<Self, AuditError> {
        let bytes = fs::read(path).map_err(|error| failed("read the public key", path, error))?;
        let pem = is_pem(&bytes).then(|| SubjectPublicKeyInfoDer::from_pem_slice(&bytes).ok()).flatten();
        let der = pem.as_ref().map_or(&bytes[..], |der| der.as_ref());
        der.strip_prefix(&SPKI_PREFIX).and_then(|key| key.try_into().ok()).map(Self).ok_or_else(|| {
            let what = "is no Ed25519 public key, PEM or DER; it is the file of `weir audit keygen --out-public`";
            AuditError::Other(format!("{} {what}", path.display()))
        })
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

/// Makes a pair of keys, as PEM; the private one is readable by its owner alone. Neither file may be there already.
pub fn generate_keys(private: &Path, public: &Path) -> Result<PublicKey, AuditError> {
    let random = SystemRandom::new();
    let made = Ed25519KeyPair::generate_pkcs8v1(&random).ok();
    let document = made.ok_or_else(|| AuditError::Other("the system gives no randomness for a key".into()))?;
    let pair = Ed25519KeyPair::from_pkcs8(document.as_ref());
    let key = SigningKey(pair.map_err(|_| AuditError::Other("the key just made does not work".into()))?);
    let info = [&SPKI_PREFIX[..], &key.public().0].concat();
    write_new(private, &pem("PRIVATE KEY", document.as_ref()), 0o600)?;
    write_new(public, &pem("PUBLIC KEY", &info), 0o644)?;
    Ok(key.public())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), AuditError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|error| failed("write the key", path, error))
}

fn is_pem(bytes: &[u8]) -> bool {
    bytes.windows(PEM_MARK.len()).any(|window| window == PEM_MARK)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(PEM_LINE) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out + &format!("-----END {label}-----\n")
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let digit = ALPHABET[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    out
}
