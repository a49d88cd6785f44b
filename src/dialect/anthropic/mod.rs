//! Format A: Anthropic Messages, at the root and under `/anthropic`.

pub mod errors;
pub mod limits;
pub mod models;
pub mod paths;
pub mod spend;
pub mod usage;
