//! The kinds of events of a Messages stream.

use crate::wire::json::{TopLevelScanner, Wanted, unescape_string};
use memchr::memmem::Finder;
use std::sync::LazyLock;

/// What an event is (contract.md §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// `message_start`: model and first usage
    MessageStart,
    /// `message_delta`: stop reason and cumulative usage
    MessageDelta,
    /// `message_stop`: the answer is whole
    MessageStop,
    /// `content_block_start`
    ContentBlockStart,
    /// `content_block_delta`
    ContentBlockDelta,
    /// `content_block_stop`
    ContentBlockStop,
    /// `ping`
    Ping,
    /// `error`: ends the stream
    Error,
    /// Anything else; passes like the rest.
    Other,
}

/// How far into its data the kind of an unnamed event is looked for.
const TYPE_KEY_BYTES_MAX: usize = 64;
/// How far into its data the type of a content block is looked for.
const BLOCK_TYPE_BYTES_MAX: usize = 128;
/// Bytes of data that suffice to classify any event.
pub(super) const HEAD_BYTES_MAX: usize = 128;

/// Made once: making one costs more than looking through so few bytes.
static TYPE_KEY: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"type\""));
static FALLBACK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"fallback\""));

impl EventClass {
    /// The kind an `event:` line names.
    pub(super) fn of_name(name: &[u8]) -> Self {
        match name {
            b"content_block_delta" => Self::ContentBlockDelta,
            b"message_start" => Self::MessageStart,
            b"message_delta" => Self::MessageDelta,
            b"message_stop" => Self::MessageStop,
            b"content_block_start" => Self::ContentBlockStart,
            b"content_block_stop" => Self::ContentBlockStop,
            b"ping" => Self::Ping,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// The kind an event without a name gives itself: the `type` member at the start of its data.
    pub fn of_data(data: &[u8]) -> Self {
        let start = data.get(..TYPE_KEY_BYTES_MAX).unwrap_or(data);
        let head = data.get(..HEAD_BYTES_MAX).unwrap_or(data);
        TYPE_KEY
            .find(start)
            .and_then(|at| head.get(at + 6..)?.trim_ascii_start().strip_prefix(b":"))
            .and_then(|rest| rest.trim_ascii_start().strip_prefix(b"\""))
            .and_then(|rest| rest.get(..memchr::memchr(b'"', rest)?))
            .map_or(Self::Other, Self::of_name)
    }

    /// The kind a whole event gives itself, wherever in its data `type` stands.
    pub fn of_whole(data: &[u8]) -> Self {
        static TYPE: [Wanted; 1] = [Wanted { key: "type", capture_bytes_max: TYPE_KEY_BYTES_MAX }];
        let mut scanner = TopLevelScanner::new(&TYPE);
        if scanner.feed(data).is_err() {
            return Self::Other;
        }
        let name = scanner.value(0).and_then(|value| unescape_string(value.raw));
        name.map_or(Self::Other, |name| Self::of_name(name.as_bytes()))
    }

    /// Whether a visitor needs this event's data, by its kind and its first bytes.
    #[inline]
    pub fn is_needed(self, data: &[u8]) -> bool {
        self.is_shown() && (self != Self::ContentBlockStart || is_fallback_block(data))
    }

    /// Whether a visitor may need this kind's data.
    #[inline]
    pub(super) fn is_shown(self) -> bool {
        matches!(self, Self::MessageStart | Self::MessageDelta | Self::Error | Self::ContentBlockStart)
    }
}

/// Whether a content block's first bytes make it a `fallback` block: another model answers from here.
pub(super) fn is_fallback_block(data: &[u8]) -> bool {
    let head = data.get(..BLOCK_TYPE_BYTES_MAX).unwrap_or(data);
    FALLBACK.find(head).is_some()
}
