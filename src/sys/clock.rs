//! The clocks. Only `sys` reads them; everything else is told the time.
#![allow(unsafe_code, reason = "clock_gettime has no safe form in libc")]

use crate::kernel::time::{MonoUs, UnixMs};
use std::{
    sync::OnceLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

static START: OnceLock<Instant> = OnceLock::new();

/// Microseconds since the process first asked.
pub fn mono() -> MonoUs {
    MonoUs(START.get_or_init(Instant::now).elapsed().as_micros() as u64)
}

/// Microseconds of the system's own monotonic clock, which other processes read, too.
pub fn system_monotonic_us() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the kernel to fill, and the clock exists everywhere.
    let _always = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Wall-clock time.
pub fn unix() -> UnixMs {
    UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
