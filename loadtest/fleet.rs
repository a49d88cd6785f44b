//! The canonical run: a fleet of Claude Code before a weir with everything on, requests due at fixed times, every answer
//! compared with the provider's books.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::gateways::{self, Kind, Setup};
use super::generator::{self, RunOptions, verify, workload::Workload};
use super::process::{cpu_ns, memory_bytes};
use super::provider::ProviderOptions;
use super::stage;

/// How long the provider may take to close its books on answers that have arrived.
const BOOKS_DEADLINE: Duration = Duration::from_secs(10);
/// Entries the provider keeps: more than a run makes.
const KEEP_ENTRIES: usize = 1 << 20;

/// What may be said without a command.
#[derive(Args)]
pub struct FleetArgs {
    /// Requests per second, due at fixed times; latency counts from when each was due.
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// How long new requests are started, seconds.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Developers at work: connections, each with a session of its own.
    #[arg(long, default_value_t = 400)]
    developers: usize,
    /// Seed of what is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
}

/// Runs it and prints what came of it; fails if an answer or the books were wrong.
pub(super) async fn run(args: FleetArgs) -> Result<ExitCode, String> {
    let options = ProviderOptions { keep_entries: KEEP_ENTRIES, ..stage::quick(None, args.seed) };
    let provider = stage::provider(options)?;
    let setup = Setup::new(provider.addr(), args.weir)?;
    let running = gateways::start(Kind::Weir, &setup).map_err(|error| format!("weir: {error}"))?;
    let time = Duration::try_from_secs_f64(args.seconds).map_err(|_| "--seconds: not a length of time".to_owned())?;
    let gateway = &running.gateway;
    let options = RunOptions {
        time: Some(time),
        connections: Some(args.developers),
        rate: Some(args.rate),
        verify: true,
        ..gateway.run_options(Workload::named("fleet", args.seed)?, "", args.seed)
    };
    let before = cpu_ns(&gateway.pids)?;
    let run = generator::run(&options).await?;
    let cpu_us = cpu_ns(&gateway.pids)?.saturating_sub(before) as f64 / 1000.0;
    print!("{}", run.report.text());
    let exchanges = (run.report.requests + run.report.aborted).max(1);
    println!(
        "weir        {:.0} us of CPU a request, {:.2} an event, {:.1} MiB of memory",
        cpu_us / exchanges as f64,
        cpu_us / run.report.events.max(1) as f64,
        memory_bytes(&gateway.pids)? as f64 / f64::from(1 << 20)
    );
    let deadline = tokio::time::Instant::now() + BOOKS_DEADLINE;
    let verdict = loop {
        let verdict = verify::check(&run.seen, &verify::lines_of(provider.books()));
        if verdict.is_clean() || tokio::time::Instant::now() >= deadline {
            break verdict;
        }
        tokio::time::sleep(BOOKS_DEADLINE / 20).await;
    };
    print!("{}", verdict.text());
    let failed = run.report.error_count() > 0 || !verdict.is_clean();
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
