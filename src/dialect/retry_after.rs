//! `retry-after`: how long an upstream asks to be left alone (RFC 9110 10.2.3), seconds or a date.

use crate::kernel::time::UnixMs;
use std::time::Duration;

/// The wait that a value names; none if it names none, or a moment that has passed.
pub fn wait(value: &[u8], now: UnixMs) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            Duration::from_secs(u64::try_from(at.as_second() - now.seconds()).ok()?)
        }
    };
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_read_as_none_or_another() {
        let now = UnixMs(1_786_147_200_000);
        assert_eq!(wait(b"7", now), Some(Duration::from_secs(7)));
        assert_eq!(wait(b" 124633 ", now), Some(Duration::from_secs(124_633)));
        assert_eq!(wait(b"Sat, 08 Aug 2026 00:01:00 GMT", now), Some(Duration::from_secs(60)));
        for none in [&b"0"[..], b"", b"-1", b"soon", b"Sat, 08 Aug 2026 00:00:00 GMT", b"1.5", b"\xff"] {
            assert_eq!(wait(none, now), None, "{none:?}");
        }
    }
}
