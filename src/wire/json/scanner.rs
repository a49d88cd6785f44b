//! The walk over the top level of one JSON object, resumable at any byte.

use fearless_simd::Level;

use super::error::JsonError;
use super::inside::{Flaw, Inside, short_string_end};
use super::string::unescape_into;

/// A top-level member to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The key, unescaped.
    pub key: &'static str,
    /// How many bytes of the raw value to keep; 0 keeps its offsets only.
    pub capture_bytes_max: usize,
}

/// The first value of a wanted key, complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// Offset of the first quote of its key.
    pub key_start: u64,
    /// Offset of the value's first byte from the start of the body; a string's quotes belong to it.
    pub start: u64,
    /// Offset behind its last byte.
    pub end: u64,
    /// The first bytes of the raw value, up to the cap.
    pub raw: &'a [u8],
    /// Whether `raw` is not the whole value.
    pub truncated: bool,
}

/// What is known of one wanted key.
#[derive(Clone, Debug, Default)]
struct Slot {
    seen: u32,
    key_start: u64,
    start: u64,
    /// Set when the value is complete.
    end: Option<u64>,
    raw: Vec<u8>,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Start,
    FirstKeyOrEnd,
    NextKey,
    Key,
    Colon,
    ValueStart,
    String,
    Scalar,
    Container,
    CommaOrEnd,
    Done,
}

/// Finds wanted members of the top-level object in a body that arrives in pieces.
///
/// Checks the structure of the top level, strings, brackets, and that no backslash stands outside of strings; what else
/// lies inside values is the upstream's matter.
#[derive(Clone, Debug)]
pub struct TopLevelScanner {
    wanted: &'static [Wanted],
    slots: Vec<Slot>,
    at: At,
    inside: Inside,
    /// The slot the current value fills.
    filling: Option<usize>,
    /// Offset of the current key's first quote.
    key_start: u64,
    /// Where the current key or value, or what this chunk has of it, starts in the chunk.
    part_start: usize,
    /// What earlier chunks had of the current key, without its quote.
    key: Vec<u8>,
    /// A key longer than any spelling of a wanted one is not kept.
    key_is_foreign: bool,
    unescaped: Vec<u8>,
    /// Bytes of all chunks before the current one.
    offset: u64,
    error: Option<JsonError>,
}

impl TopLevelScanner {
    /// A scanner for one body. Value indices are those of `wanted`.
    pub fn new(wanted: &'static [Wanted]) -> Self {
        Self {
            wanted,
            slots: vec![Slot::default(); wanted.len()],
            at: At::Start,
            inside: Inside::new(Level::new()),
            filling: None,
            key_start: 0,
            part_start: 0,
            key: Vec::new(),
            key_is_foreign: false,
            unescaped: Vec::new(),
            offset: 0,
            error: None,
        }
    }

    /// Makes ready for the next body, keeping what was allocated.
    pub fn reset(&mut self) {
        for slot in &mut self.slots {
            let mut raw = std::mem::take(&mut slot.raw);
            raw.clear();
            *slot = Slot { raw, ..Slot::default() };
        }
        self.at = At::Start;
        self.filling = None;
        self.key.clear();
        self.key_is_foreign = false;
        self.offset = 0;
        self.error = None;
    }

