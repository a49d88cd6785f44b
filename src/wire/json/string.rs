//! What JSON strings say.

use std::borrow::Cow;

/// What a raw JSON string says, with all escapes resolved. `None` unless `raw_with_quotes` is exactly one valid JSON
/// string: lone surrogates, raw control characters and invalid UTF-8 are none.
pub fn unescape_string(raw_with_quotes: &[u8]) -> Option<Cow<'_, str>> {
    let inside = raw_with_quotes.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
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
