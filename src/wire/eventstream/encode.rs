//! Frames of our own.

use super::{CHECKSUM_BYTES, PRELUDE_BYTES};

/// Appends a frame with string headers. Names and values that do not fit their length fields are cut: ours are constants,
/// far below the 255 and 65,535 bytes that fit.
pub fn encode(out: &mut Vec<u8>, headers: &[(&str, &str)], payload: &[u8]) {
    let start = out.len();
    out.extend_from_slice(&[0; PRELUDE_BYTES]);
    for (name, value) in headers {
        let name = name.as_bytes().get(..255).unwrap_or(name.as_bytes());
        let value = value.as_bytes().get(..65_535).unwrap_or(value.as_bytes());
        out.push(name.len() as u8);
        out.extend_from_slice(name);
        out.push(7);
        out.extend_from_slice(&(value.len() as u16).to_be_bytes());
        out.extend_from_slice(value);
    }
    let headers_len = (out.len() - start - PRELUDE_BYTES) as u32;
    out.extend_from_slice(payload);
    let total = (out.len() - start + CHECKSUM_BYTES) as u32;
    let (lengths, checksum) = (start..start + 8, start + 8..start + PRELUDE_BYTES);
    if let Some(place) = out.get_mut(lengths.clone()) {
        place[..4].copy_from_slice(&total.to_be_bytes());
        place[4..].copy_from_slice(&headers_len.to_be_bytes());
    }
    let prelude = crc32fast::hash(out.get(lengths).unwrap_or_default());
    if let Some(place) = out.get_mut(checksum) {
        place.copy_from_slice(&prelude.to_be_bytes());
    }
    let message = crc32fast::hash(out.get(start..).unwrap_or_default());
    out.extend_from_slice(&message.to_be_bytes());
}
