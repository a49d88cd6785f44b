//! Format C: Vertex rawPredict, at the root and under `/vertex_ai/v1`, `/vertex_ai` and `/vertex`, with and without `/v1`.

pub mod errors;
pub mod paths;
