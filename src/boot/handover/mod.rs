//! Replacing a running gateway by another process without losing a connection, a stream, a record or a cent.
//!
//! A gateway listens on `handover.sock` in its store. `weir serve --replace` connects there, and both talk:
//!
//! | successor | predecessor | then |
//! |---|---|---|
//! | `Hello` | `Here`, and its listening sockets | the very same sockets: what waits in their queues stays there |
//! | `Retire` | `Retired`, and the lock of the store | the predecessor writes a side chain (`control::journal`), and takes no changes |
//! | `Ready` | `Settled` | the predecessor accepts no connection any more; budgets and limits as they stand |
//! | `Serving` | | the successor accepts; the predecessor finishes what it has |
//!
//! Until `Serving` has come, an end of the conversation means that nothing has happened: the predecessor takes everything back and
//! serves on. The successor reads and checks its configuration before it says `Retire`.
//!
//! If a successor dies later, the predecessor does not come back to serving: it finishes its streams, listens on `handover.sock` again,
//! and lends whoever comes the sockets, in whose queues connections wait meanwhile.
//!
//! Then the same connection, or a new one that begins with `Rejoin` if the successor is itself replaced or dies, carries money:
//! the predecessor has handed over the room of its budgets and says what it spends (`Balance`), and asks for the room of requests
//! that still come over connections it has kept alive (`Want`, `Grant`). A budget therefore holds over both (`Account`).
//! Rate limits: what the last minute has used is handed over; what the predecessor's requests use after that counts here when
//! their record comes over. So a limit is exceeded by at most what runs, and one request per connection kept alive.
//!
//! Both ends must run as the same user (`SO_PEERCRED`), and the socket is that user's alone.

mod coming;
mod elders;
mod leaving;
mod talk;

pub(super) use coming::{Arrival, Coming, same_addresses};
pub(super) use elders::Elders;
pub(super) use leaving::{Leaving, Offer};

use crate::{
    control::journal::Store,
    kernel::{
        account::{Account, Scope},
        limiter::Measure,
        standing::AccountKey,
        window::{Period, Window},
    },
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The version of this conversation.
const VERSION: u32 = 1;
/// The socket in the store.
const SOCKET: &str = "handover.sock";

/// Where a gateway with this store can be asked to hand over.
fn socket_path(store: &Path) -> PathBuf {
    store.join(SOCKET)
}

/// An account of a budget, in words.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct AccountName {
    scope: String,
    period: String,
    start: i64,
    end: i64,
}

impl AccountName {
    fn of(account: &Account) -> Self {
        let Window { start, end } = account.window;
        Self { scope: account.scope.to_string(), period: account.period.as_str().to_owned(), start, end }
    }

    fn key(&self) -> Option<AccountKey> {
        let all = [Period::Daily, Period::Weekly, Period::Monthly, Period::Total];
        let period = all.into_iter().find(|period| period.as_str() == self.period)?;
        let window = Window { start: self.start, end: self.end };
        Some(AccountKey { scope: Scope::parse(&self.scope)?, period, window })
    }
}

/// How an account stands with a predecessor. Nano-dollars.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Balance {
    account: AccountName,
    /// What it has spent.
    spent: i64,
    /// What it can still spend by itself, reservations included.
    pool: i64,
    /// What it had spent when the successor last knew by other means.
    base: i64,
    /// What it was granted over this connection.
    granted: i64,
}

/// What counts of a rate limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Taken {
    scope: String,
    measure: String,
    /// Seconds ago, and how much.
    taken: Vec<(u64, i64)>,
}

impl Taken {
    fn measure(&self) -> Option<Measure> {
        Measure::ALL.into_iter().find(|measure| measure.as_str() == self.measure)
    }
}

/// How an account stands with a process before the predecessor.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Elder {
    side: String,
    account: AccountName,
    spent: i64,
    pool: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Message {
    /// The first word of a successor.
    Hello { version: u32 },
    /// The first word of a predecessor that has lost its successor.
    Rejoin { version: u32, side: String },
    /// So many listening sockets of clients follow, and then the one of the admin API.
    Here { clients: usize },
    /// It cannot be now, and why.
    Refused { why: String },
    /// Let me have the journal.
    Retire,
    /// I write this side chain. The journal's lock follows, unless the successor before you has died with it.
    Retired { side: String, lock: bool },
    /// All is prepared: stop accepting.
    Ready,
    /// How budgets and limits stand, from where I spend nothing by myself any more.
    Settled { balances: Vec<Balance>, limits: Vec<Taken>, elders: Vec<Elder> },
    /// I accept.
    Serving,
    /// So do accounts stand now.
    Balances { balances: Vec<Balance> },
    /// A request needs so much room.
    Want { account: AccountName, amount: i64 },
    /// Here is so much.
    Grant { account: AccountName, amount: i64 },
}

/// The store of a predecessor, and under which name it goes on writing.
pub(super) struct Inherited {
    /// The store; none if it is to be taken.
    pub store: Option<Store>,
    /// Its side chain.
    pub side: String,
}
