//! Command line of `weir-loadtest`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use super::affinity::{self, AffinityArgs};
use super::awake;
use super::delay::DelayArgs;
use super::fleet::{self, FleetArgs};
use super::generator;
use super::instructions::{self, InstructionsArgs};
use super::numbers::{self, NumbersArgs};
use super::provider::BoundProvider;
use super::report::Comparison;
use super::soak::{self, SoakArgs};
use super::stage;
use super::start::{self, StartArgs};
use super::streams::{self, StreamsArgs};
use super::{delay, targets};

mod compare;
mod provider;
mod run;

use compare::{CompareArgs, compare_help, run_compare};
use provider::{ProviderArgs, run_provider, script_help};
use run::{RunArgs, run_workload};

/// Simulated provider and load generator of weir. Without a command: a fleet of Claude Code before a weir of its own.
#[derive(Parser)]
#[command(name = "weir-loadtest", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    fleet: FleetArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Plays the Anthropic Messages API on loopback until SIGTERM or SIGINT.
    #[command(after_help = script_help())]
    Provider(ProviderArgs),
    /// Sends one workload to one target and checks every answer.
    #[command(after_help = workload_help())]
    Run(RunArgs),
    /// Measures the CPU time that gateways take for the same workloads, in alternating rounds.
    #[command(after_help = compare_help())]
    Compare(CompareArgs),
    /// What sessions cost over several accounts with prompt caches: kept at one, spread at random, with an account taken away.
    Affinity(AffinityArgs),
    /// Counts the instructions that weir spends on a request, by thread and function, under callgrind.
    Instructions(InstructionsArgs),
    /// Measures what an event costs with few open streams and with many.
    Streams(StreamsArgs),
    /// Measures how late events come, with large uploads beside them and without.
    Delay(DelayArgs),
    /// A fleet for many minutes: does memory stay flat?
    Soak(SoakArgs),
    /// Measures the time from the start of weir until it is ready.
    Start(StartArgs),
    /// Measures everything that is promised, and writes it into a page of text.
    Numbers(NumbersArgs),
}

/// What is kept of a measurement.
#[derive(Args, Clone, Debug, Default)]
pub struct Keep {
    /// Adds the measurement to this file, one JSON line each.
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Writes a page with tables and plots.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl Keep {
    /// Keeps it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn keep(&self, comparison: &Comparison) -> Result<(), String> {
        if let Some(history) = &self.history {
            comparison.append_to(history)?;
        }
        match &self.html {
            Some(html) => comparison.write_page(html),
            None => Ok(()),
        }
    }

    /// Shows the targets of it, and keeps it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn tell(&self, comparison: &Comparison) -> Result<(), String> {
        print!("\n{}", targets::table(&comparison.targets));
        self.keep(comparison)
    }
}

#[derive(Args)]
struct Peers {
    /// Runs a provider in this process and on the same thread, listening here.
    #[arg(long, value_name = "ADDR")]
    provider_listen: Option<SocketAddr>,
    /// Never lets this thread sleep, so that no wake-up is charged to the gateway.
    #[arg(long)]
    awake: bool,
    /// Credential sent as a bearer.
    #[arg(long, default_value = "sk-loadtest")]
    key: String,
    /// Connections; each workload has its own number otherwise.
    #[arg(long)]
    connections: Option<usize>,
    /// Seed of what is random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Also writes the figures to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn workload_help() -> String {
    let lines: Vec<String> =
        generator::workload::WORKLOADS.iter().map(|(name, what)| format!("  {name:<12}{what}")).collect();
    format!("Workloads:\n{}", lines.join("\n"))
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => block_on(fleet::run(cli.fleet)),
        Some(Command::Provider(args)) => run_provider(args),
        Some(Command::Run(args)) => block_on(run_workload(args)),
        Some(Command::Compare(args)) => block_on(run_compare(args)),
        Some(Command::Affinity(args)) => affinity::run(&args),
        Some(Command::Instructions(args)) => block_on(instructions::run(args)),
        Some(Command::Streams(args)) => block_on(streams::run(args)),
        Some(Command::Delay(args)) => block_on(delay::run(args)),
        Some(Command::Soak(args)) => block_on(soak::run(args)),
        Some(Command::Start(args)) => start::run(&args),
        Some(Command::Numbers(args)) => block_on(numbers::run(args)),
    };
    match result {
        Ok(code) => code,
        Err(message) => {
            eprintln!("weir-loadtest: {message}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(work: impl Future<Output = Result<ExitCode, String>>) -> Result<ExitCode, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| format!("cannot make a runtime: {e}"))?.block_on(work)
}

/// What of the peers lives in this process.
struct Own {
    provider: Option<BoundProvider>,
    _awake: Option<awake::Awake>,
}

/// Starts what of the peers lives in this process.
fn start_peers(peers: &Peers) -> Result<Own, String> {
    let listen = peers.provider_listen;
    Ok(Own {
        provider: listen.map(|listen| stage::provider(stage::quick(Some(listen), peers.seed))).transpose()?,
        _awake: peers.awake.then(awake::keep_awake),
    })
}

/// The `weir` that was built with this program.
pub fn beside_this_program() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    Ok(here.with_file_name("weir"))
}

/// A length of time out of the command line.
pub(super) fn seconds(value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value).map_err(|_| format!("--seconds {value}: not a length of time"))
}

/// Writes figures to a file, if there is one.
pub fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value).map_err(|e| format!("cannot write JSON: {e}"))?;
    std::fs::write(path, text + "\n").map_err(|e| format!("cannot write {}: {e}", path.display()))
}
