//! Which target, when again, when no more: the decisions of the pool room, sans-io.
//!
//! `pick` puts the targets of a model in order; `health` knows what an upstream has lately been like; `retries` bounds how
//! often one request may become two. All of it is plain arithmetic on values of one shard: `now` and chance come in, a
//! decision comes out. Deliberately absent: connections, headers, and anything two shards would share.

pub mod hash;
pub mod health;
pub mod pick;
mod race;
pub mod retries;
pub mod sessions;

#[cfg(test)]
mod tests;

/// Why an attempt is no answer for the client as long as another target may have a better one. The order is that in which
/// the error finally shown is chosen, the most telling first (contract.md §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// 429, and 400 where AWS names a quota: the account has no room.
    NoRoom,
    /// 401 or 403: our own credential is refused, or may not do this.
    Credential,
    /// 404: the account does not have the model.
    NoModel,
    /// 501: the upstream cannot do this.
    NotDone,
    /// Any other 5xx, 529 among them, and 408 and 424 where AWS says that the model failed.
    Error,
    /// No answer: closed, reset, not HTTP.
    Broken,
    /// No answer in time.
    TimedOut,
    /// Not even a connection.
    Unreachable,
}

impl Failure {
    /// Does this status call for another target? Other 4xx never do by themselves: the request is at fault, everywhere.
    pub fn of_status(status: u16) -> Option<Self> {
        match status {
            429 => Some(Self::NoRoom),
            401 | 403 => Some(Self::Credential),
            404 => Some(Self::NoModel),
            501 => Some(Self::NotDone),
            500..=599 => Some(Self::Error),
            _ => None,
        }
    }

    /// The upstream has been asked something: another attempt is a retry, and counts as one. A dial that failed asked nothing.
    pub fn was_asked(self) -> bool {
        self != Self::Unreachable
    }

    /// The provider may bill it all the same, if it had the whole request: nobody knows what it did with it.
    pub fn may_be_billed(self) -> bool {
        matches!(self, Self::Broken | Self::TimedOut)
    }
}
