//! Format B: Bedrock InvokeModel, at the root and under `/bedrock`.

pub mod chunk;
pub mod errors;
pub mod paths;
pub mod profiles;
