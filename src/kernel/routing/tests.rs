//! Tests named after what they prevent.

mod healths;
mod picks;
