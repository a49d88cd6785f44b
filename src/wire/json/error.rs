//! Why a body cannot be walked.

use std::fmt;

/// A body that is not one JSON object, as far as its structure shows. Offsets are in bytes from the start of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// The body starts with a UTF-8 byte order mark.
    ByteOrderMark,
    /// The body is something other than an object.
    NotAnObject {
        /// What it is, as a noun with its article.
        found: &'static str,
    },
    /// A byte that cannot stand where it does.
    Unexpected {
        /// Where it stands.
        offset: u64,
        /// What should have come instead.
        expected: &'static str,
    },
    /// A bracket is closed by one of the other kind.
    Mismatched {
        /// Where the closing one stands.
        offset: u64,
    },
    /// Containers are nested deeper than the scanner follows.
    TooDeep {
        /// Where the one too many opens.
        offset: u64,
    },
    /// A key holds an escape that JSON does not have.
    KeyEscape {
        /// Where the key ends.
        offset: u64,
    },
    /// Something follows the object.
    Trailing {
        /// Where it starts.
        offset: u64,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByteOrderMark => f.write_str("the body starts with a byte order mark: send UTF-8 without one"),
            Self::NotAnObject { found } => write!(f, "the body is {found}: send one JSON object"),
            Self::Unexpected { offset, expected } => {
                write!(f, "the body is not valid JSON: expected {expected} at byte {offset}")
            }
            Self::Mismatched { offset } => {
                write!(f, "the body is not valid JSON: wrong closing bracket at byte {offset}")
            }
            Self::TooDeep { offset } => write!(f, "the body is nested too deeply at byte {offset}"),
            Self::KeyEscape { offset } => {
                write!(f, "the body is not valid JSON: bad escape in the key that ends at byte {offset}")
            }
            Self::Trailing { offset } => {
                write!(f, "the body is not valid JSON: more bytes after the object at byte {offset}")
            }
        }
    }
}

impl std::error::Error for JsonError {}
