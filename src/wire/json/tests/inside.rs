//! The walk in blocks sees what a walk byte by byte sees, on every kind of vector, wherever the bytes are cut.

use fearless_simd::Level;
use proptest::prelude::*;

use crate::wire::json::inside::{Flaw, Inside, Stop};
use crate::wire::json::nesting::DEPTH_MAX;

/// What the walk must find in a container behind its bracket, said as plainly as possible.
fn container_by_bytes(bytes: &[u8], is_object: bool) -> Option<Stop> {
    let mut open = vec![is_object];
    let (mut in_string, mut escaped) = (false, false);
    for (at, byte) in bytes.iter().enumerate() {
        let flaw = match byte {
            _ if escaped => {
                escaped = false;
                None
            }
            b'\\' if in_string => {
                escaped = true;
                None
            }
            b'"' => {
                in_string = !in_string;
                None
            }
            _ if in_string => None,
            b'\\' => Some(Flaw::Backslash),
            b'[' | b'{' if open.len() == DEPTH_MAX => Some(Flaw::TooDeep),
            b'[' | b'{' => {
                open.push(*byte == b'{');
                None
            }
            b']' | b'}' => (open.pop() != Some(*byte == b'}')).then_some(Flaw::Mismatched),
            _ => None,
        };
        if flaw.is_some() || open.is_empty() {
            return Some(Stop { len: at + 1, flaw });
        }
    }
    None
}

/// The same for a string behind its quote.
fn string_by_bytes(bytes: &[u8]) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// All kinds of vectors that this machine has.
fn levels() -> Vec<Level> {
    let widest = Level::new();
    let mut levels = vec![widest, Level::baseline()];
    #[cfg(target_arch = "x86_64")]
    {
        levels.extend(widest.as_avx2().map(Level::Avx2));
        levels.extend(widest.as_sse4_2().map(Level::Sse4_2));
    }
    levels
}

/// Feeds the pieces until one holds the stop; its index counts from the first byte.
fn in_pieces<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
    mut walk: impl FnMut(&[u8]) -> Option<Stop>,
) -> Option<Stop> {
    let mut before = 0;
    for piece in pieces {
        if let Some(stop) = walk(piece) {
            return Some(Stop { len: before + stop.len, ..stop });
        }
        before += piece.len();
    }
    None
}

fn container(level: Level, is_object: bool, pieces: &[&[u8]]) -> Option<Stop> {
    let mut inside = Inside::new(level);
    inside.enter_container(is_object);
    in_pieces(pieces.iter().copied(), |piece| inside.container_end(piece))
}

fn string(level: Level, pieces: &[&[u8]]) -> Option<usize> {
    let mut inside = Inside::new(level);
    inside.enter_string();
    let stop = in_pieces(pieces.iter().copied(), |piece| inside.string_end(piece).map(|len| Stop { len, flaw: None }));
    stop.map(|stop| stop.len)
}

/// Compares both walks on all vectors: whole, at every split in two, and in pieces of some sizes.
fn compare(bytes: &[u8]) {
    compare_at(bytes, 0..=bytes.len(), &[1, 7, 63, 64, 65]);
}

fn compare_at(bytes: &[u8], splits: impl IntoIterator<Item = usize> + Clone, sizes: &[usize]) {
    let text = String::from_utf8_lossy(bytes);
    let (of_list, of_object) = (container_by_bytes(bytes, false), container_by_bytes(bytes, true));
    let of_string = string_by_bytes(bytes);
    for level in levels() {
        let check = |pieces: &[&[u8]], cut: &str, at: usize| {
            assert_eq!(container(level, false, pieces), of_list, "{level:?}, {cut} {at}: {text}");
            assert_eq!(container(level, true, pieces), of_object, "{level:?}, {cut} {at}: {text}");
            assert_eq!(string(level, pieces), of_string, "{level:?}, {cut} {at}: {text}");
        };
        for split in splits.clone() {
            let (first, second) = bytes.split_at(split.min(bytes.len()));
            check(&[first, second], "split at", split);
        }
        for size in sizes {
            check(&bytes.chunks(*size).collect::<Vec<_>>(), "pieces of", *size);
        }
    }
}

#[test]
fn an_escaped_quote_at_a_block_edge_ends_no_string() {
    for before in [0, 1, 31, 60, 61, 62, 63, 64, 65] {
        for run in [0, 1, 2, 3, 4, 5, 62, 63, 64, 65, 127, 128, 129] {
            let bytes = ["\"", &"x".repeat(before), &"\\".repeat(run), "\"]\"", "]\"]"].concat();
            compare(bytes.as_bytes());
        }
    }
}

