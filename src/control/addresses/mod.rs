//! Where upstreams are: their names, resolved by a thread of its own, so that neither a request nor a change of keys ever waits
//! for a name service.
//!
//! `book` decides, sans-io: which name is due, what its addresses are, which of the old ones still hold. `order` puts both
//! families in the order in which they are dialled, `lookup` asks, `resolver` is the thread. Invariants: a name that no longer
//! resolves keeps the last addresses it had; an answer is asked for again when its time to live is over, spread a little.
//! Deliberately absent: a cache beside the book, and any choice of an address, which is the dial's.

mod book;
mod lookup;
mod order;
mod resolver;

pub use book::{Addresses, Settings};
pub use resolver::Resolver;
