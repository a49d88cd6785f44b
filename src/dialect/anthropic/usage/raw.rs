//! The usage objects as they came, kept beside the record so that history can be priced again.
//!
//! An answer that is not streamed keeps its `usage` object. A stream keeps `{"message_start":…,"message_delta":…}`, its first
//! and its last, and `"fallback"`, the model that took over, where one did.

use super::UsageTally;
use crate::{
    kernel::limits::USAGE_RAW_BYTES_MAX,
    wire::json::{TopLevelScanner, Wanted, unescape_string},
};

/// The raw value of a member of a JSON object, given as the one key that is wanted.
pub(super) fn member<'a>(object: &'a [u8], wanted: &'static [Wanted; 1]) -> Option<&'a [u8]> {
    let [value] = members(object, wanted);
    value
}

/// The raw values of some members, read in one walk. None of them where the object cannot be walked.
pub(super) fn members<'a, const N: usize>(object: &'a [u8], wanted: &'static [Wanted; N]) -> [Option<&'a [u8]>; N] {
    let mut scanner = TopLevelScanner::new(wanted);
    if scanner.feed(object).is_err() {
        return [None; N];
    }
    std::array::from_fn(|index| {
        let value = scanner.value(index)?;
        let (start, end) = (usize::try_from(value.start).ok()?, usize::try_from(value.end).ok()?);
        object.get(start..end).filter(|raw| *raw != b"null")
    })
}

/// A wanted key of which only the place is needed.
pub(super) const fn key(key: &'static str) -> [Wanted; 1] {
    keys([key])
}

/// The same of some keys.
pub(super) const fn keys<const N: usize>(keys: [&'static str; N]) -> [Wanted; N] {
    let mut wanted = [Wanted { key: "", capture_bytes_max: 0 }; N];
    let mut index = 0;
    while index < N {
        wanted[index].key = keys[index];
        index += 1;
    }
    wanted
}

static START: [Wanted; 1] = key("message_start");
static DELTA: [Wanted; 1] = key("message_delta");
static FALLBACK: [Wanted; 1] = key("fallback");

/// The objects, raw.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    /// The first of a stream, or the only one.
    pub first: Vec<u8>,
    /// The last of a stream.
    pub last: Vec<u8>,
    pub streamed: bool,
}

impl Raw {
    pub fn keep(place: &mut Vec<u8>, raw: &[u8]) {
        place.clear();
        if raw.len() <= USAGE_RAW_BYTES_MAX {
            place.extend_from_slice(raw);
        }
    }
}

impl UsageTally {
    /// The usage objects as the provider sent them; `None` without any, or where they are larger than a record keeps. They are
    /// not kept here any longer.
    pub fn take_raw(&mut self) -> Option<Box<str>> {
        let Raw { first, last, streamed } = std::mem::take(&mut self.raw);
        if !streamed {
            return String::from_utf8(first).ok().filter(|text| !text.is_empty()).map(Into::into);
        }
        let mut text = String::with_capacity(first.len() + last.len() + 40);
        for (name, raw) in [("message_start", first), ("message_delta", last)] {
            if !raw.is_empty() {
                let value = std::str::from_utf8(&raw).ok()?;
                for part in [if text.is_empty() { "{\"" } else { ",\"" }, name, "\":", value] {
                    text.push_str(part);
                }
            }
        }
        if text.is_empty() {
            return None;
        }
        if let Some(model) = &self.fallback_to {
            text.push_str(",\"fallback\":");
            text.push_str(&serde_json::to_string(model).ok()?);
        }
        text.push('}');
        (text.len() <= USAGE_RAW_BYTES_MAX).then(|| text.into())
    }

    /// Reads what [`UsageTally::take_raw`] gave; `None` where it cannot be read.
    pub fn of_raw(raw: &str) -> Option<Self> {
        let raw = raw.as_bytes();
        let mut tally = Self::default();
        let (start, delta) = (member(raw, &START), member(raw, &DELTA));
        let read = match (start, delta) {
            (None, None) => tally.whole(raw),
            _ => start.is_none_or(|start| tally.started_with(start)) && delta.is_none_or(|delta| tally.went_on(delta)),
        };
        if let Some(model) = member(raw, &FALLBACK) {
            tally.fallback_to = unescape_string(model).map(Into::into);
        }
        read.then_some(tally)
    }
}
