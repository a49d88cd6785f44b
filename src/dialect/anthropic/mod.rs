//! Format A: Anthropic Messages, at the root and under `/anthropic`.

pub mod batch;
pub mod errors;
pub mod limits;
pub mod models;
pub mod objects;
pub mod paths;
pub mod results;
pub mod spend;
pub mod sticky;
pub mod usage;
