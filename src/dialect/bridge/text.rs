//! A body in the pieces it arrived in.

use crate::wire::json::{JsonError, TopLevelScanner, Wanted};
use std::ops::Range;

/// The pieces, in order.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(pub &'a [&'a [u8]]);

impl<'a> Text<'a> {
    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|piece| piece.len() as u64).sum()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pieces of a range.
    fn pieces(&self, range: Range<u64>) -> impl Iterator<Item = &'a [u8]> {
        let mut offset = 0;
        self.0.iter().filter_map(move |piece| {
            let (start, end) = (offset, offset + piece.len() as u64);
            offset = end;
            let local = |at: u64| (at.clamp(start, end) - start) as usize;
            piece.get(local(range.start)..local(range.end)).filter(|part| !part.is_empty())
        })
    }

    /// A copy of a range.
    pub fn copy(&self, range: Range<u64>) -> Vec<u8> {
        let mut out = Vec::with_capacity(range.end.saturating_sub(range.start) as usize);
        self.pieces(range).for_each(|piece| out.extend_from_slice(piece));
        out
    }

    /// Walks over the object in a range.
    pub(super) fn scan(&self, range: Range<u64>, wanted: &'static [Wanted]) -> Result<TopLevelScanner, JsonError> {
        let mut scanner = TopLevelScanner::new(wanted);
        self.pieces(range).try_for_each(|piece| scanner.feed(piece))?;
        Ok(scanner)
    }

    /// The first byte that is no white space, from an offset on, and where it stands.
    pub(super) fn next_solid(&self, from: u64) -> Option<(u64, u8)> {
        let mut at = from;
        for piece in self.pieces(from..u64::MAX) {
            match piece.iter().position(|byte| !byte.is_ascii_whitespace()) {
                Some(place) => return piece.get(place).map(|byte| (at + place as u64, *byte)),
                None => at += piece.len() as u64,
            }
        }
        None
    }

    /// The last byte that is no white space in front of an offset, and where it stands.
    pub(super) fn last_solid(&self, before: u64) -> Option<(u64, u8)> {
        let mut end = before.min(self.len());
        // White space between members is short: looked for in steps that double.
        let mut step = 64;
        while end > 0 {
            let start = end.saturating_sub(step);
            let bytes = self.copy(start..end);
            if let Some(place) = bytes.iter().rposition(|byte| !byte.is_ascii_whitespace()) {
                return bytes.get(place).map(|byte| (start + place as u64, *byte));
            }
            (end, step) = (start, step * 2);
        }
        None
    }
}
