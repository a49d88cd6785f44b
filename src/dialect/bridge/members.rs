//! Cutting members out of an object and putting others in, commas included.

use super::{Edit, text::Text};

/// Where a member stands: from the first quote of its key to behind its value.
pub(super) type Span = (u64, u64);

/// The edits that take members out of the object that starts at `open`, and put `inserted` (`"key":value`) in at its beginning.
/// `None`: the places are not those of members of an object.
pub(super) fn edits(text: Text<'_>, open: u64, mut cut: Vec<Span>, inserted: &[Vec<u8>]) -> Option<Vec<Edit>> {
    cut.sort_unstable();
    let first = text.next_solid(open + 1)?;
    let mut edits = Vec::new();
    let mut empties = first.1 == b'}';
    let mut rest = cut.iter().copied().peekable();
    while let Some((start, mut end)) = rest.next() {
        // A run of members without another between them goes in one piece.
        let closed = loop {
            let (at, byte) = text.next_solid(end)?;
            match byte {
                b'}' => break true,
                b',' => {}
                _ => return None,
            }
            let next = text.next_solid(at + 1)?.0;
            match rest.next_if(|member| member.0 == next) {
                Some(member) => end = member.1,
                None => {
                    end = next;
                    break false;
                }
            }
        };
        let before = text.last_solid(start)?;
        let from = match (closed, before.1) {
            // The last member takes the comma in front of it along.
            (true, b',') => before.0,
            _ => start,
        };
        empties |= closed && before.0 == open;
        edits.push(Edit { from, to: end, text: Vec::new() });
    }
    if !inserted.is_empty() {
        let mut text = inserted.join(&b","[..]);
        if !empties {
            text.push(b',');
        }
        edits.insert(0, Edit { from: open + 1, to: open + 1, text });
    }
    Some(edits)
}
