//! What is kept of bodies, and of whose (`[audit] bodies`).

use std::collections::HashMap;

/// What is kept of a request's bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bodies {
    /// Nothing.
    #[default]
    None,
    /// Their SHA-256.
    Hash,
    /// Their SHA-256, and the bodies, encrypted.
    Full,
}

/// What becomes of a request whose bodies should be stored when the store is behind or full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOverflow {
    /// It is refused before anything of it goes upstream.
    #[default]
    Refuse,
    /// It runs, and its record says that its bodies were dropped.
    Drop,
}

/// Whose bodies are kept, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BodyRules {
    /// Of everybody whose team has no rule of its own.
    pub default: Bodies,
    /// Of single teams.
    pub teams: HashMap<Box<str>, Bodies>,
    /// What to do when they cannot be stored.
    pub on_overflow: OnOverflow,
}

impl BodyRules {
    /// Is nothing kept of anybody?
    pub fn is_off(&self) -> bool {
        self.default == Bodies::None && self.teams.is_empty()
    }

    /// Is anybody's stored?
    pub fn stores_any(&self) -> bool {
        self.default == Bodies::Full || self.teams.values().any(|bodies| *bodies == Bodies::Full)
    }

    /// What is kept of a team's; an empty name is no team's.
    pub fn of(&self, team: &str) -> Bodies {
        self.teams.get(team).copied().unwrap_or(self.default)
    }
}
