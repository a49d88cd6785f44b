//! The second room: `Incoming` → `Identified` → `Routed` → `Admitted`.
//!
//! Invariants: a request that touches an upstream holds an `Admitted`, which only `admit` makes; the credential is looked at
//! here and nowhere else; nothing here asks anybody outside this shard, but for the atomics of budget accounts and rate
//! limiters when a lease or a slice runs dry. Deliberately absent: sockets, and any edit of the body other than the splice of the model id.

pub mod admit;
pub mod batches;
pub mod bodies;
pub mod caller;
mod credential;
pub mod expect;
pub mod identify;
pub mod leases;
pub mod limit;
pub mod local;
pub mod objects;
pub mod prices;
pub mod queue;
pub mod rates;
pub mod route;
pub mod standings;
pub mod sticky;
pub mod tokens;
pub mod turns;

pub use admit::Admitted;
pub use caller::Caller;
pub use identify::Identified;
pub use route::Routed;
