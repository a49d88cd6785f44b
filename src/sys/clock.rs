//! The clocks. Only `sys` reads them; everything else is told the time.
#![allow(unsafe_code, reason = "clock_gettime has no safe form in libc")]

use crate::kernel::time::{MonoUs, UnixMs};
use std::sync::OnceLock;

static START: OnceLock<u64> = OnceLock::new();

/// Microseconds since the process first asked.
pub fn mono() -> MonoUs {
    let start = START.get_or_init(system_monotonic_us);
    MonoUs(system_monotonic_us().saturating_sub(*start))
}

/// Microseconds of the system's own monotonic clock, which other processes read, too.
pub fn system_monotonic_us() -> u64 {
    let now = read(libc::CLOCK_MONOTONIC);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
}

/// Wall-clock time.
pub fn unix() -> UnixMs {
    let now = read(libc::CLOCK_REALTIME);
    // A clock before 1970 is one that nobody has set.
    UnixMs(now.tv_sec.max(0) as u64 * 1000 + now.tv_nsec as u64 / 1_000_000)
}

/// How far the wall clock is ahead of [`mono`]. Microseconds.
pub fn ahead_us() -> u64 {
    let now = read(libc::CLOCK_REALTIME);
    (now.tv_sec.max(0) as u64 * 1_000_000 + now.tv_nsec as u64 / 1000).saturating_sub(mono().0)
}

/// Straight from the kernel's page: a request asks several times, and the standard library would take its numbers apart each time.
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the kernel to fill, and both clocks exist everywhere.
    let _always = unsafe { libc::clock_gettime(clock, &raw mut now) };
    now
}
