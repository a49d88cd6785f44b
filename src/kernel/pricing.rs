//! What usage costs.

use super::{money::Nanos, usage::Usage};

/// The price table in force.
pub struct PriceBook {}

/// The prices of one model at one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {}

impl PriceBook {
    /// The built-in table (contract.md §7.1).
    pub fn built_in() -> Self {
        Self {}
    }
    /// Finds the rates: override per (upstream, model), then the upstream's model id, then the requested id, then unknown.
    pub fn rates(&self, _upstream: &str, _upstream_model: &str, _requested: &str) -> Rates {
        Rates {}
    }
    /// The name of the table, for records.
    pub fn version(&self) -> &str {
        ""
    }
}

impl Rates {
    /// What this usage costs.
    pub fn cost(&self, _usage: &Usage) -> Nanos {
        Nanos::ZERO
    }
    /// The most a request can cost.
    pub fn bound(&self, _input_tokens_max: u64, _output_tokens_max: u64) -> Nanos {
        Nanos::ZERO
    }
    /// The most output tokens the model gives in one answer.
    pub fn output_tokens_max(&self) -> u64 {
        0
    }
}
