//! Durations, sizes and near misses, as people write them.

use std::{fmt::Write, time::Duration};

/// Bytes of a mebibyte.
pub(super) const MIB: u64 = 1024 * 1024;
const MILLIS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const BYTES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Reads `250ms`, `30s`, `5m`, `2h`, `400d`.
pub(in crate::control) fn duration(text: &str) -> Option<Duration> {
    scaled(text, &MILLIS).map(Duration::from_millis)
}

/// Reads `32MiB`, `64KiB`, `1GB`, `512B`.
pub(super) fn size(text: &str) -> Option<u64> {
    scaled(text, &BYTES)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// A duration in the largest unit that keeps it whole.
pub(in crate::control) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), MILLIS.iter().rev())
}

/// A size in the largest binary unit that keeps it whole.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, [BYTES[2], BYTES[1], BYTES[0], BYTES[6]].iter())
}

fn show<'a>(value: u64, largest_first: impl Iterator<Item = &'a (&'a str, u64)>) -> String {
    let mut last = String::new();
    for (unit, factor) in largest_first {
        last = format!("{}{unit}", value / factor);
        if value != 0 && value.is_multiple_of(*factor) {
            break;
        }
    }
    last
}

/// The known word nearest to a misspelt one, if it is near enough to be meant.
pub(in crate::control) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase();
    let (distance, word) = known.into_iter().map(|word| (distance(&written, word), word)).min()?;
    (distance <= 1 + word.len() / 4).then_some(word)
}

/// Edits (insert, remove, replace, swap neighbours) from one word to another; words are cut at 64 bytes.
fn distance(a: &str, b: &str) -> usize {
    let a = &a.as_bytes()[..a.len().min(64)];
    let b = &b.as_bytes()[..b.len().min(64)];
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// `a, b or c`, shortened when there are many.
pub(super) fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 12;
    let words: Vec<&str> = words.into_iter().collect();
    let mut text = String::new();
    for (place, word) in words.iter().take(SHOWN).enumerate() {
        let joint = match place {
            0 => "",
            _ if place + 1 == words.len() => " or ",
            _ => ", ",
        };
        let _infallible = write!(text, "{joint}\"{word}\"");
    }
    if words.len() > SHOWN {
        let _infallible = write!(text, " and {} more", words.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_misread_or_an_overflow_wraps() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("400d"), Some(Duration::from_secs(400 * 86_400)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(size("32MiB"), Some(32 << 20));
        assert_eq!(size("1KB"), Some(1000));
        for wrong in ["", "5", "s", "-5s", "1.5s", "5 s", "5S", "99999999999999999d", "٣s", "5µs"] {
            assert_eq!(duration(wrong), None, "{wrong}");
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_is_shown_in_a_unit_that_loses_part_of_it() {
        assert_eq!(show_duration(Duration::from_millis(90_000)), "90s");
        assert_eq!(show_duration(Duration::from_millis(1500)), "1500ms");
        assert_eq!(show_duration(Duration::from_secs(86_400)), "1d");
        assert_eq!(show_size(32 << 20), "32MiB");
        assert_eq!(show_size(1000), "1000B");
    }

    #[test]
    fn a_misspelt_key_gets_no_hint_or_a_far_fetched_one() {
        let known = ["body_max", "head_max", "connections", "tls"];
        assert_eq!(nearest("bodymax", known), Some("body_max"));
        assert_eq!(nearest("conections", known), Some("connections"));
        assert_eq!(nearest("tsl", known), Some("tls"));
        assert_eq!(nearest("region", known), None);
    }
}
