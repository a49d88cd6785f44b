use proptest::prelude::*;

use super::*;

const CHUNK_LIMITS: ChunkLimits = ChunkLimits { extension_bytes_max: 16, trailer_bytes_max: 64 };

/// What a body decodes to: payload, bytes consumed, and how it ended.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Complete { payload: Vec<u8>, consumed: usize },
    Partial { payload: Vec<u8> },
    Refused(ChunkError),
}

/// Feeds `input` in pieces that end at `ends`, as a relay does.
fn decode(input: &[u8], ends: &[usize]) -> Verdict {
    let mut scanner = ChunkedScanner::new(CHUNK_LIMITS);
    let mut payload = Vec::new();
    let mut start = 0;
    for end in ends.iter().copied().chain([input.len()]) {
        let end = end.clamp(start, input.len());
        let mut rest = &input[start..end];
        loop {
            match scanner.step(rest) {
                Err(error) => {
                    assert_eq!(scanner.step(b"0\r\n\r\n"), Err(error), "a failed scanner stays failed");
                    return Verdict::Refused(error);
                }
                Ok((consumed, ChunkEvent::NeedMore)) => {
                    assert_eq!(consumed, rest.len());
                    break;
                }
                Ok((consumed, ChunkEvent::End)) => {
                    assert!(scanner.is_done() && !scanner.at_chunk_boundary());
                    return Verdict::Complete { payload, consumed: end - rest.len() + consumed };
                }
                Ok((consumed, ChunkEvent::Data(range))) => {
                    assert_eq!(range.end, consumed);
                    assert!(!range.is_empty());
                    payload.extend_from_slice(&rest[range]);
                    rest = &rest[consumed..];
                }
            }
        }
        start = end;
    }
    assert!(!scanner.is_done());
    Verdict::Partial { payload }
}

/// The coding read the plain way: line by line over a complete body. `None` is any kind of refusal or shortness.
fn reference(input: &[u8]) -> Option<(Vec<u8>, usize)> {
    let line_from = |at: usize| {
        let len = input.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        Some((&input[at..at + len], at + len + 2))
    };
    let visible = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e);
    let (mut payload, mut at) = (Vec::new(), 0);
    loop {
        let (line, next) = line_from(at)?;
        let (digits, extension) = line.split_at(line.iter().position(|byte| *byte == b';').unwrap_or(line.len()));
        let sound = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        if !sound || extension.len() > CHUNK_LIMITS.extension_bytes_max || !extension.iter().all(visible) {
            return None;
        }
        let size = u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok().filter(|size| *size < 1 << 53)?;
        if size == 0 {
            at = next;
            break;
        }
        let end = next.checked_add(usize::try_from(size).ok()?)?;
        payload.extend_from_slice(input.get(next..end)?);
        if input.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        at = end + 2;
    }
    let trailer_start = at;
    loop {
        let (line, next) = line_from(at)?;
        if line.is_empty() {
            return (at - trailer_start <= CHUNK_LIMITS.trailer_bytes_max).then_some((payload, next));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let value_ok = line[colon + 1..].iter().all(|byte| visible(byte) || *byte >= 0x80);
        if colon == 0 || !line[..colon].iter().all(token) || !value_ok {
            return None;
        }
        at = next;
    }
}

fn refused(input: &[u8]) -> ChunkError {
    match decode(input, &[]) {
        Verdict::Refused(error) => error,
        other => panic!("{:?} gave {other:?}", String::from_utf8_lossy(input)),
    }
}

#[test]
fn every_pair_of_splits_gives_the_same_payload() {
    let input = b"5\r\nhello\r\n00A;x=\"y\"\r\n0123456789\r\n1\r\n\n\r\n0;e\r\nX-Sum: 1\r\nY:\r\n\r\nNEXT";
    let whole = decode(input, &[]);
    let expected = Verdict::Complete { payload: b"hello0123456789\n".to_vec(), consumed: input.len() - 4 };
    assert_eq!(whole, expected);
    let steps: Vec<usize> = (0..=input.len()).collect();
    assert_eq!(decode(input, &steps), expected);
    for first in 0..=input.len() {
        for second in first..=input.len() {
            assert_eq!(decode(input, &[first, second]), expected, "split at {first}, {second}");
        }
    }
}

#[test]
fn an_empty_size_line_is_not_the_last_chunk() {
    assert_eq!(refused(b"\r\n\r\nGET /2 HTTP/1.1\r\n\r\n"), ChunkError::Size);
    assert_eq!(refused(b"3\r\nabc\r\n\r\n0\r\n\r\n"), ChunkError::Size);
    assert_eq!(refused(b";x\r\n\r\n"), ChunkError::Size);
}

#[test]
fn chunk_sizes_are_hexadecimal_digits_and_nothing_else() {
    for size in ["+3", "-3", "0x3", " 3", "3 ", "3\t", "3 ;x", "3_", "g", "\u{ff13}", "\n", "3\n"] {
        assert_eq!(refused(format!("{size}\r\nabc\r\n0\r\n\r\n").as_bytes()), ChunkError::Size, "{size:?}");
    }
}

#[test]
fn a_chunk_size_never_overflows() {
    for size in
        ["20000000000000", "ffffffffffffffff", "10000000000000003", "00000000000000003", "fffffffffffffffffffff"]
    {
        assert_eq!(refused(format!("{size}\r\nabc\r\n").as_bytes()), ChunkError::SizeTooLarge, "{size}");
    }
    assert_eq!(decode(b"1fffffffffffff\r\nabc", &[]), Verdict::Partial { payload: b"abc".to_vec() });
    let zeros = b"0000000000000003\r\nabc\r\n0000000000000000\r\n\r\n";
    assert_eq!(decode(zeros, &[]), Verdict::Complete { payload: b"abc".to_vec(), consumed: zeros.len() });
}

