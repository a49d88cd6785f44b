//! Server-sent events, watched on their way through (contract.md §4.1).
//!
//! The scanner changes nothing and holds nothing up: it names each event that has passed, and shows the data of the few
//! kinds that carry usage. It cannot fail, only overlook; what it overlooked it says. Events that lie whole in what is fed
//! take a straight way (`whole`); the line machine (`scanner`) takes the rest.

mod class;
mod scanner;
mod whole;

pub use class::EventClass;
pub use scanner::{SseScanner, SseVisitor};

#[cfg(test)]
mod tests;
