//! The `weir-loadtest` program.

fn main() {}
