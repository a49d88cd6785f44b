//! Texts that stand in nearly every entry, written shorter. What an entry takes is copied, hashed and put on disk for every request.
//!
//! - A session id that is a UUID, as Claude Code's are, is its 16 bytes instead of 36.
//! - Usage objects are JSON in which providers repeat the same words: each of these is one byte, one of the control characters
//!   that JSON never has. Everything else stands as it came, so that the text comes back byte for byte.

use crate::kernel::record::{Label, inline};

const WORDS_COUNT: usize = 22;

/// The words. A word's byte on disk follows from its place here (`code`): new words go to the end, and none leaves. In the order
/// in which providers write them, since that is how the next one is found.
static WORDS: [&str; WORDS_COUNT] = [
    "\"message_start\":",
    "\"input_tokens\":",
    "\"cache_creation_input_tokens\":",
    "\"cache_read_input_tokens\":",
    "\"cache_creation\":",
    "\"ephemeral_5m_input_tokens\":",
    "\"ephemeral_1h_input_tokens\":",
    "\"output_tokens\":",
    "\"service_tier\":",
    "\"standard\"",
    "\"inference_geo\":",
    "\"not_available\"",
    "\"message_delta\":",
    "\"server_tool_use\":",
    "\"web_search_requests\":",
    "\"web_fetch_requests\":",
    "\"iterations\":",
    "\"type\":",
    "\"message\"",
    "\"global\"",
    "\"speed\":",
    "\"fallback\":",
];

/// Control characters that JSON may have between its tokens are no words: 1 to 8, then 14 to 31.
const fn code(place: usize) -> u8 {
    (if place < 8 { place + 1 } else { place + 6 }) as u8
}

const fn place(byte: u8) -> Option<usize> {
    match byte {
        1..=8 => Some(byte as usize - 1),
        14..=31 => Some(byte as usize - 6),
        _ => None,
    }
}

const _: () = assert!(code(WORDS_COUNT - 1) < b' ', "there is a byte for every word");

/// Appends a text with its words as bytes; false, and nothing is appended, where it has such bytes itself or is empty.
pub(super) fn shorten(text: &str, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let (mut rest, mut expected) = (text.as_bytes(), 0);
    while !rest.is_empty() {
        // What stands between two words is a few bytes: a number, and what parts it from the next.
        let between = rest.iter().position(|byte| *byte == b'"' || place(*byte).is_some()).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..between]);
        rest = &rest[between..];
        let Some(byte) = rest.first() else { break };
        if *byte != b'"' {
            out.truncate(start);
            return false;
        }
        let is_next = |place: &usize| WORDS.get(*place).is_some_and(|word| rest.starts_with(word.as_bytes()));
        let found = Some(expected).filter(is_next).or_else(|| (0..WORDS_COUNT).find(is_next));
        if let Some(place) = found {
            out.push(code(place));
            rest = &rest[WORDS[place].len()..];
            expected = place + 1;
        } else {
            out.push(*byte);
            rest = &rest[1..];
        }
    }
    out.len() > start
}

/// The text that was shortened; the byte of a word that this version does not know is an error.
pub(super) fn lengthen(short: &[u8]) -> Result<Box<str>, u8> {
    let mut text = Vec::with_capacity(short.len() * 8);
    for byte in short {
        match place(*byte).map(|place| WORDS.get(place)) {
            Some(Some(word)) => text.extend_from_slice(word.as_bytes()),
            Some(None) => return Err(*byte),
            None => text.push(*byte),
        }
    }
    Ok(String::from_utf8_lossy(&text).into())
}

/// Where a UUID has its dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];
const UUID_CHARS: usize = 36;
/// Where the two digits of each of its bytes begin.
const BYTES_AT: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// What a character is worth as a digit of a UUID; more than 15 for one that is none.
static DIGITS: [u8; 256] = digits();

