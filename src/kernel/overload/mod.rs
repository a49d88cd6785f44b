//! What happens when there is less room than work: who is turned away first, who waits, and whose turn it is.
//!
//! Sans-io: requests and `now` in, decisions out. `class` says what a client holds dispensable of its own; `fair` shares slots
//! between principals, so that nobody's loop stands in everybody's way. Deliberately absent: tasks, wakers, configuration.

pub mod class;
pub mod fair;

#[cfg(test)]
mod tests;
