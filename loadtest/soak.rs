//! A fleet for many minutes: memory over time, and whether it stays flat.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::Instant;

use super::cli::Keep;
use super::gateways::Kind;
use super::generator::{RunOptions, prepare, workload::Workload};
use super::process::{cpu_ns, memory_bytes};
use super::report::{Comparison, Parts};
use super::stage::{self, Listens, Stage, StageArgs};

/// Memory that grows by less in an hour is flat: allocators and kernels breathe by more in a minute.
pub const FLAT_MIB: f64 = 16.0;
/// Looks at the memory in a soak, whatever its length.
const LOOKS: u32 = 240;

/// How long, and how much.
#[derive(Args)]
pub struct SoakArgs {
    /// How long memory is judged; a third of that comes before, while pools and lists fill.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Requests per second, due at fixed times.
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// Developers at work: connections, each with a session of its own.
    #[arg(long, default_value_t = 400)]
    developers: usize,
    #[command(flatten)]
    stage: StageArgs,
    #[command(flatten)]
    keep: Keep,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Soak {
    /// Seconds from the start, bytes of memory.
    pub samples: Vec<(f64, u64)>,
    /// How fast memory grew after the first quarter of the samples, MiB an hour: the slope of the line nearest to them.
    pub mib_per_hour: f64,
    /// Whole answers, and streams that were left.
    pub requests: u64,
    /// Failed requests.
    pub errors: u64,
    /// CPU microseconds per request.
    pub cpu_us_per_request: f64,
}

/// Runs it, prints the figures, keeps them; fails if a request did.
pub(super) async fn run(args: SoakArgs) -> Result<ExitCode, String> {
    let stage = Stage::set(&args.stage, &[Kind::Weir], Listens::PLAIN, stage::quick(None, 0))?;
    let soak = measure(&stage, args.minutes, args.rate, args.developers).await?;
    print!("{}", text(&soak));
    let failed = soak.errors > 0;
    args.keep.tell(&Comparison::new(Parts { soak: Some(soak), ..Parts::default() }))?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Soaks the stage's last gateway.
pub(super) async fn measure(stage: &Stage, minutes: f64, rate: f64, developers: usize) -> Result<Soak, String> {
    let gateway = stage.gateways().pop().ok_or("no gateway to soak: --start weir")?;
    let judged = minutes * 60.0;
    let time =
        Duration::try_from_secs_f64(judged + judged / 3.0).map_err(|_| "--minutes: not a length of time".to_owned())?;
    let options = RunOptions {
        time: Some(time),
        connections: Some(developers),
        rate: Some(rate),
        ..gateway.run_options(Workload::named("fleet", 0)?, "", 0)
    };
    let cpu = cpu_ns(&gateway.pids)?;
    let prepared = prepare(&options).await?;
    let (began, step) = (Instant::now(), (time / LOOKS).max(Duration::from_millis(50)));
    let run = tokio::spawn(prepared.run());
    let mut samples = Vec::new();
    while began.elapsed() < time && !run.is_finished() {
        tokio::time::sleep(step).await;
        samples.push((began.elapsed().as_secs_f64(), memory_bytes(&gateway.pids)?));
        if samples.len() % (LOOKS as usize / 10) == 0 {
            let memory = samples.last().map_or(0, |sample| sample.1);
            eprintln!("weir-loadtest: soak, {:.0} s, {:.1} MiB", began.elapsed().as_secs_f64(), mib(memory));
        }
    }
    let report = run.await.map_err(|error| format!("the soak's task died: {error}"))??.report;
    let requests = report.requests + report.aborted;
    let cpu_us = cpu_ns(&gateway.pids)?.saturating_sub(cpu) as f64 / 1000.0;
    Ok(Soak {
        mib_per_hour: slope(&samples[samples.len() / 4..]) * 3600.0 / f64::from(1 << 20),
        samples,
        requests,
        errors: report.error_count(),
        cpu_us_per_request: cpu_us / requests.max(1) as f64,
    })
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The slope of the line nearest to the samples: bytes a second.
fn slope(samples: &[(f64, u64)]) -> f64 {
    let count = samples.len() as f64;
    if samples.len() < 2 {
        return 0.0;
    }
    let mean = |of: &dyn Fn(&(f64, u64)) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (x_mean, y_mean) = (mean(&|sample| sample.0), mean(&|sample| sample.1 as f64));
    let along: f64 = samples.iter().map(|(x, y)| (x - x_mean) * (*y as f64 - y_mean)).sum();
    let across: f64 = samples.iter().map(|(x, _)| (x - x_mean).powi(2)).sum();
    along / across.max(f64::MIN_POSITIVE)
}

/// The figures for people.
pub fn text(soak: &Soak) -> String {
    let mut out = format!(
        "soak: {} requests, {} errors, {:.0} us of CPU a request; memory {:+.2} MiB an hour after the first quarter\n",
        soak.requests, soak.errors, soak.cpu_us_per_request, soak.mib_per_hour
    );
    let every = (soak.samples.len() / 10).max(1);
    for (seconds, bytes) in soak.samples.iter().step_by(every) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "  {seconds:>7.0} s {:>9.1} MiB", mib(*bytes));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_as_flat_or_flat_as_growth() {
        let samples: Vec<(f64, u64)> = (0..60).map(|second| (f64::from(second), (second as u64 % 2) * 4096)).collect();
        assert!(slope(&samples).abs() < 100.0, "{}", slope(&samples));
        let growing: Vec<(f64, u64)> =
            (0..60).map(|second| (f64::from(second), (1 << 20) + second as u64 * 1000)).collect();
        assert!((slope(&growing) - 1000.0).abs() < 100.0, "{}", slope(&growing));
        assert_eq!((slope(&[]), slope(&[(1.0, 5)])), (0.0, 0.0));
    }
}