    /// Walks the next bytes of the body.
    ///
    /// # Errors
    /// [`JsonError`] when the body cannot be one JSON object; every later call returns it again. What was complete
    /// before stays readable.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<(), JsonError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.part_start = 0;
        let mut at = 0;
        while at < chunk.len() {
            at = self.advance(chunk, at).inspect_err(|error| self.error = Some(*error))?;
        }
        match self.at {
            At::Key => self.keep_key(chunk),
            At::String | At::Scalar | At::Container => self.keep_value(chunk, chunk.len()),
            _ => {}
        }
        self.offset += chunk.len() as u64;
        Ok(())
    }

    /// The first value of `wanted[wanted_index]`, once it is complete.
    pub fn value(&self, wanted_index: usize) -> Option<Value<'_>> {
        let slot = self.slots.get(wanted_index)?;
        let end = slot.end?;
        Some(Value {
            key_start: slot.key_start,
            start: slot.start,
            end,
            raw: &slot.raw,
            truncated: (slot.raw.len() as u64) < end - slot.start,
        })
    }

    /// How many times the key has been read so far: above 1 the body says two things.
    pub fn seen(&self, wanted_index: usize) -> u32 {
        self.slots.get(wanted_index).map_or(0, |slot| slot.seen)
    }

    /// Whether the object has closed, and nothing but white space followed so far.
    pub fn is_complete(&self) -> bool {
        self.at == At::Done && self.error.is_none()
    }

    /// Bytes of the body walked so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes the bytes of one token, or what the chunk has of it, and what follows it where that is what should. Returns
    /// where to go on.
    #[inline]
    fn advance(&mut self, chunk: &[u8], at: usize) -> Result<usize, JsonError> {
        match self.at {
            At::Key => self.walk_key(chunk, at),
            At::String | At::Scalar | At::Container => self.walk_value(chunk, at),
            _ => match chunk.get(at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => Ok(at + 1),
                Some(byte) => self.punctuation(*byte, at),
                None => Ok(chunk.len()),
            },
        }
    }

    /// A byte between the tokens of the top level.
    fn punctuation(&mut self, byte: u8, at: usize) -> Result<usize, JsonError> {
        let offset = self.offset + at as u64;
        match (self.at, byte) {
            (At::Start, b'{') => self.at = At::FirstKeyOrEnd,
            (At::Start, 0xef) => return Err(JsonError::ByteOrderMark),
            (At::Start, _) => return Err(JsonError::NotAnObject { found: name_of(byte) }),
            (At::FirstKeyOrEnd | At::NextKey, b'"') => self.begin_key(at),
            (At::FirstKeyOrEnd | At::CommaOrEnd, b'}') => self.at = At::Done,
            (At::Colon, b':') => self.at = At::ValueStart,
            (At::CommaOrEnd, b',') => self.at = At::NextKey,
            (At::ValueStart, _) => self.begin_value(byte, at)?,
            (At::Done, _) => return Err(JsonError::Trailing { offset }),
            (At::FirstKeyOrEnd, _) => return Err(JsonError::Unexpected { offset, expected: "a key or `}`" }),
            (At::NextKey, _) => return Err(JsonError::Unexpected { offset, expected: "a key" }),
            (At::Colon, _) => return Err(JsonError::Unexpected { offset, expected: "`:`" }),
            (_, _) => return Err(JsonError::Unexpected { offset, expected: "`,` or `}`" }),
        }
        Ok(at + 1)
    }

    /// The first quote of a key stands at `at`.
    #[inline]
    fn begin_key(&mut self, at: usize) {
        self.part_start = at + 1;
        self.key_start = self.offset + at as u64;
        self.key.clear();
        self.key_is_foreign = false;
        self.inside.enter_string();
        self.at = At::Key;
    }

    /// A value begins with `byte` at `at`.
    #[inline]
    fn begin_value(&mut self, byte: u8, at: usize) -> Result<(), JsonError> {
        let offset = self.offset + at as u64;
        self.part_start = at;
        if let Some(slot) = self.filling.and_then(|index| self.slots.get_mut(index)) {
            slot.start = offset;
        }
        self.at = match byte {
            b'"' => {
                self.inside.enter_string();
                At::String
            }
            b'{' | b'[' => {
                self.inside.enter_container(byte == b'{');
                At::Container
            }
            b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => At::Scalar,
            _ => return Err(JsonError::Unexpected { offset, expected: "a value" }),
        };
        Ok(())
    }

    fn walk_key(&mut self, chunk: &[u8], at: usize) -> Result<usize, JsonError> {
        let rest = chunk.get(at..).unwrap_or_default();
        let begins_here = at == self.part_start && self.key.is_empty() && !self.key_is_foreign;
        let (quote, found) = match short_string_end(rest).filter(|_| begins_here) {
            Some(len) => (at + len - 1, index_of(self.wanted, rest.get(..len - 1).unwrap_or_default())),
            None => {
                let Some(len) = self.inside.string_end(rest) else { return Ok(chunk.len()) };
                let quote = at + len - 1;
                (quote, self.find_long_key(chunk, quote, begins_here)?)
            }
        };
        self.filling = None;
        if let Some((index, slot)) = found.and_then(|index| Some((index, self.slots.get_mut(index)?))) {
            slot.seen = slot.seen.saturating_add(1);
            if slot.seen == 1 {
                slot.key_start = self.key_start;
                self.filling = Some(index);
            }
        }
        self.behind_key(chunk, quote + 1)
    }

    /// Which wanted key ends at `quote`, where it may hold escapes or have begun in an earlier chunk.
    fn find_long_key(&mut self, chunk: &[u8], quote: usize, begins_here: bool) -> Result<Option<usize>, JsonError> {
        let found = if begins_here {
            let whole = chunk.get(self.part_start..quote).unwrap_or_default();
            find(self.wanted, whole, &mut self.unescaped)
        } else {
            self.keep_key(chunk.get(..quote).unwrap_or_default());
            if self.key_is_foreign { Ok(None) } else { find(self.wanted, &self.key, &mut self.unescaped) }
        };
        found.map_err(|BadEscape| JsonError::KeyEscape { offset: self.offset + quote as u64 })
    }

    /// A key has ended. Nearly always its colon and its value are in the chunk too.
    #[inline]
    fn behind_key(&mut self, chunk: &[u8], at: usize) -> Result<usize, JsonError> {
        self.at = At::Colon;
        let at = behind_spaces(chunk, at);
        if chunk.get(at) != Some(&b':') {
            return Ok(at);
        }
        self.at = At::ValueStart;
        let at = behind_spaces(chunk, at + 1);
        let Some(byte) = chunk.get(at) else { return Ok(at) };
        self.begin_value(*byte, at)?;
        self.walk_value(chunk, at + 1)
    }

    /// A value has ended. Nearly always a comma and the next key follow.
    #[inline]
    fn behind_value(&mut self, chunk: &[u8], at: usize) -> usize {
        self.at = At::CommaOrEnd;
        let at = behind_spaces(chunk, at);
        if chunk.get(at) != Some(&b',') {
            return at;
        }
        self.at = At::NextKey;
        let at = behind_spaces(chunk, at + 1);
        if chunk.get(at) != Some(&b'"') {
            return at;
        }
        self.begin_key(at);
        at + 1
    }

    /// Skips to the end of the chunk or of the value.
    #[inline]
    fn walk_value(&mut self, chunk: &[u8], at: usize) -> Result<usize, JsonError> {
        let rest = chunk.get(at..).unwrap_or_default();
        let len = match self.at {
            At::Container => return self.walk_container(chunk, at),
            At::String => self.inside.string_end(rest),
            _ => {
                let scalar = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                rest.iter().position(|byte| !scalar(byte))
            }
        };
        Ok(len.map_or(chunk.len(), |len| self.end_value(chunk, at + len)))
    }

    /// Skips to the end of the chunk or of the outermost container.
    fn walk_container(&mut self, chunk: &[u8], at: usize) -> Result<usize, JsonError> {
        let Some(stop) = self.inside.container_end(chunk.get(at..).unwrap_or_default()) else { return Ok(chunk.len()) };
        let end = at + stop.len;
        let offset = self.offset + end as u64 - 1;
        match stop.flaw {
            None => Ok(self.end_value(chunk, end)),
            Some(Flaw::TooDeep) => Err(JsonError::TooDeep { offset }),
            Some(Flaw::Mismatched) => Err(JsonError::Mismatched { offset }),
            Some(Flaw::Backslash) => Err(JsonError::Unexpected { offset, expected: "no backslash outside of strings" }),
        }
    }

    fn end_value(&mut self, chunk: &[u8], end: usize) -> usize {
        self.keep_value(chunk, end);
        if let Some(slot) = self.filling.take().and_then(|index| self.slots.get_mut(index)) {
            slot.end = Some(self.offset + end as u64);
        }
        self.behind_value(chunk, end)
    }

    /// Copies what the chunk has of the current value, as far as it is wanted.
    fn keep_value(&mut self, chunk: &[u8], end: usize) {
        let Some(index) = self.filling else { return };
        let (Some(slot), Some(wanted)) = (self.slots.get_mut(index), self.wanted.get(index)) else { return };
        let part = chunk.get(self.part_start..end).unwrap_or_default();
        let room = wanted.capture_bytes_max.saturating_sub(slot.raw.len());
        slot.raw.extend_from_slice(part.get(..room).unwrap_or(part));
    }

    /// Copies what the chunk has of the current key.
    fn keep_key(&mut self, chunk: &[u8]) {
        let part = chunk.get(self.part_start..).unwrap_or_default();
        if self.key.len() + part.len() > key_bytes_max(self.wanted) {
            self.key_is_foreign = true;
            self.key.clear();
        } else if !self.key_is_foreign {
            self.key.extend_from_slice(part);
        }
    }
}

