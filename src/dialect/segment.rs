//! One segment of a raw path (contract.md §1.6): a path is split while it is raw, and only the captured segment is decoded.

use std::borrow::Cow;

/// What a segment says. `None`: bad escapes, no UTF-8, a control character, or dot segments, which somebody behind us might
/// resolve.
pub fn decode(raw: &[u8]) -> Option<Cow<'_, str>> {
    let text = if memchr::memchr(b'%', raw).is_none() {
        Cow::Borrowed(std::str::from_utf8(raw).ok()?)
    } else {
        let mut out = Vec::with_capacity(raw.len());
        let mut rest = raw;
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            if *byte == b'%' {
                let (digits, tail) = rest.split_at_checked(2)?;
                let digit = |at: usize| digits.get(at).and_then(|d| char::from(*d).to_digit(16));
                out.push((digit(0)? * 16 + digit(1)?) as u8);
                rest = tail;
            } else {
                out.push(*byte);
            }
        }
        Cow::Owned(String::from_utf8(out).ok()?)
    };
    let sound = !text.is_empty()
        && !text.bytes().any(|b| b.is_ascii_control())
        && !text.split('/').any(|part| matches!(part, "." | ".."));
    sound.then_some(text)
}

/// Writes a model id as a segment, as the providers' own SDKs do: `:` and `@` stay raw, `/` does not.
pub fn encode(out: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";

    #[test]
    fn an_arn_survives_its_encoding_and_both_spellings_of_a_colon_mean_one_model() {
        let mut raw = Vec::new();
        encode(&mut raw, ARN);
        assert_eq!(raw, b"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile%2Fabc123");
        assert_eq!(decode(&raw).as_deref(), Some(ARN));
        for raw in ["claude-x-v1:0", "claude-x-v1%3A0", "claude-x-v1%3a0"] {
            assert_eq!(decode(raw.as_bytes()).as_deref(), Some("claude-x-v1:0"));
        }
        assert_eq!(decode(b"claude-x%4020250929").as_deref(), Some("claude-x@20250929"));
    }

    #[test]
    fn a_segment_that_another_server_might_resolve_is_refused() {
        for raw in ["..", ".", "%2e%2e", "a%2F..%2Fb", "%2E", "a%2f.", "", "%", "%4", "%zz", "%ff", "a%0d%0ab", "a%00"]
        {
            assert_eq!(decode(raw.as_bytes()), None, "{raw}");
        }
        assert_eq!(decode(b"a..b").as_deref(), Some("a..b"));
    }
}
