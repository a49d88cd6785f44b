//! The usage-limit headers that let Claude Code warn its developer (contract.md §2.4).

use arrayvec::ArrayString;
use std::fmt::{Arguments, Write};

/// How all of them begin.
const PREFIX: &str = "anthropic-ratelimit-unified-";

/// Thresholds at which the client warns, highest first.
const THRESHOLDS: [(f64, &str); 2] = [(0.95, "0.95"), (0.75, "0.75")];
/// The most that is shown while requests are still allowed.
const USED_MAX: f64 = 0.99;

/// The headers of a successful answer, as whole lines. `used`: the share of the fullest cap that is spent.
pub fn limit_lines(used: f64, resets_at: Option<i64>) -> String {
    let passed = THRESHOLDS.iter().find(|(at, _)| used >= *at).map(|(_, text)| *text);
    let status = if passed.is_some() { "allowed_warning" } else { "allowed" };
    let percent = (used.clamp(0.0, USED_MAX) * 100.0).floor() as u64;
    let mut out = String::with_capacity(420);
    let mut line = |name: &str, value: &str| {
        for part in [PREFIX, name, ": ", value, "\r\n"] {
            out.push_str(part);
        }
    };
    line("status", status);
    line("representative-claim", "overage");
    line("overage-status", status);
    line("overage-utilization", &text(format_args!("0.{percent:02}")));
    if let Some(threshold) = passed {
        line("overage-surpassed-threshold", threshold);
    }
    if let Some(at) = resets_at {
        let at = text(format_args!("{at}"));
        line("reset", &at);
        line("overage-reset", &at);
    }
    out
}

fn text(arguments: Arguments<'_>) -> ArrayString<24> {
    let mut out = ArrayString::new();
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a number and a point fit");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_begin_at_the_threshold_and_a_running_budget_never_looks_full() {
        assert!(limit_lines(0.749, Some(9)).contains("overage-status: allowed\r\n"));
        let warned = limit_lines(0.75, Some(9));
        assert!(warned.contains("allowed_warning") && warned.contains("surpassed-threshold: 0.75"));
        let nearly = limit_lines(1.2, None);
        assert!(
            nearly.contains("utilization: 0.99") && nearly.contains("threshold: 0.95") && !nearly.contains("reset")
        );
    }
}
