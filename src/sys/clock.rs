//! The clocks. Only `sys` reads them; everything else is told the time.

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

/// Wall-clock time.
pub fn unix() -> UnixMs {
    UnixMs(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64))
}
