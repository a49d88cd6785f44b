//! One file per command of the `weir` program (interface.md §1). A command reads its arguments, calls the library, and turns
//! the result into an exit code; nothing else is decided here.

pub mod audit;
pub mod check;
pub mod client;
pub mod demo;
pub mod doctor;
pub mod key;
pub mod reprice;
pub mod serve;
pub mod usage;

use crate::observe::log::LogFormat;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// weir: the gateway between fleets of Claude Code and the model providers.
#[derive(Debug, Parser)]
#[command(name = "weir", version, about, arg_required_else_help = true)]
struct Cli {
    /// How log lines on stderr look: auto (human on a terminal, JSON otherwise), human or json
    #[arg(long, global = true, default_value_t = LogFormat::Auto, value_name = "FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Serve(serve::ServeArgs),
    /// Check a configuration file: every error at once, each with its place and a way to mend it
    Check(check::CheckArgs),
    /// Run everything on loopback with nothing to configure, and print how to use it
    Demo,
    /// Make, list, rotate and revoke gateway keys
    Key(key::KeyArgs),
    /// Show who spent what
    Usage(usage::UsageArgs),
    /// Prove, search and export the journal, from its files
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Compare this host with what weir wants of it
    Doctor,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Err(error) = crate::observe::log::init(cli.log_format) {
        eprintln!("weir: {error}");
        return ExitCode::FAILURE;
    }
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Demo => demo::run(),
        Command::Usage(args) if args.reprice => reprice::run(&args),
        Command::Key(args) => key::run(&args),
        Command::Usage(args) => usage::run(&args),
        Command::Audit(command) => audit::run(&command),
        Command::Doctor => doctor::run(),
    }
}
