//! The load kit: simulated provider, load generator, reports. Shared by `weir demo`, the tests and the measurements.

pub mod awake;
pub mod cli;
pub mod compare;
pub mod generator;
pub mod provider;
