//! What a provider is like by itself, whatever a request's own script says: its bad days, and its prompt caches; and how far it
//! is in scripts of several turns.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError, RwLock};

use super::http::Head;
use super::script::{Script, ScriptError, UsageScript};

/// Sessions whose prompts are cached, at most.
const SESSIONS_MAX: usize = 1 << 16;
/// Scripts of several turns whose place is kept, at most.
const SCRIPTS_MAX: usize = 1 << 10;
/// Tokens behind the last cache mark of a turn: what is new in every turn and never cached.
const UNCACHED_TOKENS: u64 = 4;

/// Which session a request belongs to. A real provider tells by the prompt itself; Claude Code's own header does not get here.
const SESSION_HEADER: &str = "anthropic-sim-session";

/// What a provider is like.
#[derive(Debug, Default)]
pub(super) struct Standing {
    words: RwLock<String>,
    /// Cached prompt tokens by session and model. Nothing expires: a run is shorter than a cache lives.
    caches: Mutex<HashMap<(String, String), u64>>,
    /// Requests so far with each script that has several turns.
    turns: Mutex<HashMap<String, usize>>,
}

impl Standing {
    /// Replaces the words that stand in front of every request's script.
    pub(super) fn set(&self, words: &str) {
        *self.words.write().unwrap_or_else(PoisonError::into_inner) = words.to_owned();
    }

    /// The script of a request: the standing words, then its own. None where there are neither, so that the body is searched.
    pub(super) fn script(&self, head: &Head) -> Option<Result<Script, ScriptError>> {
        let words = self.words.read().unwrap_or_else(PoisonError::into_inner);
        match (words.as_str(), head.text("anthropic-sim").map(|own| self.turn(own))) {
            ("", own) => own.map(str::parse),
            (words, own) => Some(format!("{words} {}", own.unwrap_or_default()).parse()),
        }
    }

    /// The script in a body; all defaults where there is none.
    pub(super) fn script_in_body(&self, body: &[u8]) -> Result<Script, ScriptError> {
        self.turn(Script::words_in_body(body)?).parse()
    }

    /// The words that count for this request, of a script that may have several turns.
    fn turn<'w>(&self, words: &'w str) -> &'w str {
        if !words.contains(" then ") {
            return words;
        }
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.len() >= SCRIPTS_MAX && !turns.contains_key(words) {
            turns.clear();
        }
        let turn = turns.entry(words.to_owned()).or_insert(0);
        *turn += 1;
        Script::words_of_turn(words, *turn - 1)
    }

    /// What the prompt of a session costs here: what was cached by the turn before is read, the rest is written. A prompt that
    /// has become shorter has been compacted, and begins a cache of its own.
    pub(super) fn cached(&self, head: &Head, model: &str, prompt_tokens: u64, usage: &mut UsageScript) {
        let Some(session) = head.text(SESSION_HEADER) else { return };
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (session.to_owned(), model.to_owned());
        if caches.len() >= SESSIONS_MAX && !caches.contains_key(&place) {
            caches.clear();
        }
        let known = caches.entry(place).or_insert(0);
        let whole = prompt_tokens.saturating_sub(UNCACHED_TOKENS);
        let read = if *known <= whole { *known } else { 0 };
        *known = whole;
        (usage.cache_read, usage.cache_5m) = (read, whole - read);
        usage.input_tokens = Some(prompt_tokens - whole);
    }
}
