//! What JSON strings say.

use fearless_simd::{Level, dispatch, prelude::*, u8x16};
use std::borrow::Cow;

/// Bytes of a text looked at together, by the vectors that every machine has: nearly all are keys and short words.
const STEP_BYTES: usize = 16;

/// The text of a string of printable ASCII without escapes, given from behind its opening quote. `None` if it is written
/// otherwise, or does not end.
#[inline]
pub fn plain_text(rest: &[u8]) -> Option<&[u8]> {
    let odd = |byte: &u8| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\');
    let (steps, tail) = rest.as_chunks::<STEP_BYTES>();
    let mut len = 0;
    for step in steps {
        let odd = dispatch!(Level::baseline(), simd => {
            let bytes = u8x16::simd_from(simd, *step);
            let unprintable = bytes.simd_lt(b' ') | bytes.simd_gt(b'~');
            (unprintable | bytes.simd_eq(b'"') | bytes.simd_eq(b'\\')).to_bitmask()
        });
        if odd != 0 {
            len += odd.trailing_zeros() as usize;
            return rest.get(..len).filter(|_| rest.get(len) == Some(&b'"'));
        }
        len += STEP_BYTES;
    }
    len += tail.iter().position(odd)?;
    rest.get(..len).filter(|_| rest.get(len) == Some(&b'"'))
}

/// What a raw JSON string says, with all escapes resolved. `None` unless `raw_with_quotes` is exactly one valid JSON
/// string: lone surrogates, raw control characters and invalid UTF-8 are none.
pub fn unescape_string(raw_with_quotes: &[u8]) -> Option<Cow<'_, str>> {
    let rest = raw_with_quotes.strip_prefix(b"\"")?;
    if let Some(text) = plain_text(rest).filter(|text| text.len() + 1 == rest.len()) {
        return std::str::from_utf8(text).ok().map(Cow::Borrowed);
    }
    let inside = rest.strip_suffix(b"\"")?;
    if memchr::memchr(b'\\', inside).is_none() {
        let plain = !inside.iter().any(|byte| *byte < b' ' || *byte == b'"');
        return if plain { std::str::from_utf8(inside).ok().map(Cow::Borrowed) } else { None };
    }
    let mut text = Vec::with_capacity(inside.len());
    unescape_into(inside, &mut text)?;
    String::from_utf8(text).ok().map(Cow::Owned)
}

/// Appends what the inside of a string says to `text`, which never grows by more than `inside.len()`.
pub(super) fn unescape_into(inside: &[u8], text: &mut Vec<u8>) -> Option<()> {
    let mut rest = inside;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'\\' => rest = unescape_one(rest, text)?,
            b'"' | 0..=0x1f => return None,
            byte => text.push(*byte),
        }
    }
    Some(())
}

/// Resolves the escape whose backslash came before `rest`; returns what follows it.
fn unescape_one<'r>(rest: &'r [u8], text: &mut Vec<u8>) -> Option<&'r [u8]> {
    let (kind, rest) = rest.split_first()?;
    let byte = match kind {
        b'"' | b'\\' | b'/' => *kind,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'u' => {
            let (first, mut rest) = hex4(rest)?;
            let code = if (0xd800..0xdc00).contains(&first) {
                let (second, tail) = hex4(rest.strip_prefix(b"\\u")?)?;
                rest = tail;
                let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                0x10000 + ((first - 0xd800) << 10) + low
            } else {
                first
            };
            // A lone low surrogate is no `char`.
            let letter = char::from_u32(code)?;
            text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    };
    text.push(byte);
    Some(rest)
}

fn hex4(rest: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = rest.split_at_checked(4)?;
    let code = digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))?;
    Some((code, rest))
}
