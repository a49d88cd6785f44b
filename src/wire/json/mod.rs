//! JSON without a tree: the top-level members of one object, found as the bytes arrive.
//!
//! A request of Claude Code is some hundred kilobytes of which the gateway needs three small members. The scanner walks
//! the top level, skips what lies inside values, and keeps offsets, so that an edit is a splice and never a reprint.

mod block;
mod error;
mod inside;
mod nesting;
mod scanner;
mod string;

pub use error::JsonError;
pub use scanner::{TopLevelScanner, Value, Wanted};
pub use string::{plain_text, unescape_string};

#[cfg(test)]
mod tests;
