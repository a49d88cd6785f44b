//! Good tokens, hostile ones, claims and certificates.

mod certificates;
mod claims;
mod hostile;
pub mod issued;
mod sets;
