//! What is promised: one line for each target, what was measured, and whether it holds.

use std::fmt::{self, Write as _};

use serde::Serialize;

use super::report::Parts;

/// A target on weir's CPU time over nginx's, by workload.
const RATIOS: [(&str, &str, f64, f64); 8] = [
    ("unary", "2 KB up, 2 KB down, keep-alive: CPU over nginx's", 0.85, 0.75),
    ("upload64k", "64 KiB up, 2 KB down: CPU over nginx's", 0.95, 0.85),
    ("upload256k", "256 KiB up, 2 KB down: CPU over nginx's", 0.90, 0.85),
    ("sse", "SSE, 50 events back to back: CPU over nginx's", 0.97, 0.90),
    ("paced", "SSE, 50 events 2 ms apart, 500 streams: CPU over nginx's", 0.88, 0.74),
    ("tls-unary", "TLS unary, keep-alive: CPU over nginx's with TLS", 0.72, 0.65),
    ("tls-paced", "TLS SSE, 50 events 2 ms apart, 500 streams: CPU over nginx's with TLS", 0.80, 0.74),
    ("tls-connect", "TLS, full handshake and one request, no session resumed: CPU over nginx's with TLS", 0.60, 0.50),
];
/// Open streams at which memory is promised.
pub const IDLE_STREAMS: usize = 5000;

/// How a figure stands to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Better than hoped for.
    Stretch,
    /// As promised.
    Met,
    /// Not as promised.
    Missed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Stretch => "stretch",
            Self::Met => "met",
            Self::Missed => "MISSED",
        })
    }
}

/// One target and what was measured; less is better for all of them.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// What is measured.
    pub what: String,
    /// The figure.
    pub measured: f64,
    /// Smallest and largest of the rounds, where there were several.
    pub spread: Option<(f64, f64)>,
    /// Its unit; none for ratios.
    pub unit: &'static str,
    /// At most this is promised.
    pub must: f64,
    /// At most this is hoped for.
    pub stretch: Option<f64>,
    /// How it stands.
    pub verdict: Verdict,
}

impl Line {
    /// A figure beside its target.
    pub fn new(what: impl Into<String>, measured: f64, unit: &'static str, must: f64, stretch: Option<f64>) -> Line {
        let verdict = match stretch {
            Some(stretch) if measured <= stretch => Verdict::Stretch,
            _ if measured <= must => Verdict::Met,
            // Not a number is no success either.
            _ => Verdict::Missed,
        };
        Line { what: what.into(), measured, spread: None, unit, must, stretch, verdict }
    }

    fn cells(&self) -> [String; 5] {
        let number = |value: f64| {
            let digits = if self.unit.is_empty() { 3 } else { 1 };
            let unit = if self.unit.is_empty() { String::new() } else { format!(" {}", self.unit) };
            format!("{value:.digits$}{unit}")
        };
        let spread = self.spread.map(|(low, high)| format!(" ({low:.2} to {high:.2})")).unwrap_or_default();
        [
            self.what.clone(),
            format!("{}{spread}", number(self.measured)),
            format!("≤ {}", number(self.must)),
            self.stretch.map_or_else(|| "-".to_owned(), |stretch| format!("≤ {}", number(stretch))),
            self.verdict.to_string(),
        ]
    }
}

/// The heads of the columns.
const HEADS: [&str; 5] = ["target", "measured", "must", "stretch", "verdict"];

/// Every target that these measurements say something about.
pub fn lines(parts: &Parts) -> Vec<Line> {
    let mut lines = ratios(parts);
    for (gateway, what, must, stretch) in [
        ("weir", "memory of an idle stream, 5,000 open", 12.0, Some(8.0)),
        ("weir tls", "memory of an idle stream over TLS, 5,000 open", 34.0, None),
    ] {
        let full = parts.idle.iter().filter(|row| row.gateway == gateway && row.streams >= IDLE_STREAMS);
        lines.extend(full.map(|row| Line::new(what, row.bytes_per_stream / 1024.0, "KiB", must, stretch)));
    }
    if let Some(spread) = super::streams::spread(&parts.streams) {
        lines.push(Line::new("CPU per event from 10 to 5,000 streams: dearest over cheapest", spread, "", 1.15, None));
    }
    if let Some(moved) = super::delay::moved_ms(&parts.delays) {
        lines.push(Line::new("1 MB uploads beside 1,000 streams move p99 event delay by", moved, "ms", 1.0, None));
    }
    if let Some(soak) = &parts.soak {
        lines.push(Line::new(
            "memory over a soak: growth an hour",
            soak.mib_per_hour,
            "MiB",
            super::soak::FLAT_MIB,
            None,
        ));
    }
    if let Some(start) = &parts.start {
        let what = format!("start to ready with {} keys", start.keys);
        lines.push(Line::new(what, start.median_ms, "ms", 100.0, None));
    }
    lines.extend(parts.governance.iter().map(|row| Line::new(row.what, row.ns, "ns", row.must_ns, None)));
    lines
}

