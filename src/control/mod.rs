//! The control plane: one thread, a tokio current-thread runtime. It may wait for disk and network; a shard never does.
//!
//! `config` turns TOML into snapshots, `addresses` knows where upstreams are, `keys` keeps the keys made at run time, `identity` the keys of token issuers, `budget`
//! keeps the accounts, `journal` is the source of truth on disk, `ledger` adds it up, `audit` proves and searches its files
//! offline, `bodies` stores what teams sent and got, encrypted, `export` carries records to warehouses, `cache_health` sees what prompt caches lose, `changes` is what administrators do, `admin` shows it.
//! Deliberately absent: anything on a request's way.

pub mod addresses;
pub mod admin;
pub mod audit;
pub mod bodies;
pub mod budget;
pub mod cache_health;
pub mod changes;
pub mod config;
pub mod credentials;
pub mod export;
pub mod identity;
pub mod journal;
pub mod keys;
pub mod ledger;
