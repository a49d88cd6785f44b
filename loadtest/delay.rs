//! How late events come, with large uploads beside them and without: from the moment the provider sent an event until the
//! client has it, over many streams. The same without a gateway in between says what of it is the generator's own.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::cli::{Keep, seconds};
use super::compare::Gateway;
use super::gateways::Kind;
use super::generator::stats::Quantiles;
use super::generator::{RunOptions, prepare, run as run_workload, workload::Workload};
use super::report::{Comparison, Parts};
use super::stage::{self, Listens, Stage, StageArgs};

/// Streams that are open.
const STREAMS: usize = 1000;
/// Milliseconds between two events of one stream.
const GAP_MS: u64 = 50;
/// Uploads of 1 MiB a second, one at a time.
const UPLOADS_PER_S: f64 = 20.0;
/// How long all streams run before anybody counts.
const REST: Duration = Duration::from_millis(500);
/// How long it may take until all streams are open.
const OPEN_WITHIN: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Args)]
pub struct DelayArgs {
    /// Open streams.
    #[arg(long, default_value_t = STREAMS)]
    streams: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds; the table shows each one's median by p99.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    keep: Keep,
}

/// The delays of one way, with uploads or without.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DelayRow {
    /// Gateway name, or `direct`.
    pub through: String,
    /// Are there uploads beside?
    pub uploads: bool,
    /// Microseconds from the provider to the client.
    pub delay_us: Quantiles,
    /// Events that were looked at.
    pub events: u64,
    /// Uploads and streams that failed.
    pub errors: u64,
}

/// Runs it, prints the table, keeps it.
pub(super) async fn run(args: DelayArgs) -> Result<ExitCode, String> {
    let kinds = [Kind::Nginx, Kind::Weir];
    let stage = Stage::set(&args.stage, &kinds, Listens::PLAIN, stage::quick(None, 0))?;
    let rows = measure(&ways(&stage), args.streams, seconds(args.seconds)?, args.rounds).await?;
    print!("{}", table(&rows));
    let failed = rows.iter().any(|row| row.errors > 0);
    args.keep.tell(&Comparison::new(Parts { delays: rows, ..Parts::default() }))?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The gateways, and the way without one.
pub(super) fn ways(stage: &Stage) -> Vec<Gateway> {
    let direct = Gateway {
        name: "direct".to_owned(),
        target: format!("http://{}", stage.provider.addr()),
        pids: Vec::new(),
        key: None,
        certificate: None,
    };
    std::iter::once(direct).chain(stage.gateways()).collect()
}

/// Measures each way without uploads and with them, round by round.
///
/// # Errors
/// When a run makes no sense.
pub async fn measure(ways: &[Gateway], streams: usize, time: Duration, rounds: usize) -> Result<Vec<DelayRow>, String> {
    let mut rows = Vec::new();
    for way in ways {
        let mut samples = [Vec::new(), Vec::new()];
        for round in 1..=rounds.max(1) {
            eprintln!("weir-loadtest: {streams} streams and their delays, round {round} of {rounds}, {}", way.name);
            let [without, with] = sample(way, streams, time).await?;
            samples[0].push(without);
            samples[1].push(with);
        }
        rows.extend(samples.into_iter().filter_map(median));
    }
    Ok(rows)
}

fn median(mut rows: Vec<DelayRow>) -> Option<DelayRow> {
    rows.sort_by_key(|row| row.delay_us.p99);
    let errors = rows.iter().map(|row| row.errors).sum();
    rows.get(rows.len() / 2).map(|row| DelayRow { errors, ..row.clone() })
}

/// The same open streams, first by themselves, then with uploads.
async fn sample(way: &Gateway, streams: usize, time: Duration) -> Result<[DelayRow; 2], String> {
    let life = OPEN_WITHIN + 2 * (REST + time);
    let options = RunOptions {
        requests: Some(streams as u64),
        rate: Some(streams as f64 * 1000.0 / GAP_MS as f64),
        ..way.run_options(Workload::stamped(streams, GAP_MS, life.as_millis() as u64), "", 0)
    };
    let prepared = prepare(&options).await?;
    let live = prepared.live();
    let run = tokio::spawn(prepared.run());
    let deadline = Instant::now() + OPEN_WITHIN;
    while (live.begun.load(Relaxed) as usize) < streams && Instant::now() < deadline {
        tokio::time::sleep(REST / 20).await;
    }
    let missing = (streams as u64).saturating_sub(live.begun.load(Relaxed));
    let row = |uploads, (delay_us, events): (Quantiles, u64), errors| {
        // Streams of which no event comes make no figure.
        let errors = errors + u64::from(events == 0);
        DelayRow { through: way.name.clone(), uploads, delay_us, events, errors }
    };
    tokio::time::sleep(REST).await;
    live.forget_delays();
    tokio::time::sleep(time).await;
    let without = row(false, live.delays(), missing);
    let uploads = RunOptions {
        time: Some(REST + time),
        connections: Some(1),
        rate: Some(UPLOADS_PER_S),
        ..way.run_options(Workload::named("uploads", 0)?, "", 0)
    };
    let uploads = tokio::spawn(async move { run_workload(&uploads).await });
    tokio::time::sleep(REST).await;
    live.forget_delays();
    tokio::time::sleep(time).await;
    let delays = live.delays();
    let report = uploads.await.map_err(|error| format!("the uploads' task died: {error}"))??.report;
    run.abort();
    let _aborted = run.await;
    tokio::time::sleep(REST).await;
    Ok([without, row(true, delays, report.error_count() + u64::from(report.requests == 0))])
}

/// By how many milliseconds uploads move the 99th percentile of weir's delays.
pub fn moved_ms(rows: &[DelayRow]) -> Option<f64> {
    let p99 = |uploads| {
        let row = rows.iter().find(|row| row.through == "weir" && row.uploads == uploads);
        row.map(|row| row.delay_us.p99 as f64 / 1000.0)
    };
    Some(p99(true)? - p99(false)?)
}

/// The rows as a table for people.
pub fn table(rows: &[DelayRow]) -> String {
    let mut out = format!(
        "{:<12}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}{:>8}\n",
        "through", "uploads", "p50 us", "p90 us", "p99 us", "max us", "events", "errors"
    );
    for row in rows {
        let (q, uploads) = (&row.delay_us, if row.uploads { "yes" } else { "no" });
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<12}{uploads:>10}{:>10}{:>10}{:>10}{:>10}{:>12}{:>8}",
            row.through, q.p50, q.p90, q.p99, q.max, row.events, row.errors
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nginx_does_to_its_streams_is_told_of_ours() {
        let row = |through: &str, uploads, p99| DelayRow {
            through: through.into(),
            uploads,
            delay_us: Quantiles { p99, ..Quantiles::default() },
            ..DelayRow::default()
        };
        let rows =
            [row("nginx", false, 0), row("nginx", true, 90_000), row("weir", false, 400), row("weir", true, 900)];
        assert_eq!(moved_ms(&rows), Some(0.5));
        assert_eq!(moved_ms(&rows[..3]), None);
    }
}
