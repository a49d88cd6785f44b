//! Measures gateways against each other: the same workloads in turn, round by round, and the CPU time each one took.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::generator::workload::Workload;
use super::generator::{RunOptions, address_of, prepare, run};
use super::process::{cpu_ns, reload};

/// Unmeasured run before each measured one: connections, caches, branch predictors.
const WARM_UP: Duration = Duration::from_millis(500);
/// The workload that is run under a storm of reloads, and how often one comes.
pub(super) const RELOAD: &str = "reload";
const RELOAD_EVERY: Duration = Duration::from_millis(50);

/// A gateway to measure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its name in the table.
    pub name: String,
    /// Where it listens: `http://HOST:PORT` or `https://HOST:PORT`.
    pub target: String,
    /// Processes whose CPU time is its own.
    pub pids: Vec<u32>,
    /// Its credential, if it wants one of its own.
    pub key: Option<String>,
    /// The certificate it shows, DER; any if not said.
    pub certificate: Option<Vec<u8>>,
}

impl Gateway {
    /// Does it listen with TLS?
    pub fn is_tls(&self) -> bool {
        self.target.starts_with("https://")
    }

    /// A run against it, for as long as its connections work; the rest is for the caller to say.
    pub fn run_options(&self, workload: Workload, key: &str, seed: u64) -> RunOptions {
        RunOptions {
            target: self.target.clone(),
            certificate: self.certificate.clone(),
            key: self.key.clone().unwrap_or_else(|| key.to_owned()),
            workload,
            time: None,
            requests: None,
            connections: None,
            rate: None,
            verify: false,
            seed,
        }
    }
}

impl std::str::FromStr for Gateway {
    type Err = String;

    fn from_str(text: &str) -> Result<Gateway, String> {
        let form = || format!("`{text}` is not name=http[s]://HOST:PORT,pid=PID[+PID…][,key=KEY]");
        let mut words = text.split(',');
        let (name, target) = words.next().and_then(|word| word.split_once('=')).ok_or_else(form)?;
        address_of(&target.replacen("https://", "http://", 1))?;
        let (name, target) = (name.to_owned(), target.to_owned());
        let mut gateway = Gateway { name, target, pids: Vec::new(), key: None, certificate: None };
        for word in words {
            match word.split_once('=').ok_or_else(form)? {
                ("pid", pids) => {
                    gateway.pids =
                        pids.split('+').map(|pid| pid.parse().map_err(|_| form())).collect::<Result<_, _>>()?;
                }
                ("key", key) => gateway.key = Some(key.to_owned()),
                _ => return Err(form()),
            }
        }
        if gateway.pids.is_empty() { Err(form()) } else { Ok(gateway) }
    }
}

/// What to measure.
#[derive(Clone)]
pub struct CompareOptions {
    /// The gateways; the first is what the others are measured against.
    pub gateways: Vec<Gateway>,
    /// Workload names.
    pub workloads: Vec<String>,
    /// Length of each measured run.
    pub time: Duration,
    /// Rounds; medians over them are shown.
    pub rounds: usize,
    /// Connections instead of each workload's own number.
    pub connections: Option<usize>,
    /// Credential of gateways that do not name one.
    pub key: String,
    /// Seed of what is random.
    pub seed: u64,
}

/// One measured run.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Sample {
    /// CPU microseconds of the gateway per whole answer.
    pub cpu_us_per_request: f64,
    /// CPU microseconds of the gateway per SSE frame; 0 without frames.
    pub cpu_us_per_event: f64,
    /// Whole answers per second.
    pub requests_per_s: f64,
    /// Median time to the last byte.
    pub p50_us: f64,
    /// Its 99th percentile.
    pub p99_us: f64,
    /// The wait for the answer's first byte: its 99th percentile.
    pub first_byte_p99_us: f64,
    /// Failed requests.
    pub errors: u64,
}

/// The medians of one gateway under one workload.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Workload name.
    pub workload: String,
    /// Gateway name.
    pub gateway: String,
    /// Medians, errors summed.
    pub median: Sample,
    /// CPU per request relative to the first gateway; below 1 is better.
    pub ratio: f64,
    /// Every round's sample.
    pub samples: Vec<Sample>,
    /// The distribution of the time to the last byte in the last round: share of requests, microseconds.
    pub latency_curve: Vec<(f64, u64)>,
}

