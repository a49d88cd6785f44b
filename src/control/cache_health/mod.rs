//! Whether prompt caches are still hit: what sessions read from them, and what it costs when they no longer can.
//!
//! A provider keeps a session's prompt for some minutes, and a turn that finds it there costs a tenth. A reload that sends the
//! session to another account, or changes a byte in front of its prompt, makes the next turn pay for everything again; so does
//! a failover. This book sees every record as it is flushed and keeps, for each session (and in it each agent, class and
//! model, since these have prompts of their own), what its last turn left in the cache. The first turn after a change is
//! compared with that: what it should have read and did not is lost, as long as the cache would still have been there, and
//! its price is what the turn did cost over what it would have.
//!
//! Bounded: `SESSIONS_KEPT_MAX` sessions, `CHANGES_KEPT_MAX` changes, `ROWS_MAX` teams and models for each. In memory alone: a
//! restart begins anew. Hit rates themselves are in `weir usage`, by session, team, model and anything else.
//! Deliberately absent: any say in routing.

mod book;
#[cfg(test)]
mod tests;
mod view;

pub use book::{CacheHealth, Cause, Loss, Prices, SharedCacheHealth};
pub use view::CacheHealthView;

use std::time::Duration;

/// Sessions whose last turn is remembered; some 100 bytes each.
pub const SESSIONS_KEPT_MAX: usize = 200_000;
/// Changes that are told apart.
pub const CHANGES_KEPT_MAX: usize = 64;
/// Teams and models that are told apart in one change; further ones are one, `other`.
pub const ROWS_MAX: usize = 200;
/// How long a prompt stays cached, if nothing else was asked for (contract.md §4.2).
pub const CACHE_LIVES: Duration = Duration::from_secs(300);
/// How long it stays where an hour was asked for.
pub const LONG_CACHE_LIVES: Duration = Duration::from_secs(3600);
