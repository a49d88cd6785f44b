//! One file per command of the `weir` program.
