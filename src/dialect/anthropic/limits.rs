//! The usage-limit headers that let Claude Code warn its developer (contract.md §2.4).

use crate::wire::h1::decimal;

/// The lines that are always there, up to the two digits that the last of them ends in.
macro_rules! opening {
    ($status:literal) => {
        concat!(
            "anthropic-ratelimit-unified-status: ",
            $status,
            "\r\nanthropic-ratelimit-unified-representative-claim: overage",
            "\r\nanthropic-ratelimit-unified-overage-status: ",
            $status,
            "\r\nanthropic-ratelimit-unified-overage-utilization: 0.",
        )
        .as_bytes()
    };
}

const ALLOWED: &[u8] = opening!("allowed");
const WARNED: &[u8] = opening!("allowed_warning");

/// Thresholds at which the client warns, highest first, and the line that says so.
const THRESHOLDS: [(f64, &[u8]); 2] = [
    (0.95, b"anthropic-ratelimit-unified-overage-surpassed-threshold: 0.95\r\n"),
    (0.75, b"anthropic-ratelimit-unified-overage-surpassed-threshold: 0.75\r\n"),
];
/// What is said twice of the end of the window.
const RESETS: [&[u8]; 2] = [b"anthropic-ratelimit-unified-reset: ", b"anthropic-ratelimit-unified-overage-reset: "];
/// The most that is shown while requests are still allowed.
const USED_MAX: f64 = 0.99;

/// What a caller is told of its budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct UsageLimits {
    /// The share of the fullest cap that is spent.
    pub used: f64,
    /// When the cap's window ends, in seconds of Unix time.
    pub resets_at: Option<i64>,
}

impl UsageLimits {
    /// The most its lines take.
    pub const LINES_BYTES_MAX: usize = 512;

    /// Appends the headers of a successful answer, as whole lines.
    pub fn write(&self, out: &mut Vec<u8>) {
        let passed = THRESHOLDS.iter().find(|(at, _)| self.used >= *at).map(|(_, line)| *line);
        let percent = (self.used.clamp(0.0, USED_MAX) * 100.0).floor() as u8;
        out.extend_from_slice(if passed.is_some() { WARNED } else { ALLOWED });
        out.extend_from_slice(&[b'0' + percent / 10, b'0' + percent % 10, b'\r', b'\n']);
        out.extend_from_slice(passed.unwrap_or_default());
        // No window ends before 1970.
        if let Some(at) = self.resets_at.and_then(|at| u64::try_from(at).ok()) {
            for name in RESETS {
                out.extend_from_slice(name);
                decimal(out, at);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(used: f64, resets_at: Option<i64>) -> String {
        let mut out = Vec::new();
        UsageLimits { used, resets_at }.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn warnings_begin_at_the_threshold_and_a_running_budget_never_looks_full() {
        assert!(lines(0.749, Some(9)).contains("overage-status: allowed\r\n"));
        let warned = lines(0.75, Some(9));
        assert!(warned.contains("allowed_warning") && warned.contains("surpassed-threshold: 0.75"));
        let nearly = lines(1.2, None);
        assert!(
            nearly.contains("utilization: 0.99") && nearly.contains("threshold: 0.95") && !nearly.contains("reset")
        );
    }

    #[test]
    fn the_lines_are_those_of_the_contract() {
        let expected = "anthropic-ratelimit-unified-status: allowed_warning\r\n\
            anthropic-ratelimit-unified-representative-claim: overage\r\n\
            anthropic-ratelimit-unified-overage-status: allowed_warning\r\n\
            anthropic-ratelimit-unified-overage-utilization: 0.80\r\n\
            anthropic-ratelimit-unified-overage-surpassed-threshold: 0.75\r\n\
            anthropic-ratelimit-unified-reset: 1795996800\r\n\
            anthropic-ratelimit-unified-overage-reset: 1795996800\r\n";
        assert_eq!(lines(0.8, Some(1_795_996_800)), expected);
        assert!(lines(0.8, Some(i64::MAX)).len() <= UsageLimits::LINES_BYTES_MAX);
        assert!(lines(0.049, None).contains("utilization: 0.04\r\n"));
        assert!(lines(f64::NAN, None).contains("utilization: 0.00\r\n"));
    }
}
