//! What an open stream costs that says nothing: memory of the gateway with more and more of them.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::compare::Gateway;
use super::generator::{RunOptions, run, workload::Workload};
use super::process::memory_bytes;

/// How long each stream stays silent.
const HOLD: Duration = Duration::from_secs(6);
/// When memory is read, from the start of the streams: all are open by then, none has ended.
const LOOK_AFTER: Duration = Duration::from_secs(4);
/// Steps to the full number.
const STEPS: usize = 4;

/// Memory of one gateway with some streams open.
#[derive(Clone, Debug, Serialize)]
pub struct IdleRow {
    /// Gateway name.
    pub gateway: String,
    /// Open streams.
    pub streams: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes for each stream, above what the gateway has without any.
    pub bytes_per_stream: f64,
    /// Streams that failed.
    pub errors: u64,
}

/// Opens up to `streams` streams on each gateway, in steps, and reads its memory.
///
/// # Errors
/// When a process cannot be read.
pub async fn measure(gateways: &[Gateway], streams: usize, key: &str, seed: u64) -> Result<Vec<IdleRow>, String> {
    let mut rows = Vec::new();
    for gateway in gateways {
        let without = memory_bytes(&gateway.pids)?;
        rows.push(row(gateway, 0, without, without, 0));
        for step in 1..=STEPS {
            let count = streams * step / STEPS;
            if count == 0 {
                continue;
            }
            eprintln!("compare: {count} idle streams, {}", gateway.name);
            let options = RunOptions {
                target: gateway.target.clone(),
                key: gateway.key.clone().unwrap_or_else(|| key.to_owned()),
                workload: Workload::held_open(count, HOLD.as_millis() as u64),
                time: None,
                requests: Some(count as u64),
                connections: None,
                rate: None,
                verify: false,
                seed,
            };
            let began = Instant::now();
            let streams = tokio::spawn(async move { run(&options).await });
            tokio::time::sleep(LOOK_AFTER.saturating_sub(began.elapsed())).await;
            let memory = memory_bytes(&gateway.pids)?;
            let report = streams.await.map_err(|error| format!("the streams' task died: {error}"))??.report;
            rows.push(row(gateway, count, memory, without, report.error_count()));
        }
    }
    Ok(rows)
}

fn row(gateway: &Gateway, streams: usize, memory: u64, without: u64, errors: u64) -> IdleRow {
    let bytes_per_stream = memory.saturating_sub(without) as f64 / streams.max(1) as f64;
    IdleRow { gateway: gateway.name.clone(), streams, memory_bytes: memory, bytes_per_stream, errors }
}

/// The rows as a table for people.
pub fn table(rows: &[IdleRow]) -> String {
    let mut out =
        format!("{:<12}{:>10}{:>12}{:>14}{:>8}\n", "gateway", "streams", "memory MiB", "KiB/stream", "errors");
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<12}{:>10}{:>12.1}{:>14.1}{:>8}",
            row.gateway,
            row.streams,
            row.memory_bytes as f64 / f64::from(1 << 20),
            row.bytes_per_stream / 1024.0,
            row.errors
        );
    }
    out
}
