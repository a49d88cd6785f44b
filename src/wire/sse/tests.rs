//! Tests of the event-stream scanner, named after the failure they prevent.

use fearless_simd::Level;
use proptest::prelude::*;

use super::*;

const CAP: usize = 200;

type Visit = (EventClass, Vec<u8>, u64);

#[derive(Default)]
struct Log(Vec<Visit>);

impl SseVisitor for Log {
    fn event(&mut self, class: EventClass, data: &[u8], data_len: u64) {
        self.0.push((class, data.to_vec(), data_len));
    }
}

/// What a scanner saw, and whether it stands between two events.
#[derive(Debug, PartialEq, Eq)]
struct Sight {
    visits: Vec<Visit>,
    overflowed: bool,
    at_boundary: bool,
}

/// Feeds `stream` in pieces that end at `ends`.
fn scan_with(scanner: &mut SseScanner, stream: &[u8], ends: &[usize]) -> Sight {
    scanner.reset();
    let mut log = Log::default();
    let mut start = 0;
    for end in ends.iter().copied().chain([stream.len()]) {
        let end = end.clamp(start, stream.len());
        scanner.feed(&stream[start..end], &mut log);
        start = end;
    }
    Sight { visits: log.0, overflowed: scanner.overflowed(), at_boundary: scanner.at_event_boundary() }
}

fn scan(stream: impl AsRef<[u8]>, ends: &[usize]) -> Sight {
    scan_with(&mut SseScanner::new(CAP), stream.as_ref(), ends)
}

/// The grammar the plain way: the whole stream as lines, the lines as events.
fn reference(stream: &[u8]) -> Sight {
    let unmarked = stream.strip_prefix(b"\xef\xbb\xbf".as_slice()).unwrap_or(stream);
    let mut lines = vec![Vec::new()];
    for (at, byte) in unmarked.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && unmarked[at - 1] == b'\r' => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            byte => lines.last_mut().unwrap().push(*byte),
        }
    }
    let unfinished = lines.pop().unwrap();
    let mut sight = Sight { visits: vec![], overflowed: false, at_boundary: false };
    let (mut name, mut data, mut fields): (Option<Vec<u8>>, Vec<Vec<u8>>, usize) = (None, vec![], 0);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value).to_vec();
        fields += usize::from(colon > 0);
        match &line[..colon] {
            b"event" => name = Some(value).filter(|name| !name.is_empty()),
            b"data" => data.push(value),
            _ if line.is_empty() => {
                if name.is_some() || !data.is_empty() {
                    let joined = data.join(&b'\n');
                    let class =
                        name.as_ref().map_or_else(|| EventClass::of_data(&joined), |name| EventClass::of_name(name));
                    let shown =
                        matches!(class, EventClass::MessageStart | EventClass::MessageDelta | EventClass::Error)
                            || class == EventClass::ContentBlockStart && super::class::is_fallback_block(&joined);
                    match (shown, joined.len() > CAP) {
                        (true, true) => sight.overflowed = true,
                        (true, false) => sight.visits.push((class, joined.clone(), joined.len() as u64)),
                        (false, _) => sight.visits.push((class, vec![], joined.len() as u64)),
                    }
                }
                (name, data, fields) = (None, vec![], 0);
            }
            _ => {}
        }
    }
    // A lone byte order mark is the start of a first line.
    let is_mark = stream == b"\xef\xbb\xbf";
    sight.at_boundary = !is_mark && unfinished.is_empty() && fields == 0 && stream.last() != Some(&b'\r');
    sight
}

