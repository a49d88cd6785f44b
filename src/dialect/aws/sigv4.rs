//! Signature Version 4 (contract.md §5.2), for the services that encode paths twice: all but S3.
//!
//! Sans-io: a head that is whole but for its framing, the payload's hash and the time go in; the lines that prove it come out,
//! on the same head. It signs what it finds on the wire, so nothing that builds a head need know of it. Deliberately absent:
//! query signatures, chunk signatures and unsigned payloads, none of which Bedrock takes.

use crate::kernel::{
    credential::{AwsKeys, SigningScope},
    secret::Secret,
};
use aws_lc_rs::{digest, hmac};
use std::borrow::Cow;

/// A time as signatures write it, `20261121T130601Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmzTime([u8; 16]);

impl AmzTime {
    /// Seconds since the epoch as such a time; what has no such form is the epoch itself.
    pub fn of(unix_seconds: i64) -> Self {
        let at = jiff::Timestamp::from_second(unix_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let text = at.strftime("%Y%m%dT%H%M%SZ").to_string();
        Self(text.as_bytes().try_into().unwrap_or(*b"19700101T000000Z"))
    }

    fn date(&self) -> &[u8] {
        &self.0[..8]
    }
}

/// A key for one day, region and service.
pub struct SigningKey {
    date: [u8; 8],
    key: hmac::Key,
}

impl SigningKey {
    /// Derives it: four HMACs.
    pub fn derive(secret: &Secret<Box<str>>, scope: &SigningScope, time: AmzTime) -> Self {
        let mut first = Vec::with_capacity(64);
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.expose().as_bytes());
        let mut date = [0; 8];
        date.copy_from_slice(time.date());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
        for part in [&date[..], scope.region.as_bytes(), scope.service.as_bytes(), b"aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part).as_ref());
        }
        Self { date, key }
    }

    /// Is it the key of that day?
    pub fn is_for(&self, time: AmzTime) -> bool {
        self.date == *time.date()
    }
}

/// What a request is signed with.
pub struct Signing<'a> {
    /// Whose signature.
    pub keys: &'a AwsKeys,
    /// What it is good for.
    pub scope: &'a SigningScope,
    /// Derived from both, for the day of `time`.
    pub key: &'a SigningKey,
    /// When; the provider allows some minutes of difference.
    pub time: AmzTime,
    /// SHA-256 of the body as it will be sent.
    pub payload_sha256: &'a [u8],
}

/// Appends the lines that prove a head: `x-amz-date`, `x-amz-security-token` for temporary keys, `authorization`. The head is
/// a request line and header lines, each with its line end; of them `host`, `content-type`, `anthropic-*`, `x-amz-*` and
/// `x-amzn-*` are signed, the rest may be changed on the way.
pub fn sign(head: &mut Vec<u8>, with: &Signing<'_>) {
    push_line(head, b"x-amz-date", &with.time.0);
    if let Some(token) = &with.keys.session_token {
        push_line(head, b"x-amz-security-token", token.expose().as_bytes());
    }
    let (canonical, signed_names) = canonical(head, with.payload_sha256);
    let mut scope = Vec::with_capacity(64);
    for part in [with.time.date(), with.scope.region.as_bytes(), with.scope.service.as_bytes()] {
        scope.extend_from_slice(part);
        scope.push(b'/');
    }
    scope.extend_from_slice(b"aws4_request");
    let mut to_sign = Vec::with_capacity(192);
    for part in [b"AWS4-HMAC-SHA256".as_slice(), &with.time.0, &scope] {
        to_sign.extend_from_slice(part);
        to_sign.push(b'\n');
    }
    push_hex(&mut to_sign, digest::digest(&digest::SHA256, &canonical).as_ref());
    let signature = hmac::sign(&with.key.key, &to_sign);
    head.extend_from_slice(b"authorization: AWS4-HMAC-SHA256 Credential=");
    head.extend_from_slice(with.keys.access_key_id.as_bytes());
    head.push(b'/');
    head.extend_from_slice(&scope);
    head.extend_from_slice(b", SignedHeaders=");
    head.extend_from_slice(&signed_names);
    head.extend_from_slice(b", Signature=");
    push_hex(head, signature.as_ref());
    head.extend_from_slice(b"\r\n");
}

