//! What an open stream costs that says nothing: memory of the gateway with more and more of them.

use std::sync::atomic::Ordering::Relaxed;
use std::{fmt::Write as _, time::Duration};

use serde::Serialize;
use tokio::time::Instant;

use super::compare::Gateway;
use super::generator::{RunOptions, prepare, workload::Workload};
use super::process::memory_bytes;

/// How long each stream stays silent: longer than anybody looks.
const HOLD: Duration = Duration::from_secs(300);
/// How long it may take until all streams are open.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// How long a gateway has to come to rest before its memory is read.
const REST: Duration = Duration::from_millis(700);
/// Steps to the full number.
const STEPS: usize = 4;

/// Memory of one gateway with some streams open.
#[derive(Clone, Debug, Serialize)]
pub struct IdleRow {
    /// Gateway name; with ` tls` behind it where its clients come over TLS.
    pub gateway: String,
    /// Open streams.
    pub streams: usize,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Bytes for each stream, above what the gateway has without any.
    pub bytes_per_stream: f64,
    /// Streams that did not open.
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
            eprintln!("weir-loadtest: {count} idle streams, {}", name(gateway));
            let workload = Workload::held_open(count, HOLD.as_millis() as u64);
            let options = RunOptions { requests: Some(count as u64), ..gateway.run_options(workload, key, seed) };
            let prepared = prepare(&options).await?;
            let live = prepared.live();
            let run = tokio::spawn(prepared.run());
            let deadline = Instant::now() + OPEN_WITHIN;
            while (live.begun.load(Relaxed) as usize) < count && Instant::now() < deadline && !run.is_finished() {
                tokio::time::sleep(REST / 20).await;
            }
            tokio::time::sleep(REST).await;
            let memory = memory_bytes(&gateway.pids)?;
            let missing = count as u64 - live.begun.load(Relaxed).min(count as u64);
            // Whoever looks has seen enough: the streams end with the task that holds them.
            run.abort();
            let _aborted = run.await;
            rows.push(row(gateway, count, memory, without, missing));
            tokio::time::sleep(REST).await;
        }
    }
    Ok(rows)
}

fn name(gateway: &Gateway) -> String {
    format!("{}{}", gateway.name, if gateway.is_tls() { " tls" } else { "" })
}

fn row(gateway: &Gateway, streams: usize, memory: u64, without: u64, errors: u64) -> IdleRow {
    let bytes_per_stream = memory.saturating_sub(without) as f64 / streams.max(1) as f64;
    IdleRow { gateway: name(gateway), streams, memory_bytes: memory, bytes_per_stream, errors }
}

/// The rows as a table for people.
pub fn table(rows: &[IdleRow]) -> String {
    let mut out =
        format!("{:<16}{:>10}{:>12}{:>14}{:>8}\n", "gateway", "streams", "memory MiB", "KiB/stream", "errors");
    for row in rows {
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "{:<16}{:>10}{:>12.1}{:>14.1}{:>8}",
            row.gateway,
            row.streams,
            row.memory_bytes as f64 / f64::from(1 << 20),
            row.bytes_per_stream / 1024.0,
            row.errors
        );
    }
    out
}
