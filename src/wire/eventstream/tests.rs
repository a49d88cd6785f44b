//! The codec against another one, at every split, and with every byte spoilt.

use super::{Frame, FrameError, FrameScanner, encode};
use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use proptest::prelude::*;

const KEPT: usize = 64 * 1024;

#[derive(Debug, PartialEq, Eq)]
struct Shown {
    headers: Vec<u8>,
    payload: Vec<u8>,
    payload_len: usize,
}

impl From<Frame<'_>> for Shown {
    fn from(frame: Frame<'_>) -> Self {
        Self { headers: frame.headers.to_vec(), payload: frame.payload.to_vec(), payload_len: frame.payload_len }
    }
}

fn scan<'b>(pieces: impl IntoIterator<Item = &'b [u8]>, kept: usize) -> (Vec<Shown>, Result<(), FrameError>, bool) {
    let mut scanner = FrameScanner::new(kept);
    let mut shown = Vec::new();
    let mut result = Ok(());
    for piece in pieces {
        result = scanner.feed(piece, |frame| shown.push(frame.into()));
    }
    (shown, result, scanner.at_boundary())
}

fn event(payload: &[u8]) -> Vec<u8> {
    let headers = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    let mut out = Vec::new();
    encode(&mut out, &headers, payload);
    out
}

#[test]
fn every_split_shows_the_same_frames() {
    let stream = [event(br#"{"bytes":"e30="}"#), event(b""), event(&[b'x'; 300])].concat();
    let (whole, result, boundary) = scan([&stream[..]], KEPT);
    assert_eq!((whole.len(), result, boundary), (3, Ok(()), true));
    for cut in 0..=stream.len() {
        let (shown, result, boundary) = scan([&stream[..cut], &stream[cut..]], KEPT);
        assert_eq!((&shown, result, boundary), (&whole, Ok(()), true), "cut at {cut}");
    }
    assert_eq!(scan(stream.chunks(1), KEPT), (whole, Ok(()), true));
}

#[test]
fn an_end_inside_a_frame_is_no_boundary() {
    let stream = event(b"{}");
    for cut in 1..stream.len() {
        assert!(!scan([&stream[..cut]], KEPT).2, "cut at {cut}");
    }
}

#[test]
fn any_spoilt_byte_is_found_at_any_split() {
    let good = event(br#"{"bytes":"e30="}"#);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let (shown, whole, _) = scan([&bad[..]], KEPT);
        assert!(shown.is_empty(), "byte {at}");
        // A length that grew waits for bytes that never come; then the prelude's checksum says so at once.
        assert!(whole.is_err(), "byte {at}");
        let (shown, split, boundary) = scan(bad.chunks(1), KEPT);
        assert_eq!((shown.len(), split, boundary), (0, whole, false), "byte {at}");
    }
}

#[test]
fn lengths_that_cannot_be_true_are_refused_before_a_byte_is_kept_for_them() {
    for (total, headers) in [(15u32, 0u32), (16, 1), (u32::MAX, 0), (32 << 20, 0), (200_000, 140_000), (0, 0)] {
        let mut bytes = [total.to_be_bytes(), headers.to_be_bytes()].concat();
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        assert_eq!(scan([&bytes[..]], KEPT).1, Err(FrameError::Length), "{total} {headers}");
    }
}

#[test]
fn a_large_frame_is_checked_whole_and_shown_in_part() {
    let stream = [event(&vec![b'y'; 200_000]), event(b"{}")].concat();
    for size in [1 << 20, 4096, 777] {
        let (shown, result, _) = scan(stream.chunks(size), 1000);
        assert_eq!(result, Ok(()));
        assert_eq!((shown[0].payload_len, shown[0].headers.len() + shown[0].payload.len()), (200_000, 1000));
        assert_eq!(shown[1].payload, b"{}");
    }
    assert_eq!(scan([&stream[..]], 10).1, Err(FrameError::HeadersTooLarge));
}

#[test]
fn a_string_header_is_found_behind_headers_of_every_other_kind() {
    let mut headers = Vec::new();
    for (kind, value) in
        [(0u8, &[][..]), (1, &[]), (2, &[1]), (3, &[0; 2]), (4, &[0; 4]), (5, &[0; 8]), (8, &[0; 8]), (9, &[0; 16])]
    {
        headers.extend_from_slice(&[1, b'a', kind]);
        headers.extend_from_slice(value);
    }
    headers.extend_from_slice(&[1, b'b', 6, 0, 3, 1, 2, 3]);
    headers.extend_from_slice(&[13]);
    headers.extend_from_slice(b":message-type\x07\x00\x05event");
    let frame = Frame { headers: &headers, payload: b"", payload_len: 0 };
    assert_eq!(frame.text(":message-type"), Some("event"));
    assert_eq!((frame.text("a"), frame.text("b"), frame.text("c")), (None, None, None));
    assert_eq!(Frame { headers: &headers[..headers.len() - 1], ..frame }.text(":message-type"), None);
}

proptest! {
    /// What we write, AWS's own codec reads, and writes back byte for byte; what we read of it is the same.
    #[test]
    fn another_codec_agrees(
        values in prop::collection::vec(("[a-z:-]{1,40}", "[ -~]{0,200}"), 0..6),
        payload in prop::collection::vec(any::<u8>(), 0..2000),
        cut in 0usize..3000,
    ) {
        let headers: Vec<(&str, &str)> = values.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let mut ours = Vec::new();
        encode(&mut ours, &headers, &payload);
        let theirs = read_message_from(&ours[..]).expect("their codec reads our frame");
        prop_assert_eq!(theirs.payload().as_ref(), &payload[..]);
        let named: Vec<(&str, &str)> =
            theirs.headers().iter().map(|h| (h.name().as_str(), h.value().as_string().expect("a string").as_str())).collect();
        prop_assert_eq!(&named, &headers);
        let mut again: Vec<u8> = Vec::new();
        write_message_to(&theirs, &mut again).expect("their codec writes");
        prop_assert_eq!(&again, &ours);
        let cut = cut.min(ours.len());
        let (shown, result, _) = scan([&ours[..cut], &ours[cut..]], KEPT);
        prop_assert_eq!((result, shown.len()), (Ok(()), 1));
        prop_assert_eq!(&shown[0].payload, &payload);
        let frame = Frame { headers: &shown[0].headers, payload: &[], payload_len: 0 };
        for (name, _) in &headers {
            let first = headers.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
            prop_assert_eq!(frame.text(name), first);
        }
    }

    /// No bytes of a stranger panic, and none that the other codec refuses pass as a frame.
    #[test]
    fn noise_is_never_a_frame(noise in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..400) {
        let cut = cut.min(noise.len());
        let (shown, _, _) = scan([&noise[..cut], &noise[cut..]], KEPT);
        prop_assert!(shown.is_empty() || read_message_from(&noise[..]).is_ok());
    }
}
