//! From the start of weir until it is ready, with many keys in its configuration.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::cli::Keep;
use super::gateways::{self, Kind, Setup};
use super::report::{Comparison, Parts};
use std::path::{Path, PathBuf};

/// How it is started.
#[derive(Args)]
pub struct StartArgs {
    /// Keys in the configuration.
    #[arg(long, default_value_t = 10_000)]
    keys: usize,
    /// How often; the median counts.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
    #[command(flatten)]
    keep: Keep,
}

/// What came of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Start {
    /// Keys in the configuration.
    pub keys: usize,
    /// Milliseconds from the start of the process to its ready line, ascending.
    pub times_ms: Vec<f64>,
    /// Their median.
    pub median_ms: f64,
}

/// Runs it, prints the figures, keeps them.
pub(super) fn run(args: &StartArgs) -> Result<ExitCode, String> {
    let start = measure(args.weir.as_deref(), args.keys, args.rounds)?;
    let times: Vec<String> = start.times_ms.iter().map(|ms| format!("{ms:.0}")).collect();
    println!("start to ready with {} keys: {:.0} ms (each: {})", start.keys, start.median_ms, times.join(", "));
    args.keep.tell(&Comparison::new(Parts { start: Some(start), ..Parts::default() }))?;
    Ok(ExitCode::SUCCESS)
}

/// Starts weir so often, each time with an empty store.
pub(super) fn measure(weir: Option<&Path>, keys: usize, rounds: usize) -> Result<Start, String> {
    // Nobody is asked for anything: the upstream's address need not be anybody's.
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let mut setup = Setup::new(nobody, weir.map(Path::to_path_buf))?;
    setup.more_keys = keys;
    let mut times_ms = Vec::with_capacity(rounds);
    for _ in 0..rounds.max(1) {
        let running = gateways::start(Kind::Weir, &setup).map_err(|error| format!("weir: {error}"))?;
        times_ms.push(ms(running.ready_after));
    }
    times_ms.sort_by(f64::total_cmp);
    let median_ms = times_ms[times_ms.len() / 2];
    Ok(Start { keys, times_ms, median_ms })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
