//! Header lines taken apart where they are written as nearly all are. Anything else is httparse's to judge, which knows what is
//! tolerated and what each fault is called; a test holds both to the same answers.

use super::header::{Header, Headers};
use super::known::Known;
use super::lines::is_token_byte;
use super::span::Span;

/// Takes a line apart that stands at `start`; its first `name_len` bytes have been found to be letters, digits and hyphens. False
/// if it is not `name: value`. To be believed only where no control character stands but tabs.
#[inline]
pub(super) fn plain_field(line: &[u8], start: usize, mut name_len: usize, headers: &mut Headers) -> bool {
    if line.get(name_len) != Some(&b':') {
        name_len = rare_name_len(line);
    }
    let Some((name, [b':', value @ ..])) = line.split_at_checked(name_len) else { return false };
    if name.is_empty() {
        return false;
    }
    let (colon, end) = (start + name_len, start + line.len());
    let value = match value {
        [b' ', first, .., last] if *first > b' ' && *last > b' ' => Span::new(colon + 2, end),
        _ => trimmed(value, end),
    };
    headers.push(Header { name: Span::new(start, colon), value, known: Known::of(name) });
    true
}

/// How long the token is that a line starts with: a few bytes may stand in it that hardly any name has.
#[cold]
fn rare_name_len(line: &[u8]) -> usize {
    line.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(line.len())
}

/// The place of a value that ends at `end`, without the blanks around it.
#[inline(never)]
fn trimmed(value: &[u8], end: usize) -> Span {
    let before = value.iter().take_while(|byte| is_blank(byte)).count();
    if before == value.len() {
        return Span::new(end, end);
    }
    let after = value.iter().rev().take_while(|byte| is_blank(byte)).count();
    Span::new(end - value.len() + before, end - after)
}

#[inline]
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
