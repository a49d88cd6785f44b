//! The data plane: shards, and the five rooms a request walks through: edge, gate, pool, relay, settle.
