//! Calendar windows of budgets, in UTC (interface.md §2).

use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use std::fmt;

/// How often a budget starts anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Period {
    /// From midnight.
    Daily,
    /// From Monday.
    Weekly,
    /// From the first of the month.
    Monthly,
    /// Never.
    Total,
}

impl Period {
    /// The name in the configuration and in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Total => "total",
        }
    }

    /// The window around a moment, in Unix seconds.
    pub fn window(self, unix_seconds: i64) -> Window {
        let Ok(at) = Timestamp::from_second(unix_seconds) else { return Window::ALWAYS };
        let day = at.to_zoned(TimeZone::UTC).date();
        let (start, next) = match self {
            Self::Total => return Window::ALWAYS,
            Self::Daily => (day, day.saturating_add(1.day())),
            Self::Weekly => {
                let monday = day.saturating_sub(i64::from(day.weekday().to_monday_zero_offset()).days());
                (monday, monday.saturating_add(7.days()))
            }
            Self::Monthly => {
                let first = day.first_of_month();
                (first, first.saturating_add(1.month()))
            }
        };
        Window { start: midnight(start), end: midnight(next) }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn midnight(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(i64::MAX, |z| z.timestamp().as_second())
}

/// A span of time, `start <= t < end`, in Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    /// First second inside.
    pub start: i64,
    /// First second after; `i64::MAX` for a window without end.
    pub end: i64,
}

impl Window {
    /// The window of a budget that never starts anew.
    pub const ALWAYS: Self = Self { start: 0, end: i64::MAX };

    /// Is this second inside?
    pub fn contains(&self, unix_seconds: i64) -> bool {
        self.start <= unix_seconds && unix_seconds < self.end
    }

    /// When the window ends, if it does.
    pub fn resets_at(&self) -> Option<i64> {
        (self.end != i64::MAX).then_some(self.end)
    }
}

/// A Unix second as `2026-08-08 00:00 UTC`, the form Claude Code users see (contract.md §2.4).
pub fn minute_utc(unix_seconds: i64) -> String {
    Timestamp::from_second(unix_seconds).map_or_else(
        |_| unix_seconds.to_string(),
        |t| t.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn a_window_ends_where_the_next_begins() {
        let now = at("2026-11-21T12:34:56Z");
        let month = Period::Monthly.window(now);
        assert_eq!((month.start, month.end), (at("2026-11-01T00:00:00Z"), at("2026-12-01T00:00:00Z")));
        let week = Period::Weekly.window(now);
        assert_eq!((week.start, week.end), (at("2026-11-16T00:00:00Z"), at("2026-11-23T00:00:00Z")));
        let day = Period::Daily.window(month.end);
        assert_eq!(day.start, month.end);
        assert!(Period::Total.window(now).resets_at().is_none());
        assert_eq!(minute_utc(month.end), "2026-12-01 00:00 UTC");
    }
}
