//! What usage costs (contract.md §7). Prices are whole pico-dollars a token, sums are `u128`, and one rounding ends each
//! computation, so that a record is exact to the nano-dollar.
//!
//! Deliberately absent: the ten per cent that regional Bedrock and Vertex endpoints add, since weir speaks to neither yet;
//! an operator who fronts one writes `[[price]]`.

mod book;
mod model_id;
mod rates;
mod table;
#[cfg(test)]
mod tests;

pub use book::{PriceBook, PriceOverride, UnknownPrice};
pub use model_id::canonical;
pub use rates::{Multiplier, PriceError, Rates, TokenPrice};
