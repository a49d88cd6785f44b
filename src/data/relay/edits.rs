//! Edits of a body on its way up: replacements of raw bytes at known offsets, and everything else as it came (law 1).

use crate::{
    dialect::bridge::Edit,
    sys::buf::{Buf, Part},
};
use std::rc::Rc;

/// Replacements in the order of their places, none over another. Nearly always there are none.
#[derive(Clone, Default)]
pub struct Edits(Vec<Splice>);

#[derive(Clone)]
struct Splice {
    from: u64,
    to: u64,
    text: Part,
}

impl Edits {
    /// Replaces `from..to` by a text.
    pub fn one(from: u64, to: u64, text: &[u8]) -> Self {
        Self(vec![Splice::new(from, to, text)])
    }

    /// All of a bridge's.
    pub fn of(edits: &[Edit]) -> Self {
        Self(edits.iter().map(|edit| Splice::new(edit.from, edit.to, &edit.text)).collect())
    }

    /// With others besides, in other places.
    #[must_use]
    pub fn and(mut self, more: &[Edit]) -> Self {
        self.0.extend(more.iter().map(|edit| Splice::new(edit.from, edit.to, &edit.text)));
        self.0.sort_by_key(|splice| splice.from);
        self
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// By how much the body grows.
    pub fn growth(&self) -> i64 {
        self.0.iter().map(|edit| edit.text.len() as i64 - (edit.to - edit.from) as i64).sum()
    }

    /// What stands in for a part of the body that begins at `offset`. No piece is empty. A text stands where its edit begins, so
    /// one at the very end of a body would be lost; there is always a closing brace behind.
    pub fn apply(&self, offset: u64, part: &Part) -> Vec<Part> {
        let end = offset + part.len() as u64;
        let local = |at: u64| (at - offset) as usize;
        let mut pieces = Vec::with_capacity(4);
        let mut at = offset;
        for edit in &self.0 {
            if edit.from >= end {
                break;
            }
            if edit.from >= offset {
                pieces.push(part.slice(local(at)..local(edit.from.max(at))));
                pieces.push(edit.text.clone());
            }
            at = at.max(edit.to.min(end));
        }
        pieces.push(part.slice(local(at)..part.len()));
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

impl Splice {
    fn new(from: u64, to: u64, text: &[u8]) -> Self {
        let len = text.len();
        Self { from, to, text: Part::new(Rc::new(Buf::copy_of(text)), 0..len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(edits: &Edits, body: &[u8], cuts: [usize; 2]) -> String {
        let mut out = Vec::new();
        for range in [0..cuts[0], cuts[0]..cuts[1], cuts[1]..body.len()] {
            let part = Part::new(Rc::new(Buf::copy_of(&body[range.clone()])), 0..range.len());
            if !part.is_empty() {
                edits.apply(range.start as u64, &part).iter().for_each(|piece| out.extend_from_slice(piece.bytes()));
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_edits_are_the_same_wherever_the_body_was_cut() {
        let body = br#"{"model":"sonnet","x":1}"#;
        let edit = |from, to, text: &str| Edit { from, to, text: text.as_bytes().to_vec() };
        for (edits, whole) in [
            (vec![edit(9, 17, r#""claude-sonnet-4-6""#)], r#"{"model":"claude-sonnet-4-6","x":1}"#),
            (vec![edit(1, 1, "\"v\":1,"), edit(1, 18, ""), edit(22, 23, "22")], r#"{"v":1,"x":22}"#),
            (vec![edit(17, 23, "")], r#"{"model":"sonnet"}"#),
            (vec![edit(0, 24, "other")], "other"),
            (vec![], r#"{"model":"sonnet","x":1}"#),
        ] {
            let edits = Edits::of(&edits);
            assert_eq!(body.len() as i64 + edits.growth(), whole.len() as i64);
            for first in 0..=body.len() {
                for second in first..=body.len() {
                    assert_eq!(edited(&edits, body, [first, second]), whole, "cut at {first} and {second}");
                }
            }
        }
    }
}
