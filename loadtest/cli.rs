//! Command line of `weir-loadtest`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use super::provider::{self, ProviderOptions};

/// Simulated provider and load generator of weir.
#[derive(Debug, Parser)]
#[command(name = "weir-loadtest", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays the Anthropic Messages API on loopback until SIGTERM or SIGINT.
    Provider(ProviderArgs),
}

#[derive(Debug, Args)]
struct ProviderArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads, each with its own SO_REUSEPORT listener.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Accepted credential; repeat for several, leave out to accept any.
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,
    /// Seed of texts, ids and random failures.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Newest entries kept in the books; 0 keeps totals only and skips the digests.
    #[arg(long, default_value_t = provider::KEEP_ENTRIES_DEFAULT)]
    keep_entries: usize,
    /// Keeps the raw request bodies in the entries.
    #[arg(long)]
    keep_bodies: bool,
}

/// Runs the program on the process's own arguments.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Provider(args) => run_provider(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("weir-loadtest: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run_provider(args: ProviderArgs) -> Result<(), String> {
    let listen = args.listen;
    let options = ProviderOptions {
        listen,
        threads: args.threads,
        api_keys: args.api_keys,
        seed: args.seed,
        quiet: false,
        keep_entries: args.keep_entries,
        keep_bodies: args.keep_bodies,
    };
    let handle = provider::start(options).map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    println!("provider: ready http://{}", handle.addr());
    std::io::stdout().flush().map_err(|e| format!("cannot write to stdout: {e}"))?;
    wait_for_signal().map_err(|e| format!("cannot wait for signals: {e}"))?;
    handle.stop();
    Ok(())
}

fn wait_for_signal() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}
