//! One thing that is wrong with a configuration, where, and what to do about it.

use std::fmt;

/// An error an operator can act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where: the full path of the key, `upstream[1].auth.api_key`; lists count from 0.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub mend: String,
}

impl ConfigError {
    /// Puts an error together. None of the texts may contain a secret.
    pub fn new(path: impl Into<String>, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), mend: mend.into() }
    }

    /// An error of the TOML syntax. The source line is not shown: it may hold what somebody took for a secret's place.
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..at];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |newline| newline + 1);
        let column = String::from_utf8_lossy(&before[line_start..]).chars().count() + 1;
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Self::new(format!("line {line}, column {column}"), message, "correct the TOML syntax there")
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.message, self.mend)
    }
}

impl std::error::Error for ConfigError {}
