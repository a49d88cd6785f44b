//! The first room: sockets, TLS, HTTP framing, limits, deadlines. Socket → `Incoming`.
//!
//! Invariants: one framing decision per message, and anything ambiguous is refused and the connection closed (law 9). The
//! client's next read stays posted while the answer streams; it is how a disconnect is noticed. Answers of our own leave
//! here. Deliberately absent: who the caller is, and what the body means.

pub mod answer;
pub mod connection;
pub mod incoming;
pub mod intake;
pub mod pipe;
pub mod signal;
pub mod tap;
