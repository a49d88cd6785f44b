//! What usage costs (contract.md §7). Prices are whole pico-dollars a token, sums are `u128`, and one rounding ends each
//! computation, so that a record is exact to the nano-dollar.
//!
//! The ten per cent of a regional endpoint holds for upstreams that the configuration calls `regional`; an operator's own
//! `[[price]]` for an upstream is what that upstream charges, so nothing is added to it.

mod book;
mod model_id;
mod rates;
mod table;
#[cfg(test)]
mod tests;

pub use book::{PriceBook, PriceOverride, UnknownPrice};
pub use model_id::canonical;
pub use rates::{Bill, Ceiling, Multiplier, PriceError, Rates, TokenPrice};