/// Where the next byte that is no white space stands.
#[inline]
fn behind_spaces(chunk: &[u8], at: usize) -> usize {
    let mut at = at;
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = chunk.get(at) {
        at += 1;
    }
    at
}

/// A key with an escape that JSON does not have: readers disagree about such a key, so it must not get through.
struct BadEscape;

/// Which wanted key a raw key spells.
fn find(wanted: &[Wanted], raw: &[u8], unescaped: &mut Vec<u8>) -> Result<Option<usize>, BadEscape> {
    if memchr::memchr(b'\\', raw).is_none() || raw.len() > key_bytes_max(wanted) {
        return Ok(index_of(wanted, raw));
    }
    unescaped.clear();
    unescape_into(raw, unescaped).ok_or(BadEscape)?;
    Ok(index_of(wanted, unescaped))
}

/// Which wanted key this is.
#[inline]
fn index_of(wanted: &[Wanted], key: &[u8]) -> Option<usize> {
    wanted.iter().position(|wanted| wanted.key.as_bytes() == key)
}

/// Longest spelling of a wanted key: `\uXXXX` for every byte.
fn key_bytes_max(wanted: &[Wanted]) -> usize {
    wanted.iter().map(|wanted| wanted.key.len() * 6).max().unwrap_or(0)
}

/// What a body that starts with `byte` is.
fn name_of(byte: u8) -> &'static str {
    match byte {
        b'[' => "an array",
        b'"' => "a string",
        b'-' | b'0'..=b'9' => "a number",
        b't' | b'f' => "a boolean",
        b'n' => "null",
        _ => "not JSON",
    }
}