#[test]
fn line_ends_are_crlf() {
    assert_eq!(refused(b"3\nabc\n0\n\n"), ChunkError::Size);
    assert_eq!(refused(b"3\rabc\r\n"), ChunkError::LineEnd);
    assert_eq!(refused(b"3\r\nabc\n0\r\n\r\n"), ChunkError::LineEnd);
    assert_eq!(refused(b"3\r\nabcd\r\n"), ChunkError::LineEnd);
    assert_eq!(refused(b"3\r\nabc\r\r\n"), ChunkError::LineEnd);
    assert_eq!(refused(b"3;x\nabc\r\n"), ChunkError::Extension);
    assert_eq!(refused(b"0\r\n\r\r"), ChunkError::LineEnd);
    assert_eq!(refused(b"0\r\n\n"), ChunkError::Trailer);
    assert_eq!(refused(b"0\r\nX: y\n\r\n"), ChunkError::Trailer);
    assert_eq!(refused(b"0\r\nX: y\rz\r\n\r\n"), ChunkError::LineEnd);
}

#[test]
fn extensions_are_passed_over_up_to_their_cap() {
    assert!(matches!(decode(b"1;a=b;c=\"d e\"\r\nx\r\n0\r\n\r\n", &[]), Verdict::Complete { .. }));
    let with = |len: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(len - 1));
    assert!(matches!(decode(with(16).as_bytes(), &[]), Verdict::Complete { .. }));
    assert_eq!(refused(with(17).as_bytes()), ChunkError::ExtensionTooLong);
    for byte in [0_u8, 0x0b, 0x7f, 0x80, 0xff] {
        assert_eq!(refused(&[b'1', b';', byte]), ChunkError::Extension, "{byte}");
    }
    let mut none = ChunkedScanner::new(ChunkLimits { extension_bytes_max: 0, trailer_bytes_max: 0 });
    assert_eq!(none.step(b"1;"), Err(ChunkError::ExtensionTooLong));
}

#[test]
fn trailers_are_well_formed_and_bounded() {
    for line in ["no colon", ": v", "X : v", " X: v", "X: v\r\n folded", "X\u{e9}: v", "X: \0", "X: \x7f"] {
        assert_eq!(refused(format!("0\r\n{line}\r\n\r\n").as_bytes()), ChunkError::Trailer, "{line:?}");
    }
    let with = |len: usize| format!("0\r\nX:{}\r\n\r\n", "v".repeat(len - 4));
    assert!(matches!(decode(with(64).as_bytes(), &[]), Verdict::Complete { .. }));
    assert_eq!(refused(with(65).as_bytes()), ChunkError::TrailerTooLong);
}

#[test]
fn a_ping_of_ours_fits_only_between_chunks() {
    let input = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let boundaries: Vec<usize> = (0..=input.len())
        .filter(|end| {
            let mut scanner = ChunkedScanner::new(CHUNK_LIMITS);
            let mut rest = &input[..*end];
            while let Ok((consumed, ChunkEvent::Data(_))) = scanner.step(rest) {
                rest = &rest[consumed..];
            }
            scanner.at_chunk_boundary()
        })
        .collect();
    assert_eq!(boundaries, [0, 8, 15]);
}

#[test]
fn bytes_after_the_end_are_left_for_the_next_message() {
    let mut scanner = ChunkedScanner::new(CHUNK_LIMITS);
    assert_eq!(scanner.step(b"0\r\n\r\n3\r\n"), Ok((5, ChunkEvent::End)));
    assert_eq!(scanner.step(b"3\r\n"), Ok((0, ChunkEvent::End)));
}

fn likely_body() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("3\r\nabc\r\n"),
        Just("0\r\n"),
        Just("\r\n"),
        Just("\r"),
        Just("\n"),
        Just("a;x\r\n0123456789\r\n"),
        Just("3"),
        Just(";e=f"),
        Just("X: y\r\n"),
        Just(":"),
        Just("0"),
        Just("abc"),
        Just(" "),
        Just("ff"),
        Just("\0"),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

fn check(input: &[u8], ends: &mut [usize]) {
    ends.sort_unstable();
    let whole = decode(input, &[]);
    assert_eq!(decode(input, ends), whole);
    match (whole, reference(input)) {
        (Verdict::Complete { payload, consumed }, expected) => assert_eq!(expected, Some((payload, consumed))),
        (_, expected) => assert_eq!(expected, None),
    }
}

proptest! {
    #[test]
    fn likely_bodies_decode_like_the_reference_at_any_split(
        input in likely_body(), mut ends in proptest::collection::vec(0_usize..80, 0..6),
    ) {
        check(&input, &mut ends);
    }

    #[test]
    fn any_bytes_decode_like_the_reference_at_any_split(
        input in proptest::collection::vec(any::<u8>(), 0..80), mut ends in proptest::collection::vec(0_usize..80, 0..6),
    ) {
        check(&input, &mut ends);
    }

    #[test]
    fn what_was_encoded_comes_back(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..50), 0..8),
        mut ends in proptest::collection::vec(0_usize..400, 0..8),
    ) {
        let mut input = Vec::new();
        for chunk in &chunks {
            input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            input.extend_from_slice(chunk);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        ends.sort_unstable();
        prop_assert_eq!(decode(&input, &ends), Verdict::Complete { payload: chunks.concat(), consumed: input.len() });
    }
}
