//! One frame as it is shown: its headers, and as much of its payload as is kept.

/// A frame whose checksums were right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'f> {
    /// The headers, encoded.
    pub headers: &'f [u8],
    /// The payload, or its beginning.
    pub payload: &'f [u8],
    /// Bytes of the whole payload.
    pub payload_len: usize,
}

impl<'f> Frame<'f> {
    /// Whether the payload shown is not the whole one.
    pub fn is_cut(&self) -> bool {
        self.payload.len() < self.payload_len
    }

    /// The text of a string header; the first of that name.
    pub fn text(&self, name: &str) -> Option<&'f str> {
        let mut rest = self.headers;
        while !rest.is_empty() {
            let (found, value, tail) = header(rest)?;
            if found == name.as_bytes() {
                return value.and_then(|text| std::str::from_utf8(text).ok());
            }
            rest = tail;
        }
        None
    }
}

/// A header's name, the value where it is a string, and what follows. `None`: not a header.
type Header<'f> = (&'f [u8], Option<&'f [u8]>, &'f [u8]);

fn header(bytes: &[u8]) -> Option<Header<'_>> {
    let (name_len, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
    let (kind, rest) = rest.split_first()?;
    let fixed = match kind {
        0 | 1 => 0,
        2 => 1,
        3 => 2,
        4 => 4,
        5 | 8 => 8,
        6 | 7 => {
            let (len, rest) = rest.split_first_chunk::<2>()?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            return Some((name, (*kind == 7).then_some(value), rest));
        }
        9 => 16,
        _ => return None,
    };
    Some((name, None, rest.get(fixed..)?))
}
