//! What the AWS family of providers wants of a request besides its format: signatures, and the refusals that are about them.

pub mod refusal;
pub mod sigv4;
