//! Where a script stands in a body, and which of its turns counts.

use super::{Script, ScriptError, fault};

impl Script {
    /// The words between `[[sim` and `]]` in a body; none where there is no script.
    ///
    /// # Errors
    /// When the closing brackets are missing.
    pub fn words_in_body(body: &[u8]) -> Result<&str, ScriptError> {
        let Some(start) = memchr::memmem::find(body, b"[[sim ") else { return Ok("") };
        let rest = &body[start + b"[[sim ".len()..];
        let end = memchr::memmem::find(rest, b"]]").ok_or_else(|| fault("script `[[sim …` has no closing `]]`"))?;
        std::str::from_utf8(&rest[..end]).map_err(|_| fault("script is not UTF-8"))
    }

    /// The words of the turn-th behaviour, counted from 0, of a script of several.
    pub fn words_of_turn(words: &str, turn: usize) -> &str {
        let mut turns = words.split(" then ");
        let last = turns.clone().count() - 1;
        turns.nth(turn.min(last)).unwrap_or(words)
    }
}
