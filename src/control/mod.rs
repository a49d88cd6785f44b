//! The control plane: one thread, a tokio current-thread runtime. It may wait for disk and network; a shard never does.

pub mod admin;
pub mod journal;
pub mod ledger;
