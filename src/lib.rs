//! weir: an edge gateway between fleets of Claude Code and the model providers.
//!
//! A weir lets the whole river pass and measures every drop. `ARCHITECTURE.md` is the map; the module tree follows its
//! floor plan. Two planes (`data`, `control`) never see each other: they meet at the two doors in `link`, and only
//! `boot` sees both.

pub mod boot;
pub mod cli;
pub mod control;
pub mod data;
pub mod dialect;
pub mod kernel;
pub mod link;
#[path = "../loadtest/lib.rs"]
pub mod loadtest;
pub mod observe;
pub mod sys;
pub mod wire;
