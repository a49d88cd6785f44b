//! Points in time, as values: whoever needs one gets it as an argument.

/// Wall-clock time, milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMs(pub u64);

impl UnixMs {
    /// Whole seconds since the epoch.
    pub fn seconds(self) -> i64 {
        (self.0 / 1000) as i64
    }

    /// RFC 3339 in UTC, with milliseconds.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0 as i64).map_or_else(|_| self.0.to_string(), |t| format!("{t:.3}"))
    }
}

/// Monotonic time, microseconds since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonoUs(pub u64);

impl MonoUs {
    /// Microseconds from `earlier` to here; 0 if it was later.
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This point plus a duration.
    pub fn after(self, duration: std::time::Duration) -> Self {
        Self(self.0.saturating_add(duration.as_micros().min(u128::from(u64::MAX)) as u64))
    }
}
