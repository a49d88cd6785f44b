//! Tests of the JSON scanner, named after the failure they prevent.

mod generated;
mod inside;
mod scanner;
mod string;

use super::*;

pub(super) const WANTED: &[Wanted] = &[
    Wanted { key: "model", capture_bytes_max: 64 },
    Wanted { key: "stream", capture_bytes_max: 16 },
    Wanted { key: "max_tokens", capture_bytes_max: 16 },
    Wanted { key: "messages", capture_bytes_max: 0 },
    Wanted { key: "metadata", capture_bytes_max: 24 },
    Wanted { key: "k\u{e9}y\u{1f600}", capture_bytes_max: 8 },
];
pub(super) const MODEL: usize = 0;
pub(super) const STREAM: usize = 1;
pub(super) const MAX_TOKENS: usize = 2;
pub(super) const MESSAGES: usize = 3;
pub(super) const METADATA: usize = 4;
pub(super) const UNICODE: usize = 5;

/// A value without its borrow.
pub(super) type Found = Option<(u64, u64, Vec<u8>, bool)>;

/// Everything a caller can see of a scanner after the whole body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) result: Result<(), JsonError>,
    pub(super) complete: bool,
    pub(super) values: Vec<(u32, Found)>,
}

pub(super) fn found(scanner: &TopLevelScanner, index: usize) -> Found {
    scanner.value(index).map(|value| (value.start, value.end, value.raw.to_vec(), value.truncated))
}

/// Feeds `body` in pieces that end at `ends`.
pub(super) fn scan_with(scanner: &mut TopLevelScanner, body: &[u8], ends: &[usize]) -> Sight {
    scanner.reset();
    let mut start = 0;
    let mut result = Ok(());
    for end in ends.iter().copied().chain([body.len()]) {
        let end = end.clamp(start, body.len());
        let fed = scanner.feed(&body[start..end]);
        if result.is_err() {
            assert_eq!(fed, result, "an error stays");
        } else if fed.is_ok() {
            assert_eq!(scanner.offset(), end as u64);
        }
        result = fed;
        start = end;
    }
    let values = (0..WANTED.len()).map(|index| (scanner.seen(index), found(scanner, index))).collect();
    Sight { result, complete: scanner.is_complete(), values }
}

pub(super) fn scan(body: impl AsRef<[u8]>, ends: &[usize]) -> Sight {
    scan_with(&mut TopLevelScanner::new(WANTED), body.as_ref(), ends)
}

/// The raw value of one wanted key in a sound body that arrives at once.
pub(super) fn raw(body: &str, index: usize) -> Option<String> {
    let sight = scan(body, &[]);
    assert_eq!((sight.result, sight.complete), (Ok(()), true), "{body}");
    let (start, end, captured, truncated) = sight.values[index].1.clone()?;
    let raw = body[start as usize..end as usize].to_owned();
    assert!(raw.as_bytes().starts_with(&captured) && truncated == (captured.len() < raw.len()));
    Some(raw)
}
