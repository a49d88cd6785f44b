//! Checkpoints: signed words about how far the journal had come, to be kept where the journal's writer cannot reach.

use super::{
    AuditError, Progress, PublicKey, SigningKey, VerifyError, VerifyOptions, failed, hash_of, hex, settle, unhex,
    verify, write_whole,
};
use crate::{
    control::journal::{ChainPlace, GroupPlace, HEADER_BYTES, SegmentHeader},
    kernel::time::UnixMs,
};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// Version of the document.
const VERSION: u32 = 1;
/// What is signed begins with this, so that a signature for something else is none for a checkpoint.
const SIGNED_PREFIX: &[u8] = b"weir journal checkpoint\n";
/// A larger file is no checkpoint. Bytes.
const DOCUMENT_BYTES_MAX: usize = 64 * 1024;

/// Where the journal had come to. Hashes are hexadecimal SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Version of this document, 1.
    pub weir_checkpoint: u32,
    /// First segment there was.
    pub first_segment: u64,
    /// Hash of that segment's header: which store this is.
    pub first_segment_hash: String,
    /// Last segment there was.
    pub segment: u64,
    /// Where its last whole group ended. Bytes.
    pub offset: u64,
    /// Hash of that group.
    pub group_hash: String,
    /// When the checkpoint was taken, RFC 3339.
    pub time: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    checkpoint: Checkpoint,
    /// For people; what counts is the key that the verifier brings.
    public_key: String,
    signature: String,
}

/// Proves the chain as it is, and writes a signed checkpoint of its end.
pub fn take_checkpoint(
    store: &Path,
    key: &SigningKey,
    out: &Path,
    now: UnixMs,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Checkpoint, VerifyError> {
    let options = VerifyOptions { store: store.into(), checkpoint: None, aged_out: false, body_keys: None };
    let proven = verify(&options, progress)?;
    if proven.segments == 0 {
        return Err(AuditError::Other("the journal has no complete segment yet; nothing to sign".into()).into());
    }
    settle(store, proven.last_segment)?;
    let checkpoint = Checkpoint {
        weir_checkpoint: VERSION,
        first_segment: proven.first_segment,
        first_segment_hash: hex(&proven.first_header),
        segment: proven.last_segment,
        offset: proven.last_offset,
        group_hash: proven.last_hash,
        time: now.rfc3339(),
    };
    let signed = Signed {
        public_key: hex(&key.public().0),
        signature: hex(&key.sign(&checkpoint.signed_bytes()?)?),
        checkpoint: checkpoint.clone(),
    };
    let mut text = serde_json::to_vec_pretty(&signed).map_err(|error| failed("write", out, error))?;
    text.push(b'\n');
    write_whole(out, &text).map_err(|error| failed("write", out, error))?;
    Ok(checkpoint)
}

/// Reads a checkpoint and checks its signature.
pub fn read_checkpoint(path: &Path, key: &PublicKey) -> Result<Checkpoint, AuditError> {
    let bytes = fs::read(path).map_err(|error| failed("read", path, error))?;
    let wrong = |why: &str| AuditError::Other(format!("{} is no checkpoint to rely on: {why}", path.display()));
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return Err(wrong("it is too large"));
    }
    let signed: Signed = serde_json::from_slice(&bytes).map_err(|error| wrong(&error.to_string()))?;
    let signature = unhex(&signed.signature).ok_or_else(|| wrong("its signature is not hexadecimal"))?;
    let checkpoint = signed.checkpoint;
    if !key.verifies(&checkpoint.signed_bytes()?, &signature) {
        return Err(wrong("its signature does not match this public key: it was changed, or another key signed it"));
    }
    if checkpoint.weir_checkpoint != VERSION {
        return Err(wrong(&format!("it has version {}, this weir reads {VERSION}", checkpoint.weir_checkpoint)));
    }
    if hash_of(&checkpoint.group_hash).is_none() || hash_of(&checkpoint.first_segment_hash).is_none() {
        return Err(wrong("its hashes are no SHA-256"));
    }
    Ok(checkpoint)
}

impl Checkpoint {
    fn signed_bytes(&self) -> Result<Vec<u8>, AuditError> {
        let mut bytes = SIGNED_PREFIX.to_vec();
        let written = serde_json::to_writer(&mut bytes, self);
        written.map_err(|error| AuditError::Other(format!("cannot put a checkpoint into JSON: {error}")))?;
        Ok(bytes)
    }

    /// Looks at a segment's header; true if it proves the checkpoint, an error if it refutes it.
    pub(super) fn segment(
        &self,
        header: &SegmentHeader,
        first: bool,
        aged_out: bool,
        met: bool,
    ) -> Result<bool, String> {
        let of = format!("the checkpoint of {}", self.time);
        if first && header.segment > self.first_segment && !aged_out {
            let (from, to) = (self.first_segment, header.segment - 1);
            return Err(format!(
                "segments {from} to {to}, which {of} knew, are gone. If audit.retention has dropped them, say --aged-out"
            ));
        }
        if header.segment == self.first_segment && hex(&header.hash()) != self.first_segment_hash {
            return Err(format!("it is not the segment that {of} began with: another store, or written anew"));
        }
        let continues = hex(&header.previous) == self.group_hash;
        if met || header.segment < self.segment {
            return Ok(false);
        }
        if header.segment == self.segment {
            return match (self.offset == HEADER_BYTES as u64, continues) {
                (true, true) => Ok(true),
                (true, false) => Err(format!("it does not continue the group that {of} knew: written anew")),
                (false, _) => Ok(false),
            };
        }
        match (first, continues && header.segment == self.segment + 1) {
            (true, true) => Ok(true),
            (true, false) => Err(format!(
                "{of} ended in segment {}, which is gone: it proves nothing any more; use a later one",
                self.segment
            )),
            (false, _) => Err(format!(
                "segment {} should reach byte {}, as {of} says; it ends before: cut and written anew",
                self.segment, self.offset
            )),
        }
    }

    /// Looks at a group; true if it proves the checkpoint, an error if it refutes it.
    pub(super) fn group(&self, place: &GroupPlace) -> Result<bool, String> {
        if place.segment != self.segment || place.end < self.offset {
            return Ok(false);
        }
        let of = format!("the checkpoint of {}", self.time);
        if place.end > self.offset {
            return Err(format!("{of} knew a group that ended at byte {}; none does: written anew", self.offset));
        }
        if hex(&place.hash) != self.group_hash {
            return Err(format!("{of} knew another group here: written anew"));
        }
        Ok(true)
    }

    /// What to say of a journal that ended before the checkpoint's place.
    pub(super) fn ends_before(&self, end: &ChainPlace) -> String {
        format!(
            "the journal ends here, in segment {}; the checkpoint of {} knew it up to segment {}, byte {}: its end was cut off",
            end.segment, self.time, self.segment, self.offset
        )
    }

    /// What to say of a journal that contains what the checkpoint knew.
    pub(super) fn holds(&self) -> String {
        format!(
            "the checkpoint of {} holds: everything up to segment {}, byte {} is as it was then",
            self.time, self.segment, self.offset
        )
    }
}
