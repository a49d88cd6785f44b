//! The load kit: simulated provider, load generator, gateways to compare, reports. Shared by `weir demo`, the tests and the
//! measurements.

pub mod affinity;
pub mod awake;
pub mod cli;
pub mod compare;
pub mod delay;
pub mod fleet;
pub mod gateways;
pub mod generator;
pub mod idle;
pub mod instructions;
pub mod numbers;
pub mod process;
pub mod provider;
pub mod report;
pub mod soak;
pub mod stage;
pub mod start;
pub mod streams;
pub mod targets;
pub mod tls;
