//! What a frame of a Bedrock stream carries (contract.md §4.4): one Messages event, as base64 inside a JSON object.

use crate::wire::{
    eventstream::{self, Frame},
    json::{TopLevelScanner, Wanted},
};
use base64::{Engine, engine::general_purpose::STANDARD};

static BYTES: [Wanted; 1] = [Wanted { key: "bytes", capture_bytes_max: 0 }];
/// How Bedrock begins the payload of a chunk.
const USUAL_START: &[u8] = b"{\"bytes\":\"";

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried<'f> {
    /// One event, still encoded; cut where the frame is shown in part.
    Event(&'f [u8]),
    /// An exception, or an error that the stream's description does not know: its name and its payload. It ends the stream.
    Exception(&'f str, &'f [u8]),
    /// Something else, which passes.
    Other,
}

/// What a frame carries.
pub fn carried<'f>(frame: &Frame<'f>) -> Carried<'f> {
    match frame.text(":message-type") {
        Some("exception") => Carried::Exception(frame.text(":exception-type").unwrap_or_default(), frame.payload),
        Some("error") => Carried::Exception(
            frame.text(":error-code").unwrap_or_default(),
            frame.text(":error-message").unwrap_or_default().as_bytes(),
        ),
        _ if frame.text(":event-type") == Some("chunk") => {
            encoded(frame.payload).map_or(Carried::Other, Carried::Event)
        }
        _ => Carried::Other,
    }
}

/// The value of `bytes`, without quotes. Where the payload is cut in it, what there is of it.
fn encoded(payload: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = payload.strip_prefix(USUAL_START) {
        return rest.get(..memchr::memchr(b'"', rest).unwrap_or(rest.len()));
    }
    let mut scanner = TopLevelScanner::new(&BYTES);
    scanner.feed(payload).ok()?;
    let value = scanner.value(0)?;
    let (start, end) = (usize::try_from(value.start).ok()?, usize::try_from(value.end).ok()?);
    payload.get(start..end)?.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// Decodes an event into `out`, replacing what was there. False if it is no base64.
pub fn decode(encoded: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    STANDARD.decode_vec(encoded, out).is_ok()
}

/// Decodes the first bytes of an event, at most `bytes_max` of them, rounded down to what whole groups hold.
pub fn decode_head(encoded: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> bool {
    let groups = (encoded.len() / 4).min(bytes_max / 3);
    decode(encoded.get(..groups * 4).unwrap_or_default(), out)
}

/// Appends the frame of one event, given as its JSON.
pub fn append(out: &mut Vec<u8>, event: &[u8]) {
    const HEADERS: [(&str, &str); 3] =
        [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    let mut payload = String::with_capacity(USUAL_START.len() + event.len() * 4 / 3 + 8);
    payload.push_str("{\"bytes\":\"");
    STANDARD.encode_string(event, &mut payload);
    payload.push_str("\"}");
    eventstream::encode(out, &HEADERS, payload.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_found_however_its_payload_is_written() {
        for payload in [
            &br#"{"bytes":"e30="}"#[..],
            br#"{"bytes":"e30=","p":"abcd"}"#,
            br#"{"p":"abcd","bytes":"e30="}"#,
            b"{ \"bytes\" : \"e30=\" }",
        ] {
            assert_eq!(encoded(payload), Some(&b"e30="[..]));
        }
        for payload in [&b"{}"[..], b"", b"{\"bytes\":7}", b"[]"] {
            assert_eq!(encoded(payload), None);
        }
    }

    #[test]
    fn the_head_of_an_event_is_whole_groups() {
        let mut out = Vec::new();
        let text = STANDARD.encode(b"0123456789");
        assert!(decode_head(text.as_bytes(), 5, &mut out) && out == b"012");
        assert!(decode_head(text.as_bytes(), 100, &mut out) && out == b"0123456789");
        assert!(decode_head(&text.as_bytes()[..7], 100, &mut out) && out == b"012");
        assert!(!decode_head(b"****", 100, &mut out));
    }
}
