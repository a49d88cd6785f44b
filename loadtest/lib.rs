//! The load kit: simulated provider, load generator, gateways to compare, reports. Shared by `weir demo`, the tests and the
//! measurements.

pub mod affinity;
pub mod awake;
pub mod cli;
pub mod compare;
pub mod fleet;
pub mod gateways;
pub mod generator;
pub mod idle;
pub mod instructions;
pub mod process;
pub mod provider;
pub mod report;