const fn digits() -> [u8; 256] {
    let mut digits = [u8::MAX; 256];
    let mut digit = 0;
    while digit < 16 {
        digits[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    digits
}

/// A UUID's bytes; `None` for any text that is not exactly how `uuid_text` writes one.
pub(super) fn uuid(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; UUID_CHARS] = text.as_bytes().try_into().ok()?;
    let (mut value, mut seen) = ([0; 16], 0);
    for (byte, at) in value.iter_mut().zip(BYTES_AT) {
        let (high, low) = (DIGITS[usize::from(text[at])], DIGITS[usize::from(text[at + 1])]);
        seen |= high | low;
        *byte = (high << 4) | (low & 15);
    }
    (seen < 16 && DASHES.iter().all(|at| text[*at] == b'-')).then_some(value)
}

/// A session that is a UUID, if there are the bytes of one; else the text.
pub(super) fn session(text: &str, uuid: &[u8]) -> Label {
    uuid_text(uuid).unwrap_or_else(|| inline(text.as_bytes()))
}

/// A UUID as text.
fn uuid_text(bytes: &[u8]) -> Option<Label> {
    let value = u128::from_be_bytes(bytes.try_into().ok()?);
    let mut text = Label::new();
    let mut shift = 128;
    for at in 0..UUID_CHARS {
        let char = if DASHES.contains(&at) {
            '-'
        } else {
            shift -= 4;
            char::from(b"0123456789abcdef"[(value >> shift) as usize & 15])
        };
        text.try_push(char).ok()?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn there_and_back(text: &str) -> Option<String> {
        let mut short = b"before".to_vec();
        let shortened = shorten(text, &mut short);
        assert!(short.len() <= 6 + text.len() && short.starts_with(b"before"));
        assert!(shortened || short.len() == 6, "nothing is left of what was not shortened");
        shortened.then(|| lengthen(&short[6..]).expect("every word is known").into())
    }

    #[test]
    fn a_providers_usage_object_takes_more_than_a_fifth_of_its_text() {
        let text = r#"{"input_tokens":512,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":512,"service_tier":"standard","inference_geo":"not_available"}"#;
        let mut short = Vec::new();
        assert!(shorten(text, &mut short));
        assert_eq!(short, b"{\x02512,\x030,\x040,\x05{\x060,\x070},\x08512,\x0e\x0f,\x10\x11}");
        assert_eq!(&*lengthen(&short).unwrap(), text);
    }

    #[test]
    fn a_text_with_a_words_byte_or_without_any_is_shortened() {
        for text in ["", "\u{1}", "{\"input_tokens\":1}\u{1f}", "\"\u{7}\""] {
            assert_eq!(there_and_back(text), None, "{text:?}");
        }
        assert_eq!(lengthen(&[b'{', 0x1f, b'}']), Err(0x1f), "a word of a later version");
    }

    #[test]
    fn what_is_no_uuid_in_its_one_spelling_is_taken_for_one() {
        let text = "7b8f2c1e-0d3a-4f5b-9c6d-00000000000a";
        assert_eq!(uuid_text(&uuid(text).unwrap()).unwrap().as_str(), text);
        let (upper, short) = (text.to_uppercase(), &text[1..]);
        let moved = "7b8f2c1e0-d3a-4f5b-9c6d-00000000000a";
        for other in [&upper, short, "", moved, &text.replace('-', "0"), "7b8f2c1e-0d3a-4f5b-9c6d-00000000000g"] {
            assert_eq!(uuid(other), None, "{other}");
        }
        assert_eq!(uuid_text(&[0; 15]), None);
    }

    proptest! {
        #[test]
        fn a_byte_of_a_text_changes(
            parts in prop::collection::vec(
                prop_oneof![prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), "[\\PC\n\t\r]{0,6}"], 1..20
            )
        ) {
            let text = parts.concat();
            prop_assume!(!text.is_empty());
            prop_assert_eq!(there_and_back(&text), Some(text));
        }

        #[test]
        fn a_character_of_a_uuid_changes(value in any::<[u8; 16]>(), text in "[0-9a-f-]{36}") {
            let printed = uuid_text(&value).unwrap();
            prop_assert_eq!(uuid(&printed), Some(value));
            if let Some(read) = uuid(&text) {
                let printed = uuid_text(&read).unwrap();
                prop_assert_eq!(printed.as_str(), text.as_str());
            }
        }
    }
}
