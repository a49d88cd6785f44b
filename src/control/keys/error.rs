//! Why a key could not be made or changed, in words for the operator.

use std::fmt;

/// One field of a request that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Which field; empty for the whole.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

/// Why a change of keys was refused.
#[derive(Debug)]
pub enum KeyError {
    /// The request itself is wrong.
    Invalid(Vec<FieldError>),
    /// No such key.
    Unknown,
    /// It conflicts with how things stand; the text says how, and what to do.
    Conflict(String),
    /// It cannot be kept: the disk, or the system's randomness.
    Unavailable(String),
}

impl KeyError {
    pub(super) fn conflict(text: impl Into<String>) -> Self {
        Self::Conflict(text.into())
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(fields) => {
                f.write_str(&fields.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
            }
            Self::Unknown => f.write_str("there is no key of this id"),
            Self::Conflict(text) | Self::Unavailable(text) => f.write_str(text),
        }
    }
}
