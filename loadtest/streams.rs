//! What an event costs with few open streams and with many: the same number of events a second, spread over more and more
//! streams. CPU time is read in the middle, while all streams are open.

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
use super::generator::{RunOptions, prepare, workload::Workload};
use super::process::cpu_ns;
use super::report::{Comparison, Parts};
use super::stage::{self, Listens, Stage, StageArgs};

/// Events a millisecond, over all streams.
const EVENTS_PER_MS: u64 = 10;
/// How long all streams run before anybody counts.
const REST: Duration = Duration::from_millis(500);
/// How long it may take until all streams are open, above what their schedule says.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// How many streams.
pub(super) const COUNTS: [usize; 4] = [10, 100, 1000, 5000];

/// What is measured.
#[derive(Args)]
pub struct StreamsArgs {
    /// Open streams, separated by commas.
    #[arg(long, value_delimiter = ',', default_values_t = COUNTS)]
    streams: Vec<usize>,
    /// Seconds of each count.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    keep: Keep,
}

/// One gateway with so many streams.
#[derive(Clone, Debug, Default, Serialize)]
pub struct StreamsRow {
    /// Gateway name.
    pub gateway: String,
    /// Open streams.
    pub streams: usize,
    /// CPU microseconds of the gateway per event, median of the rounds.
    pub cpu_us_per_event: f64,
    /// Events a second.
    pub events_per_s: f64,
    /// Streams that did not open.
    pub errors: u64,
}

/// Runs it, prints the table, keeps it.
pub(super) async fn run(args: StreamsArgs) -> Result<ExitCode, String> {
    let kinds = [Kind::Nginx, Kind::Weir];
    let stage = Stage::set(&args.stage, &kinds, Listens::PLAIN, stage::quick(None, 0))?;
    let rows = measure(&stage.gateways(), &args.streams, seconds(args.seconds)?, args.rounds).await?;
    print!("{}", table(&rows));
    let failed = rows.iter().any(|row| row.errors > 0);
    args.keep.tell(&Comparison::new(Parts { streams: rows, ..Parts::default() }))?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Measures each gateway with each count, round by round.
///
/// # Errors
/// When a process cannot be read.
pub async fn measure(
    gateways: &[Gateway],
    counts: &[usize],
    time: Duration,
    rounds: usize,
) -> Result<Vec<StreamsRow>, String> {
    let mut samples: BTreeMap<(usize, usize), Vec<StreamsRow>> = BTreeMap::new();
    for round in 1..=rounds.max(1) {
        for (place, gateway) in gateways.iter().enumerate() {
            for count in counts {
                eprintln!("weir-loadtest: {count} streams, round {round} of {rounds}, {}", gateway.name);
                let row = sample(gateway, (*count).max(1), time).await?;
                samples.entry((place, *count)).or_default().push(row);
            }
        }
    }
    Ok(samples.into_values().filter_map(median).collect())
}

fn median(mut rows: Vec<StreamsRow>) -> Option<StreamsRow> {
    rows.sort_by(|a, b| a.cpu_us_per_event.total_cmp(&b.cpu_us_per_event));
    let errors = rows.iter().map(|row| row.errors).sum();
    rows.get(rows.len() / 2).map(|row| StreamsRow { errors, ..row.clone() })
}

async fn sample(gateway: &Gateway, streams: usize, time: Duration) -> Result<StreamsRow, String> {
    let gap_ms = (streams as u64 / EVENTS_PER_MS).max(1);
    // Open until nobody counts any more, wherever in the schedule a stream begins.
    let life = OPEN_WITHIN + REST + time + Duration::from_millis(2 * gap_ms);
    let options = RunOptions {
        requests: Some(streams as u64),
        // They begin evenly spread over one gap, so that their events are, too.
        rate: Some(streams as f64 * 1000.0 / gap_ms as f64),
        ..gateway.run_options(Workload::spread(streams, gap_ms, life.as_millis() as u64), "", 0)
    };
    let prepared = prepare(&options).await?;
    let live = prepared.live();
    let run = tokio::spawn(prepared.run());
    let deadline = Instant::now() + OPEN_WITHIN;
    while (live.begun.load(Relaxed) as usize) < streams && Instant::now() < deadline {
        tokio::time::sleep(REST / 20).await;
    }
    tokio::time::sleep(REST).await;
    let missing = (streams as u64).saturating_sub(live.begun.load(Relaxed));
    let (cpu, events, began) = (cpu_ns(&gateway.pids)?, live.events.load(Relaxed), Instant::now());
    tokio::time::sleep(time).await;
    let cpu_us = cpu_ns(&gateway.pids)?.saturating_sub(cpu) as f64 / 1000.0;
    let events = (live.events.load(Relaxed) - events) as f64;
    let elapsed = began.elapsed().as_secs_f64();
    run.abort();
    let _aborted = run.await;
    tokio::time::sleep(REST).await;
    Ok(StreamsRow {
        gateway: gateway.name.clone(),
        streams,
        cpu_us_per_event: cpu_us / events.max(1.0),
        events_per_s: events / elapsed,
        errors: missing,
    })
}

/// How much more weir's dearest event costs than its cheapest, over the counts of streams.
pub fn spread(rows: &[StreamsRow]) -> Option<f64> {
    let own = || rows.iter().filter(|row| row.gateway == "weir").map(|row| row.cpu_us_per_event);
    (own().count() > 1).then(|| own().fold(0.0, f64::max) / own().fold(f64::INFINITY, f64::min))
}

/// The rows as a table for people.
pub fn table(rows: &[StreamsRow]) -> String {
    let mut out = format!("{:<12}{:>10}{:>12}{:>12}{:>8}\n", "gateway", "streams", "us/event", "events/s", "errors");
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<12}{:>10}{:>12.2}{:>12.0}{:>8}",
            row.gateway, row.streams, row.cpu_us_per_event, row.events_per_s, row.errors
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_gateways_events_count_as_ours() {
        let row =
            |gateway: &str, us| StreamsRow { gateway: gateway.into(), cpu_us_per_event: us, ..StreamsRow::default() };
        let rows = [row("nginx", 1.0), row("weir", 4.0), row("weir", 5.0), row("weir", 4.5)];
        assert_eq!(spread(&rows), Some(1.25));
        assert_eq!(spread(&rows[..2]), None, "one count says nothing of a spread");
        assert_eq!(median(vec![row("weir", 9.0), row("weir", 1.0), row("weir", 2.0)]).unwrap().cpu_us_per_event, 2.0);
    }
}
