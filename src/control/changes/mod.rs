//! Changes that administrators make, and the beginnings and ends of the gateway itself: what stands of them in the journal's chain.
//!
//! # What an entry says, and when it is written
//!
//! Who, what, on which subject, how that stood before and how it stands after; never a secret, and of no list more than `NAMED_MAX`
//! names. An entry is durable **before** what it says takes effect (a key made or rotated, a budget raised, a reload), so
//! nothing of that kind is in force that the chain does not hold. If it then cannot be done after all, a second entry with the same
//! id says why (`failed`); `ChangeLog` puts both together. If the entry cannot be written, nothing changes, and the caller is told.
//! Four things do not wait: a revocation, a drain, a start and a stop. They take effect whether the disk takes their entry or not,
//! and whoever asked is told if it did not.
//! Deliberately absent: attempts that were refused (a wrong token, a configuration with errors); they change nothing, and are in
//! the log.

mod filter;
mod log;
#[cfg(test)]
mod tests;
mod view;

pub use filter::ChangeFilter;
pub use log::ChangeLog;
pub use view::ChangeView;

use crate::kernel::time::UnixMs;
use std::{borrow::Cow, fmt, net::SocketAddr};

/// Changes kept in memory for `GET /admin/v1/changes`.
pub const CHANGES_KEPT_MAX: usize = 10_000;
/// Changes that may wait for the journal at once.
pub const CHANGES_WAITING_MAX: usize = 256;
/// `before` or `after` of one change. Bytes; a longer one is replaced by a note that says so.
pub const DETAIL_BYTES_MAX: usize = 64 * 1024;
/// Names of one list in `before` or `after`; of further ones only the number is kept.
pub const NAMED_MAX: usize = 50;

/// What can be changed. A later version may know further ones, which are shown as they are written.
pub mod kinds {
    /// A key was made.
    pub const KEY_CREATE: &str = "key.create";
    /// A key got a new secret.
    pub const KEY_ROTATE: &str = "key.rotate";
    /// A key was revoked.
    pub const KEY_REVOKE: &str = "key.revoke";
    /// A budget's current window was raised.
    pub const BUDGET_RAISE: &str = "budget.raise";
    /// The configuration was read again.
    pub const RELOAD: &str = "reload";
    /// The gateway was told to finish.
    pub const DRAIN: &str = "drain";
    /// The gateway began to serve.
    pub const START: &str = "start";
    /// The gateway ended in order.
    pub const STOP: &str = "stop";
    /// All of them.
    pub const ALL: [&str; 8] = [KEY_CREATE, KEY_ROTATE, KEY_REVOKE, BUDGET_RAISE, RELOAD, DRAIN, START, STOP];
}

/// Identity of a change: 48 bits of Unix milliseconds, 80 drawn at random. Sorts by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeId(pub u128);

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chg_{:032x}", self.0)
    }
}

/// Who changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// The name of the admin token; `signal` for a signal, `watch` for a file that changed, `process` for the gateway itself.
    pub name: Cow<'static, str>,
    /// Where the request came from.
    pub peer: Option<SocketAddr>,
}

impl Actor {
    /// A signal to the process.
    pub const SIGNAL: Self = Self { name: Cow::Borrowed("signal"), peer: None };
    /// A file that has changed, where files are watched.
    pub const WATCH: Self = Self { name: Cow::Borrowed("watch"), peer: None };
    /// The gateway itself.
    pub const PROCESS: Self = Self { name: Cow::Borrowed("process"), peer: None };

    /// The holder of the admin token.
    pub fn admin(peer: Option<SocketAddr>) -> Self {
        Self { name: Cow::Borrowed("admin"), peer }
    }
}

/// One change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Which one.
    pub id: ChangeId,
    /// When it was decided.
    pub at: UnixMs,
    /// What: one of `kinds`.
    pub kind: Cow<'static, str>,
    /// Who: `Actor::name`.
    pub who: String,
    /// Where from, address and port; empty for none.
    pub peer: String,
    /// What was changed: the id of a key, `team:platform monthly`; empty for the gateway as a whole.
    pub subject: String,
    /// How it stood before, JSON; empty where there was nothing.
    pub before: String,
    /// How it stands after, JSON; empty where there is nothing.
    pub after: String,
    /// Why it did not happen after all.
    pub failed: Option<String>,
}

impl Change {
    /// A change that somebody makes now. Without randomness from the system its id is as good as its time.
    pub fn new(kind: &'static str, by: &Actor, subject: impl Into<String>, now: UnixMs) -> Self {
        let mut random = [0; 10];
        let drawn = aws_lc_rs::rand::fill(&mut random)
            .map_or(0, |()| random.iter().fold(0u128, |number, byte| (number << 8) | u128::from(*byte)));
        Self {
            id: ChangeId((u128::from(now.0 & 0xffff_ffff_ffff) << 80) | drawn),
            at: now,
            kind: Cow::Borrowed(kind),
            who: by.name.clone().into_owned(),
            peer: by.peer.map(|peer| peer.to_string()).unwrap_or_default(),
            subject: subject.into(),
            ..Self::default()
        }
    }

    /// With how it stood before.
    pub fn before(mut self, value: &impl serde::Serialize) -> Self {
        self.before = detail(value);
        self
    }

    /// With how it stands after.
    pub fn after(mut self, value: &impl serde::Serialize) -> Self {
        self.after = detail(value);
        self
    }

    /// The entry that says that this change did not happen after all.
    pub fn undone(&self, why: impl fmt::Display, now: UnixMs) -> Self {
        let mut why = why.to_string();
        let mut end = why.len().min(1024);
        while !why.is_char_boundary(end) {
            end -= 1;
        }
        why.truncate(end);
        Self { at: now, failed: Some(why), ..self.clone() }
    }
}

fn detail(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"unreadable\":\"{error}\"}}"));
    if text.len() > DETAIL_BYTES_MAX {
        return format!("{{\"too_long\":true,\"bytes\":{}}}", text.len());
    }
    text
}
