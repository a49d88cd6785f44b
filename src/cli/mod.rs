//! One file per command of the `weir` program.

pub mod check;
pub mod doctor;
