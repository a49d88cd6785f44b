//! What every part of weir shares: ids, money, usage, pricing, policy, limits, faults, snapshots, records.
//!
//! Invariants: pure. No I/O, no clock, no async, no global state; time comes in as an argument. `account`,
//! `limiter` and `credential` hold atomics, `names` and `table` lock-free maps, since all shards share a budget account, a rate
//! limit, a token or a name, but every function on them is a plain computation that neither locks nor waits.
//! Deliberately absent: anything that knows a wire format (that is `dialect` and `wire`) or a runtime (`sys`).

pub mod account;
pub mod bodies;
pub mod catalogue;
pub mod credential;
pub mod fault;
pub mod identity;
pub mod ids;
pub mod keep_alive;
pub mod keys;
pub mod limiter;
pub mod limits;
pub mod models;
pub mod money;
pub mod names;
pub mod numbers;
pub mod objects;
pub mod overload;
pub mod platform;
pub mod policy;
pub mod pricing;
pub mod record;
pub mod routing;
pub mod rules;
pub mod scope;
pub mod secret;
pub mod sessions;
pub mod snapshot;
pub mod standing;
pub mod table;
pub mod time;
pub mod tunnel;
pub mod turns;
pub mod usage;
pub mod window;
