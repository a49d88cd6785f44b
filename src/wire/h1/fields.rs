//! Header lines taken apart where they are written as nearly all are. Anything else is httparse's to judge, which knows what is
//! tolerated and what each fault is called; a test holds both to the same answers.

use super::header::{Header, Known};
use super::lines::is_token_byte;
use super::span::Span;

/// Takes the lines of `buf` from `start` on apart, up to the empty one at its end. False if one is not plain `name: value`; then
/// what `headers` holds means nothing. To be asked only where no control character stands but the ends of lines.
pub(super) fn plain_fields(buf: &[u8], start: usize, headers: &mut Vec<Header>) -> bool {
    headers.clear();
    let mut at = start;
    loop {
        let Some(line) = buf.get(at..) else { return false };
        let name = line.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(line.len());
        match line.get(name) {
            Some(b':') if name > 0 => {}
            Some(b'\r') if name == 0 => return line == b"\r\n",
            _ => return false,
        }
        let value = line.get(name + 1..).unwrap_or_default();
        let Some(len) = memchr::memchr(b'\r', value) else { return false };
        let end = at + name + 1 + len;
        let value = value.get(..len).unwrap_or_default();
        let (before, after) = (blanks(value.iter()), blanks(value.iter().rev()));
        let value = if before == len { Span::new(end, end) } else { Span::new(end - len + before, end - after) };
        let known = Known::of(line.get(..name).unwrap_or_default());
        headers.push(Header { name: Span::new(at, at + name), value, known });
        at = end + 2;
    }
}

fn blanks<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}
