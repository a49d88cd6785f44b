//! What a shard may not do on a request's way, counted: allocate, and enter the kernel more often than said. A binary of its own,
//! since it counts with its own allocator and its own `syscall`. Counts are not clocks: a busy machine changes them little.

#![allow(clippy::expect_used, reason = "a test says with expect what it cannot do without")]

#[path = "no_allocation/admission.rs"]
mod admission;
#[path = "no_allocation/gateway.rs"]
mod gateway;
#[path = "no_allocation/picks.rs"]
mod picks;

#[global_allocator]
static COUNTING: weir::sys::counting::Counting = weir::sys::counting::Counting;

weir::count_system_calls!();
