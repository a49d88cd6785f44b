//! What a run measured.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart, in microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;

/// Counts and latencies under way.
#[derive(Debug)]
pub struct Stats {
    /// Whole answers.
    pub requests: u64,
    /// Streams the client left on purpose.
    pub aborted: u64,
    /// Bad requests that were refused, as they must be.
    pub refused: u64,
    /// SSE frames received.
    pub events: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Microseconds to the last byte.
    latency_us: Histogram<u64>,
    /// Microseconds to the first byte.
    first_byte_us: Histogram<u64>,
}

impl Stats {
    /// Nothing measured yet; `None` if the histograms cannot be made.
    pub fn new() -> Option<Stats> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).ok();
        Some(Stats {
            requests: 0,
            aborted: 0,
            refused: 0,
            events: 0,
            received_bytes: 0,
            errors: BTreeMap::new(),
            latency_us: histogram()?,
            first_byte_us: histogram()?,
        })
    }

    /// Counts a whole answer.
    pub fn answered(&mut self, first_byte: Duration, whole: Duration) {
        self.requests += 1;
        self.first_byte_us.saturating_record(first_byte.as_micros() as u64);
        self.latency_us.saturating_record(whole.as_micros() as u64);
    }

    /// Counts a failure.
    pub fn failed(&mut self, kind: &str) {
        *self.errors.entry(kind.to_owned()).or_default() += 1;
    }

    /// The run's figures.
    pub fn report(&self, workload: &str, connections: usize, elapsed: Duration) -> Report {
        Report {
            workload: workload.to_owned(),
            connections,
            elapsed_s: elapsed.as_secs_f64(),
            requests: self.requests,
            aborted: self.aborted,
            refused: self.refused,
            events: self.events,
            received_bytes: self.received_bytes,
            errors: self.errors.clone(),
            requests_per_s: self.requests as f64 / elapsed.as_secs_f64().max(1e-9),
            latency_us: Quantiles::of(&self.latency_us),
            first_byte_us: Quantiles::of(&self.first_byte_us),
            latency_curve: CURVE.iter().map(|share| (*share, self.latency_us.value_at_quantile(*share))).collect(),
        }
    }
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// Ninth decile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// Largest.
    pub max: u64,
}

impl Quantiles {
    pub(super) fn of(histogram: &Histogram<u64>) -> Quantiles {
        Quantiles {
            p50: histogram.value_at_quantile(0.5),
            p90: histogram.value_at_quantile(0.9),
            p99: histogram.value_at_quantile(0.99),
            max: histogram.max(),
        }
    }
}

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Workload name.
    pub workload: String,
    /// Connections used.
    pub connections: usize,
    /// Seconds from the first request to the last answer.
    pub elapsed_s: f64,
    /// Whole answers.
    pub requests: u64,
    /// Streams the client left on purpose.
    pub aborted: u64,
    /// Bad requests that were refused, as they must be.
    pub refused: u64,
    /// SSE frames received.
    pub events: u64,
    /// Payload bytes received.
    pub received_bytes: u64,
    /// Failures by kind.
    pub errors: BTreeMap<String, u64>,
    /// Whole answers per second.
    pub requests_per_s: f64,
    /// Time to the last byte; under a rate, from when the request was due.
    pub latency_us: Quantiles,
    /// Time to the first byte, likewise.
    pub first_byte_us: Quantiles,
    /// The whole distribution of `latency_us`, for plots: share of requests and microseconds.
    pub latency_curve: Vec<(f64, u64)>,
}

/// The shares at which a distribution is drawn.
const CURVE: [f64; 14] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999, 1.0];

impl Report {
    /// Failures of all kinds.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let line = |name: &str, q: &Quantiles| {
            format!("{name:<11} p50 {} us, p90 {} us, p99 {} us, max {} us\n", q.p50, q.p90, q.p99, q.max)
        };
        let mut out = format!(
            "{}: {} requests, {} aborted, {} refused, {} events, {} errors in {:.2} s over {} connections: {:.0} requests/s\n",
            self.workload,
            self.requests,
            self.aborted,
            self.refused,
            self.events,
            self.error_count(),
            self.elapsed_s,
            self.connections,
            self.requests_per_s
        );
        out.push_str(&line("first byte", &self.first_byte_us));
        out.push_str(&line("whole", &self.latency_us));
        for (kind, count) in &self.errors {
            out.push_str(&format!("error       {kind}: {count}\n"));
        }
        out
    }
}