fn ratios(parts: &Parts) -> Vec<Line> {
    let row = |workload: &str, gateway: &str| {
        parts.rows.iter().find(|row| row.workload == workload && row.gateway == gateway)
    };
    let mut lines = Vec::new();
    for (workload, what, must, stretch) in RATIOS {
        let (Some(own), Some(other)) = (row(workload, "weir"), row(workload, "nginx")) else { continue };
        let over = |own: f64, other: f64| own / other;
        let mut ratio = over(own.median.cpu_us_per_request, other.median.cpu_us_per_request);
        if own.median.errors + other.median.errors > 0 {
            // What a request costs that fails says nothing.
            ratio = f64::NAN;
        }
        let rounds = own.samples.iter().zip(&other.samples);
        let rounds: Vec<f64> =
            rounds.map(|(own, other)| over(own.cpu_us_per_request, other.cpu_us_per_request)).collect();
        let mut line = Line::new(what, ratio, "", must, Some(stretch));
        if rounds.len() > 1 {
            let least = rounds.iter().copied().fold(f64::INFINITY, f64::min);
            line.spread = Some((least, rounds.iter().copied().fold(0.0, f64::max)));
        }
        lines.push(line);
    }
    lines
}

/// The lines as a table for a terminal.
pub fn table(lines: &[Line]) -> String {
    let mut out = String::new();
    if lines.is_empty() {
        return out;
    }
    let rows: Vec<[String; 5]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(lines.iter().map(Line::cells)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _ = write!(out, "{cell:<width$}  ");
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    out
}

/// The lines as a table for a page of text.
pub fn markdown(lines: &[Line]) -> String {
    let row = |cells: [String; 5]| format!("| {} |\n", cells.join(" | "));
    let mut out = row(HEADS.map(str::to_owned)) + &row(HEADS.map(|_| "---".to_owned()));
    for line in lines {
        out.push_str(&row(line.cells()));
    }
    out
}

/// The lines as a table of a web page.
pub fn html(lines: &[Line]) -> String {
    let escape = super::report::escape;
    let row = |tag: &str, cells: [String; 5]| {
        format!("<tr>{}</tr>", cells.map(|cell| format!("<{tag}>{}", escape(&cell))).concat())
    };
    let body: String = lines.iter().map(|line| row("td", line.cells())).collect();
    format!("<table>{}{body}</table>", row("th", HEADS.map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadtest::compare::{Row, Sample};

    fn row(workload: &str, gateway: &str, rounds: &[f64]) -> Row {
        let samples: Vec<Sample> =
            rounds.iter().map(|us| Sample { cpu_us_per_request: *us, ..Sample::default() }).collect();
        Row {
            workload: workload.into(),
            gateway: gateway.into(),
            median: samples[samples.len() / 2],
            ratio: f64::NAN,
            samples,
            latency_curve: Vec::new(),
        }
    }

    #[test]
    fn a_missed_target_is_told_as_met_or_left_out() {
        let mut failing = row("upload64k", "nginx", &[1000.0]);
        failing.median.errors = 1;
        let rows = vec![
            row("unary", "nginx", &[10.0, 10.0, 10.0]),
            row("unary", "weir", &[7.0, 7.4, 8.1]),
            row("sse", "nginx", &[200.0]),
            row("sse", "weir", &[190.0]),
            row("paced", "nginx", &[10.0]),
            row("paced", "weir", &[9.9]),
            row("tls-unary", "weir", &[1.0]),
            failing,
            row("upload64k", "weir", &[1.0]),
        ];
        let found = lines(&Parts { rows, ..Parts::default() });
        let verdicts: Vec<Verdict> = found.iter().map(|line| line.verdict).collect();
        assert_eq!(verdicts, [Verdict::Stretch, Verdict::Missed, Verdict::Met, Verdict::Missed]);
        for text in [table(&found), markdown(&found), html(&found)] {
            assert!(
                text.contains("MISSED") && text.contains("0.740 (0.70 to 0.81)") && text.contains("0.970"),
                "{text}"
            );
        }
        assert_eq!(Line::new("nothing", f64::NAN, "", 1.0, Some(0.5)).verdict, Verdict::Missed);
    }
}