/// The canonical request, and the names of the headers in it.
fn canonical(head: &[u8], payload_sha256: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut lines = lines(head);
    let mut request_line = lines.next().unwrap_or_default().split(|b| *b == b' ');
    let method = request_line.next().unwrap_or_default();
    let target = request_line.next().unwrap_or_default();
    let (path, query) = match memchr::memchr(b'?', target) {
        Some(at) => (&target[..at], &target[at + 1..]),
        None => (target, &[][..]),
    };
    let mut headers: Vec<(Vec<u8>, &[u8])> = lines
        .filter_map(|line| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let name = name.to_ascii_lowercase();
            is_signed(&name).then(|| (name, value[1..].trim_ascii()))
        })
        .collect();
    // Stable: values of one name keep their order.
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    let mut out = Vec::with_capacity(head.len() + 256);
    out.extend_from_slice(method);
    out.push(b'\n');
    push_path(&mut out, path);
    out.push(b'\n');
    push_query(&mut out, query);
    out.push(b'\n');
    let mut names = Vec::with_capacity(128);
    let mut last: Option<&[u8]> = None;
    for (name, value) in &headers {
        if last == Some(name) {
            // One line for each name, its values joined.
            out.pop();
            out.push(b',');
        } else {
            if last.is_some() {
                names.push(b';');
            }
            names.extend_from_slice(name);
            out.extend_from_slice(name);
            out.push(b':');
        }
        push_value(&mut out, value);
        out.push(b'\n');
        last = Some(name);
    }
    out.push(b'\n');
    out.extend_from_slice(&names);
    out.push(b'\n');
    push_hex(&mut out, payload_sha256);
    (out, names)
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn is_signed(name: &[u8]) -> bool {
    matches!(name, b"host" | b"content-type")
        || name.starts_with(b"anthropic-")
        || name.starts_with(b"x-amz-")
        || (name.starts_with(b"x-amzn-") && name != b"x-amzn-trace-id")
}

/// The path without dot segments and doubled slashes, percent-encoded once more than it is on the wire.
fn push_path(out: &mut Vec<u8>, path: &[u8]) {
    if path.is_empty() {
        out.push(b'/');
        return;
    }
    if !path.contains(&b'.') && memchr::memmem::find(path, b"//").is_none() {
        push_encoded(out, path, true);
        return;
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in path.split(|b| *b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    for segment in &kept {
        out.push(b'/');
        push_encoded(out, segment, true);
    }
    let open = [&b"/"[..], b"/.", b"/.."].iter().any(|end| path.ends_with(end));
    if kept.is_empty() || open {
        out.push(b'/');
    }
}

/// Parameters decoded, encoded the one way that counts, and sorted.
fn push_query(out: &mut Vec<u8>, query: &[u8]) {
    let mut parameters: Vec<Vec<u8>> = query
        .split(|b| *b == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = memchr::memchr(b'=', pair);
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            let mut encoded = Vec::with_capacity(pair.len() + 8);
            push_encoded(&mut encoded, &decoded(name), false);
            encoded.push(b'=');
            push_encoded(&mut encoded, &decoded(value), false);
            encoded
        })
        .collect();
    // By name, then by value: `=` must not take part in the comparison.
    parameters.sort_by(|a, b| {
        let cut = |p: &[u8]| memchr::memchr(b'=', p).unwrap_or(p.len());
        let (a_at, b_at) = (cut(a), cut(b));
        (&a[..a_at], &a[a_at..]).cmp(&(&b[..b_at], &b[b_at..]))
    });
    for (place, parameter) in parameters.iter().enumerate() {
        if place > 0 {
            out.push(b'&');
        }
        out.extend_from_slice(parameter);
    }
}

fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|b| matches!(b, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let nibble = |b: Option<&u8>| b.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match (byte, nibble(text.get(at + 1)), nibble(text.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', _, _) => out.push(b' '),
            (other, _, _) => out.push(*other),
        }
        at += 1;
    }
    Cow::Owned(out)
}

fn push_encoded(out: &mut Vec<u8>, text: &[u8], keep_slash: bool) {
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(*byte),
            b'/' if keep_slash => out.push(b'/'),
            other => out.extend_from_slice(&[b'%', UPPER[usize::from(other >> 4)], UPPER[usize::from(other & 15)]]),
        }
    }
}

/// A value with its inner runs of spaces made one.
fn push_value(out: &mut Vec<u8>, value: &[u8]) {
    let mut space = false;
    for byte in value {
        if *byte != b' ' || !space {
            out.push(*byte);
        }
        space = *byte == b' ';
    }
}

fn push_line(head: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(part);
    }
}

const UPPER: &[u8; 16] = b"0123456789ABCDEF";
const LOWER: &[u8; 16] = b"0123456789abcdef";

fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        out.extend_from_slice(&[LOWER[usize::from(byte >> 4)], LOWER[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests;
