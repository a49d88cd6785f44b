//! Header fields: where they lie, and how those of one kind are found.

use std::ops::Deref;

use super::known::{Known, is_name};
use super::span::Span;

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name as sent.
    pub name: Span,
    /// The value without surrounding white space.
    pub value: Span,
    /// What the name means here.
    pub known: Known,
}

/// The header lines of one message, in order, with an index by what their names mean: a request is asked for some twenty kinds,
/// most of which it does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers {
    lines: Vec<Header>,
    /// For each kind the place of its first line, counted from 1; 0 where there is none.
    first: [u8; Known::COUNT],
    /// A bit for each kind of which there is more than one line.
    repeated: u64,
}

/// Header lines that there is room for at once.
const LINES_USUAL: usize = 32;

const _: () = assert!(Known::COUNT <= u64::BITS as usize && super::lines::HEADERS_MAX < u8::MAX as usize);

impl Default for Headers {
    fn default() -> Self {
        Self { lines: Vec::new(), first: [0; Known::COUNT], repeated: 0 }
    }
}

impl Deref for Headers {
    type Target = [Header];

    #[inline]
    fn deref(&self) -> &[Header] {
        &self.lines
    }
}

impl Headers {
    /// Forgets all lines, and keeps or makes room for as many as a head usually has.
    #[inline]
    pub(super) fn clear(&mut self) {
        self.lines.clear();
        self.lines.reserve(LINES_USUAL);
        self.first = [0; Known::COUNT];
        self.repeated = 0;
    }

    /// Adds the next line. No parser takes more than [`super::HEADERS_MAX`], so that each has a place that the index can name.
    #[inline]
    pub(super) fn push(&mut self, header: Header) {
        self.lines.push(header);
        let kind = header.known as usize;
        match self.first[kind] {
            0 => self.first[kind] = self.lines.len() as u8,
            _ => self.repeated |= 1 << kind,
        }
    }

    /// Forgets all lines behind the first `count`.
    pub(super) fn keep_first(&mut self, count: usize) {
        let gone = self.lines.drain(count.min(self.lines.len())..);
        let mut kinds = 0_u64;
        for (place, header) in (count + 1..).zip(gone) {
            let kind = header.known as usize;
            kinds |= 1 << kind;
            if usize::from(self.first[kind]) == place {
                self.first[kind] = 0;
            }
        }
        let mut unsure = kinds & self.repeated;
        while unsure != 0 {
            let bit = unsure & unsure.wrapping_neg();
            unsure ^= bit;
            if self.lines.iter().filter(|header| 1 << header.known as usize == bit).count() < 2 {
                self.repeated ^= bit;
            }
        }
    }

    /// The lines of one kind, in order.
    #[inline]
    pub fn of(&self, known: Known) -> impl Iterator<Item = &Header> {
        let kind = known as usize;
        let first = usize::from(self.first[kind]);
        let last = if self.repeated & 1 << kind == 0 { first } else { self.lines.len() };
        let lines = self.lines.get(first.wrapping_sub(1)..last).unwrap_or_default();
        lines.iter().filter(move |header| header.known == known)
    }
}

/// The value of the first header of this kind.
#[inline]
pub fn header<'b>(buf: &'b [u8], headers: &Headers, known: Known) -> Option<&'b [u8]> {
    headers.of(known).next().map(|header| header.value.of(buf))
}

/// The values of all headers of this kind, in order.
#[inline]
pub fn header_all<'b>(buf: &'b [u8], headers: &Headers, known: Known) -> impl Iterator<Item = &'b [u8]> {
    headers.of(known).map(|header| header.value.of(buf))
}

/// The tokens of every `Connection` header: options such as `close`, and names of headers that end at this hop.
pub fn connection_names<'b>(buf: &'b [u8], headers: &Headers) -> impl Iterator<Item = &'b [u8]> {
    header_all(buf, headers, Known::Connection).flat_map(list)
}

/// Whether a `Connection` header names other headers, which then end at this hop, and does not just say `keep-alive` or `close`.
pub fn names_headers(buf: &[u8], headers: &Headers) -> bool {
    let is_option = |name: &[u8]| is_name(name, b"keep-alive") || is_name(name, b"close");
    // Hardly any is a list.
    let names = |value: &[u8]| !is_option(value) && list(value).any(|name| !is_option(name));
    header_all(buf, headers, Known::Connection).any(names)
}

/// The elements of a comma-separated list, empty ones left out (RFC 9110 5.6.1).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}
