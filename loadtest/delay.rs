//! How late events come, with large uploads beside them and without: from the moment the provider sent an event until the
//! client has it, over many streams. The same without a gateway in between says what of it is the generator's own.

use std::collections::BTreeMap;
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
    /// Rounds; the table shows each way's median by p99.
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
    /// Microseconds from the provider to the client, in the round that is the median by p99.
    pub delay_us: Quantiles,
    /// The p99 of each round, in their order. Microseconds.
    pub p99_us: Vec<u64>,
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
    let mut samples: BTreeMap<(usize, bool), Vec<DelayRow>> = BTreeMap::new();
    for round in 1..=rounds.max(1) {
        for (place, way) in ways.iter().enumerate() {
            eprintln!("weir-loadtest: {streams} streams and their delays, round {round} of {rounds}, {}", way.name);
            for row in sample(way, streams, time).await? {
                samples.entry((place, row.uploads)).or_default().push(row);
            }
        }
    }
    Ok(samples.into_values().filter_map(median).collect())
}

fn median(mut rows: Vec<DelayRow>) -> Option<DelayRow> {
    let p99_us = rows.iter().map(|row| row.delay_us.p99).collect();
    rows.sort_by_key(|row| row.delay_us.p99);
    let errors = rows.iter().map(|row| row.errors).sum();
    rows.get(rows.len() / 2).map(|row| DelayRow { errors, p99_us, ..row.clone() })
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
        DelayRow { through: way.name.clone(), uploads, delay_us, events, errors, ..DelayRow::default() }
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

/// By how many milliseconds uploads move the 99th percentile of weir's delays: the median of the rounds. A machine that is slow for
/// some seconds is so for both halves of a round.
pub fn moved_ms(rows: &[DelayRow]) -> Option<f64> {
    let p99 = |uploads| rows.iter().find(|row| row.through == "weir" && row.uploads == uploads).map(|row| &row.p99_us);
    let mut moved: Vec<f64> =
        p99(true)?.iter().zip(p99(false)?).map(|(with, without)| (*with as f64 - *without as f64) / 1000.0).collect();
    moved.sort_by(f64::total_cmp);
    moved.get(moved.len() / 2).copied()
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

    fn row(through: &str, uploads: bool, p99_us: &[u64]) -> DelayRow {
        let round = |p99: &u64| DelayRow {
            through: through.into(),
            uploads,
            delay_us: Quantiles { p99: *p99, ..Quantiles::default() },
            ..DelayRow::default()
        };
        median(p99_us.iter().map(round).collect()).unwrap()
    }

    #[test]
    fn what_nginx_does_to_its_streams_is_told_of_ours() {
        let rows = [
            row("nginx", false, &[0]),
            row("nginx", true, &[90_000]),
            row("weir", false, &[400]),
            row("weir", true, &[900]),
        ];
        assert_eq!(moved_ms(&rows), Some(0.5));
        assert_eq!(moved_ms(&rows[..3]), None);
    }

    #[test]
    fn a_slow_minute_of_the_machine_is_told_of_the_uploads() {
        // The second round fell into it. By the medians of both, uploads would have moved the delays by 2.5 ms.
        let (without, with) = (row("weir", false, &[400, 9_000, 500]), row("weir", true, &[3_000, 9_100, 600]));
        assert_eq!(moved_ms(&[without.clone(), with]), Some(0.1));
        assert_eq!((without.delay_us.p99, without.p99_us), (500, vec![400, 9_000, 500]));
    }
}