const STREAM: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}\n\n\
: comment\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n\
event:content_block_delta\r\ndata:{\"delta\":1}\r\n\r\n\
event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"fallback\",\"to\":{}}}\n\n\
event: content_block_start\ndata: {\"content_block\":{\"type\":\"text\"}}\n\n\
id: 7\rdata: {\"type\": \"message_delta\",\rdata: \"x\":1}\r\rretry: 5\nevent: new_kind\ndata\ndata\n\n\
event: message_stop\ndata: {}\n\n";

#[test]
fn every_event_is_seen_once_and_only_the_metered_ones_with_data() {
    let sight = scan(STREAM, &[]);
    let classes: Vec<EventClass> = sight.visits.iter().map(|visit| visit.0).collect();
    use EventClass::*;
    assert_eq!(
        classes,
        [MessageStart, Ping, ContentBlockDelta, ContentBlockStart, ContentBlockStart, MessageDelta, Other, MessageStop]
    );
    assert!(sight.visits[0].1.starts_with(b"{\"type\":\"message_start\"") && sight.visits[0].1.ends_with(b"}"));
    assert_eq!(sight.visits[2], (ContentBlockDelta, vec![], 11));
    assert!(sight.visits[3].1.ends_with(b"\"to\":{}}}"));
    assert_eq!(sight.visits[4].1, b"");
    assert_eq!(sight.visits[5].1, b"{\"type\": \"message_delta\",\n\"x\":1}");
    assert_eq!(sight.visits[6], (Other, vec![], 1));
    assert!(sight.at_boundary && !sight.overflowed);
    assert_eq!(sight, reference(STREAM.as_bytes()));
}

#[test]
fn every_pair_of_splits_sees_the_same() {
    let mut scanner = SseScanner::new(CAP);
    for stream in [STREAM.to_owned(), STREAM.replace("\n", "\r\n"), format!("\u{feff}{}", STREAM.replace("\n", "\r"))] {
        let stream = stream.as_bytes();
        let whole = scan(stream, &[]);
        assert_eq!(whole, reference(stream));
        let steps: Vec<usize> = (0..=stream.len()).collect();
        assert_eq!(scan(stream, &steps), whole);
        for first in 0..=stream.len() {
            for second in (first..=stream.len()).step_by(3) {
                assert_eq!(scan_with(&mut scanner, stream, &[first, second]), whole, "split at {first}, {second}");
            }
        }
    }
}

#[test]
fn data_in_one_chunk_is_shown_uncopied() {
    struct Place(std::ops::Range<*const u8>, bool);
    impl SseVisitor for Place {
        fn event(&mut self, _: EventClass, data: &[u8], _: u64) {
            self.1 = self.0.contains(&data.as_ptr());
        }
    }
    let chunk = b"event: message_delta\ndata: {\"usage\":{}}\n\n";
    let mut place = Place(chunk.as_ptr_range(), false);
    SseScanner::new(CAP).feed(chunk, &mut place);
    assert!(place.1);
}

#[test]
fn a_line_ends_where_the_first_lf_or_cr_stands_on_every_kind_of_vector() {
    let widest = Level::new();
    let mut levels = vec![widest, Level::baseline()];
    #[cfg(target_arch = "x86_64")]
    {
        levels.extend(widest.as_avx2().map(Level::Avx2));
        levels.extend(widest.as_sse4_2().map(Level::Sse4_2));
    }
    for (len, from, end) in (0..210).flat_map(|len| [0, 1, 31, 64].map(|from| (len, from, (len * 7) % 211))) {
        let mut bytes = vec![b'x'; len];
        bytes.iter_mut().take(from).for_each(|byte| *byte = b'\n');
        bytes.iter_mut().skip(end).step_by(5).for_each(|byte| *byte = if end % 2 == 0 { b'\n' } else { b'\r' });
        let expected = (from..len).find(|at| matches!(bytes[*at], b'\n' | b'\r'));
        for level in &levels {
            assert_eq!(whole::line_end(*level, &bytes, from), expected, "{level:?}, {len} from {from}");
        }
    }
}

#[test]
fn an_unnamed_event_is_what_its_type_says() {
    let class = |data: &str| scan(format!("data: {data}\n\n"), &[]).visits[0].0;
    assert_eq!(class(r#"{"type":"message_delta"}"#), EventClass::MessageDelta);
    assert_eq!(class(r#"{ "index" : 1, "type" : "error"}"#), EventClass::Error);
    assert_eq!(class(r#"{"type":"ping"}"#), EventClass::Ping);
    for data in ["[DONE]", "", "{}", r#"{"type":1}"#, r#"{"type":"messa"#, r#""type""#, r#"{"type":"later_kind"}"#] {
        assert_eq!(class(data), EventClass::Other, "{data}");
    }
    assert_eq!(class(&format!(r#"{{"a":"{}","type":"error"}}"#, "x".repeat(64))), EventClass::Other);
}

#[test]
fn the_name_rules_wherever_its_line_stands() {
    let delta = scan("data: {\"type\":\"ping\"}\nevent: message_delta\n\n", &[]);
    assert_eq!(delta.visits, [(EventClass::MessageDelta, b"{\"type\":\"ping\"}".to_vec(), 15)]);
    let last = scan("event: message_start\nevent: ping\ndata: x\n\n", &[]);
    assert_eq!(last.visits, [(EventClass::Ping, vec![], 1)]);
    let unnamed = scan("event: ping\nevent\ndata: {\"type\":\"error\"}\n\n", &[]);
    assert_eq!(unnamed.visits[0].0, EventClass::Error);
    let bare = scan("event: message_stop\n\n\n\ndata\n\n", &[]);
    assert_eq!(bare.visits, [(EventClass::MessageStop, vec![], 0), (EventClass::Other, vec![], 0)]);
    for line in [
        "Event: ping",
        "event : ping",
        " event: ping",
        "events: ping",
        "dat: x",
        "datas: x",
        ":data: x",
        "averylongfieldname: x",
    ] {
        for split in 0..line.len() {
            assert_eq!(scan(format!("{line}\n\n"), &[split]).visits, [], "{line}");
        }
    }
}

#[test]
fn an_event_above_the_cap_is_left_out_and_said_so() {
    let event = |name: &str, len: usize| format!("event: {name}\ndata: {}\n\n", "x".repeat(len));
    for ends in [vec![], (0..400).collect::<Vec<_>>()] {
        let at_cap = scan(event("message_delta", CAP), &ends);
        assert_eq!((at_cap.visits.len(), at_cap.overflowed), (1, false));
        let above = scan(event("message_delta", CAP + 1) + &event("error", 1), &ends);
        assert_eq!((above.visits, above.overflowed), (vec![(EventClass::Error, b"x".to_vec(), 1)], true));
        let unmetered = scan(event("content_block_delta", 3 * CAP) + &event("content_block_start", 3 * CAP), &ends);
        assert_eq!((unmetered.visits.len(), unmetered.overflowed), (2, false));
        let lines = scan(format!("event: error\n{}\n", "data: 123456789\n".repeat(21)), &ends);
        assert_eq!((lines.visits.len(), lines.overflowed), (0, true));
    }
    let late = scan("event: ping\ndata: 1\nevent: message_delta\n\n", &[]);
    assert_eq!((late.visits.len(), late.overflowed), (0, true), "its data was passed over already");
}

#[test]
fn a_5_mb_event_is_not_kept() {
    let inside = "x".repeat(5 << 20);
    let stream =
        format!("event: content_block_delta\ndata: {inside}\n\ndata: {inside}\n\nevent: error\ndata: {inside}\n\n");
    for step in [4096, 65_537, usize::MAX] {
        let ends: Vec<usize> =
            (1..).map_while(|n: usize| n.checked_mul(step).filter(|end| *end < stream.len())).collect();
        let sight = scan(&stream, &ends);
        let len = inside.len() as u64;
        assert_eq!(sight.visits, [(EventClass::ContentBlockDelta, vec![], len), (EventClass::Other, vec![], len)]);
        assert!(sight.overflowed);
    }
}

#[test]
fn a_ping_of_ours_never_falls_into_an_event() {
    let stream = b": hi\nevent: ping\ndata: {}\n\ndata: 1\r\n\r\n: x\n";
    let boundaries: Vec<usize> = (0..=stream.len()).filter(|end| scan(&stream[..*end], &[]).at_boundary).collect();
    assert_eq!(boundaries, [0, 5, 27, 38, 42]);
    for end in 0..=stream.len() {
        let steps: Vec<usize> = (0..end).collect();
        assert_eq!(scan(&stream[..end], &steps).at_boundary, boundaries.contains(&end), "after {end} bytes");
    }
}

#[test]
fn a_reset_scanner_keeps_nothing_of_the_stream_before() {
    let mut scanner = SseScanner::new(CAP);
    for before in
        ["event: mess", "data: 1\r", "event: ping\ndata: 1\n", "dat", "\u{feff}", ": x", "event: error\ndata: 1"]
    {
        scanner.feed(before.as_bytes(), &mut Log::default());
        let with_mark = format!("\u{feff}{STREAM}");
        assert_eq!(scan_with(&mut scanner, with_mark.as_bytes(), &[]), scan(STREAM, &[]), "after {before:?}");
    }
}

/// Pieces that make interesting streams far more often than random bytes do.
fn likely_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("event: message_start\n"),
        Just("event: content_block_delta\r\n"),
        Just("event:content_block_start\r"),
        Just("event"),
        Just("data"),
        Just("event: error\n"),
        Just("event: ping\n"),
        Just("data: {\"type\":\"message_delta\"}\n"),
        Just("data: \"fallback\"\n"),
        Just("\n"),
        Just("\r"),
        Just("\r\n"),
        Just("\n\n"),
        Just(": "),
        Just(":"),
        Just(" "),
        Just("\u{feff}"),
        Just("id: 1\n"),
        Just("data:x\n"),
        Just("x"),
        Just(
            "data: 01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\n"
        ),
    ];
    proptest::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A name that changes after data was passed over costs the scanner that data; the reference keeps all.
fn renames_after_data(stream: &[u8]) -> bool {
    let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
    text.split("\n\n").any(|event| event.matches("event").count() > 1)
}

fn check(stream: &[u8], ends: &mut [usize]) {
    ends.sort_unstable();
    let whole = scan(stream, &[]);
    assert_eq!(scan(stream, ends), whole);
    if !renames_after_data(stream) {
        assert_eq!(whole, reference(stream));
    }
}

/// Events as providers write them, of any length around the blocks they are looked at in, and a few that differ by a byte.
fn usual_stream() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![
        4 => Just("content_block_delta"),
        1 => Just("message_delta"),
        1 => Just("content_block_start"),
        1 => Just("ping"),
        1 => Just("later_kind"),
        1 => Just(""),
        1 => Just("content_block_delta\r"),
    ];
    let space = prop_oneof![6 => Just(" "), 1 => Just(""), 1 => Just("  ")];
    let spice = prop_oneof![
        6 => Just("x"), 1 => Just("\r"), 1 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\ndata: y"), 1 => Just("\"fallback\"")
    ];
    let end = prop_oneof![8 => Just("\n\n"), 1 => Just("\n"), 1 => Just("\r\n\r\n"), 1 => Just("\n\r\n"), 1 => Just("\n\n\n")];
    let event =
        (name, space, 0_usize..CAP + 20, spice, 0_usize..140, end).prop_map(|(name, space, a, spice, b, end)| {
            format!("event: {name}\ndata:{space}{}{spice}{}{end}", "x".repeat(a), "y".repeat(b))
        });
    proptest::collection::vec(event, 0..8).prop_map(|events| events.concat().into_bytes())
}

proptest! {
    #[test]
    fn usual_streams_are_seen_like_the_reference_at_any_split(
        stream in usual_stream(), mut ends in proptest::collection::vec(0_usize..2400, 0..8),
    ) {
        check(&stream, &mut ends);
    }

    #[test]
    fn likely_streams_are_seen_like_the_reference_at_any_split(
        stream in likely_stream(), mut ends in proptest::collection::vec(0_usize..400, 0..8),
    ) {
        check(&stream, &mut ends);
    }

    #[test]
    fn any_bytes_are_seen_like_the_reference_at_any_split(
        stream in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..120),
        mut ends in proptest::collection::vec(0_usize..120, 0..6),
    ) {
        check(&stream, &mut ends);
    }
}