/// Runs every workload on every gateway, alternating, and returns a row for each pair.
///
/// # Errors
/// On an unknown workload or a process that cannot be read.
pub async fn compare(options: &CompareOptions) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for name in &options.workloads {
        let workload = Workload::named(if name == RELOAD { "paced" } else { name }, options.seed)?;
        // Others exchange their workers at a reload, which no longer are the processes that are measured.
        let fits = |g: &&Gateway| g.is_tls() == workload.tls && (name != RELOAD || g.name == "weir");
        let gateways: Vec<&Gateway> = options.gateways.iter().filter(fits).collect();
        if gateways.is_empty() {
            let which = if workload.tls { "with TLS (https://…)" } else { "without TLS (http://…)" };
            return Err(format!("no gateway {which} for the workload {name}"));
        }
        let mut samples = vec![Vec::new(); gateways.len()];
        let mut curves = vec![Vec::new(); gateways.len()];
        for round in 1..=options.rounds {
            for ((gateway, samples), curve) in gateways.iter().zip(&mut samples).zip(&mut curves) {
                eprintln!("compare: {name}, round {round} of {}, {}", options.rounds, gateway.name);
                let storm = (name == RELOAD).then(|| tokio::spawn(reloads(gateway.pids.clone())));
                let (sample, drawn) = sample(options, &workload, gateway).await?;
                if let Some(storm) = storm {
                    storm.abort();
                }
                samples.push(sample);
                *curve = drawn;
            }
        }
        let medians: Vec<Sample> = samples.iter().map(|samples| median(samples)).collect();
        let base = medians.first().map_or(0.0, |first| first.cpu_us_per_request);
        for (((gateway, median), samples), latency_curve) in gateways.iter().zip(medians).zip(samples).zip(curves) {
            let ratio = median.cpu_us_per_request / base;
            let gateway = gateway.name.clone();
            rows.push(Row { workload: name.clone(), gateway, median, ratio, samples, latency_curve });
        }
    }
    Ok(rows)
}

/// Has processes read their configuration again and again, until it is aborted.
pub(super) async fn reloads(pids: Vec<u32>) {
    loop {
        reload(&pids);
        tokio::time::sleep(RELOAD_EVERY).await;
    }
}

type Curve = Vec<(f64, u64)>;

async fn sample(options: &CompareOptions, workload: &Workload, gateway: &Gateway) -> Result<(Sample, Curve), String> {
    let measured = RunOptions {
        time: Some(options.time),
        connections: options.connections,
        ..gateway.run_options(workload.clone(), &options.key, options.seed)
    };
    run(&RunOptions { time: Some(WARM_UP), ..measured.clone() }).await?;
    // What the connections cost, over TLS above all, belongs to the workloads that are about connecting.
    let prepared = prepare(&measured).await?;
    let before = cpu_ns(&gateway.pids)?;
    let report = prepared.run().await?.report;
    let cpu_us = (cpu_ns(&gateway.pids)?.saturating_sub(before)) as f64 / 1000.0;
    // Streams that the client left have cost too, and so have refusals.
    let exchanges = (report.requests + report.aborted + report.refused) as f64;
    let sample = Sample {
        cpu_us_per_request: cpu_us / exchanges.max(1.0),
        cpu_us_per_event: if report.events > 0 { cpu_us / report.events as f64 } else { 0.0 },
        requests_per_s: report.requests_per_s,
        p50_us: report.latency_us.p50 as f64,
        p99_us: report.latency_us.p99 as f64,
        first_byte_p99_us: report.first_byte_us.p99 as f64,
        errors: report.error_count(),
    };
    Ok((sample, report.latency_curve))
}

fn median(samples: &[Sample]) -> Sample {
    let of = |field: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(field).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        match values.len() {
            0 => 0.0,
            count if count % 2 == 1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        }
    };
    Sample {
        cpu_us_per_request: of(|s| s.cpu_us_per_request),
        cpu_us_per_event: of(|s| s.cpu_us_per_event),
        requests_per_s: of(|s| s.requests_per_s),
        p50_us: of(|s| s.p50_us),
        p99_us: of(|s| s.p99_us),
        first_byte_p99_us: of(|s| s.first_byte_p99_us),
        errors: samples.iter().map(|s| s.errors).sum(),
    }
}

/// The rows as a table for people.
pub fn table(rows: &[Row]) -> String {
    let mut out = format!(
        "{:<12}{:<12}{:>12}{:>12}{:>8}{:>12}{:>10}{:>10}{:>8}\n",
        "workload", "gateway", "us/request", "us/event", "ratio", "requests/s", "p50 us", "p99 us", "errors"
    );
    for row in rows {
        let m = &row.median;
        let event = if m.cpu_us_per_event > 0.0 { format!("{:.2}", m.cpu_us_per_event) } else { "-".to_owned() };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<12}{:<12}{:>12.2}{event:>12}{:>8.3}{:>12.0}{:>10.0}{:>10.0}{:>8}",
            row.workload, row.gateway, m.cpu_us_per_request, row.ratio, m.requests_per_s, m.p50_us, m.p99_us, m.errors
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_without_process_is_measured() {
        let good: Gateway = "weir=http://127.0.0.1:8080,pid=12+13,key=k".parse().unwrap();
        assert_eq!((good.name.as_str(), good.pids.as_slice(), good.key.as_deref()), ("weir", &[12, 13][..], Some("k")));
        for text in [
            "weir",
            "weir=http://127.0.0.1:1",
            "weir=127.0.0.1:1,pid=1",
            "weir=http://a:1,pid=x",
            "w=http://a:1,pid=1,k=v",
        ] {
            assert!(text.parse::<Gateway>().is_err(), "{text}");
        }
    }

    #[test]
    fn median_follows_an_outlier() {
        let sample = |value| Sample { cpu_us_per_request: value, errors: 1, ..Sample::default() };
        let middle = median(&[sample(10.0), sample(900.0), sample(11.0)]);
        assert_eq!((middle.cpu_us_per_request, middle.errors), (11.0, 3));
        assert_eq!(median(&[sample(10.0), sample(12.0)]).cpu_us_per_request, 11.0);
    }
}
