//! `weir serve`: the gateway.

use crate::boot::{self, Addresses, Source};
use clap::Args;
use std::{path::PathBuf, process::ExitCode};

/// Which configuration.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "weir.toml")]
    pub config: PathBuf,
    /// Take over from the gateway that runs with the same store: its sockets, its journal, its budgets; it finishes its streams
    #[arg(long)]
    pub replace: bool,
}

/// Runs the gateway until it is told to end.
pub fn run(args: &ServeArgs) -> ExitCode {
    boot::serve(Source::File(args.config.clone()), args.replace, |at| println!("{}", ready_line(at)))
}

/// The one line on stdout that says where weir can be reached (interface.md §1).
pub fn ready_line(at: Addresses) -> String {
    let scheme = if at.tls { "https" } else { "http" };
    format!("weir: ready clients={scheme}://{} admin=http://{}", at.clients, at.admin)
}