#[test]
fn an_escape_at_the_end_of_a_piece_reaches_no_further_than_one_byte() {
    for plain in [1, 63, 64, 65, 127, 128, 129, 1024] {
        let bytes = format!("\"x\\{}\"]\"]", "n".repeat(plain));
        compare_at(bytes.as_bytes(), [2, 3, 4], &[]);
    }
}

#[test]
fn a_value_that_ends_at_a_block_edge_ends_there() {
    for len in (60..=68).chain(124..=132) {
        for end in ["]", "}", "\"", "\"\"]", "\\", "[}", "{}}"] {
            compare(format!("{}{end}", " ".repeat(len - 1)).as_bytes());
            compare(format!("\"{}\\\"\"{end}]", "x".repeat(len - 5)).as_bytes());
        }
    }
}

#[test]
fn brackets_in_strings_open_and_close_nothing() {
    for len in [1, 30, 61, 62, 63, 64, 65, 126, 128] {
        compare(format!("\"{}\",\"{}\\\"{}\"]", "]".repeat(len), "[{".repeat(len), "}".repeat(len)).as_bytes());
    }
}

#[test]
fn nesting_keeps_its_cap_and_its_kinds_across_blocks() {
    for depth in [1, 31, 62, 63, 64, 65, 128, DEPTH_MAX - 2, DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1] {
        let opens: String = "[{{[[[{".chars().cycle().take(depth).collect();
        let closes: String = opens.chars().rev().map(|open| if open == '[' { ']' } else { '}' }).collect();
        for end in ["]", "}"] {
            let bytes = [opens.as_bytes(), b"\"}\\\"]\",1", closes.as_bytes(), end.as_bytes()].concat();
            for level in levels() {
                for size in [1, 63, 64, 65, 10_000] {
                    let pieces: Vec<&[u8]> = bytes.chunks(size).collect();
                    let expected = container_by_bytes(&bytes, false);
                    assert_eq!(container(level, false, &pieces), expected, "{depth} deep, {size} at a time");
                }
            }
        }
    }
}

#[test]
fn every_byte_is_told_from_the_ones_that_matter() {
    for byte in 0..=u8::MAX {
        for at in [0, 15, 16, 31, 32, 63, 64] {
            let mut bytes = vec![b' '; at];
            bytes.push(byte);
            bytes.extend_from_slice(b"\"\\\"]\"]");
            compare(&bytes);
        }
    }
}

/// Runs of what matters, around the length of a block, with little between them.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[\\\\\"]{1,6}",
        4 => "\"[a-z{}\\[\\]]{0,10}(\\\\n|\\\\\"|\\\\\\\\)?\"",
        3 => "[a-z,: ]{0,20}",
        3 => Just("[]".to_owned()),
        3 => Just("{}".to_owned()),
        3 => "[\\[{]",
        2 => "[\\]}]",
        1 => (1_usize..70).prop_map(|len| "\\".repeat(len)),
        1 => (50_usize..80).prop_map(|len| "x".repeat(len)),
        1 => ".",
    ]
}

proptest! {
    #[test]
    fn blocks_never_see_what_bytes_do_not(pieces in proptest::collection::vec(piece(), 0..24)) {
        compare(pieces.concat().as_bytes());
    }

    #[test]
    fn blocks_never_see_in_sound_strings_what_bytes_do_not(
        texts in proptest::collection::vec("([\\\\\"\n{}\\[\\]]{1,4}|[a-z]{0,9}){0,20}", 0..4),
    ) {
        compare(format!("{}]", serde_json::to_string(&texts).unwrap()).as_bytes());
    }

    #[test]
    fn blocks_never_see_in_long_texts_what_bytes_do_not(
        runs in proptest::collection::vec((0_usize..1500, "[\\\\]{0,3}[\\\\\"]{0,2}[\\[\\]{}]?|[\\\\]{60,68}"), 0..6),
        splits in proptest::collection::vec(0_usize..9000, 0..4),
    ) {
        let text: String = runs.iter().map(|(len, end)| "t".repeat(*len) + end).collect();
        compare_at(format!("\"{text}\"]").as_bytes(), splits.iter().copied().chain([0]), &[1000, 4096]);
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        compare(&bytes);
    }
}
