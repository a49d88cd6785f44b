//! `weir-loadtest provider`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::loadtest::provider::{self, ProofOptions, ProviderOptions};

#[derive(Args)]
pub(super) struct ProviderArgs {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Threads, each with its own SO_REUSEPORT listener.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Accepted credential; repeat for several, leave out to accept any.
    #[arg(long = "api-key", value_name = "KEY")]
    api_keys: Vec<String>,
    /// Takes signatures of AWS for this region and service.
    #[arg(long, value_name = "REGION/SERVICE")]
    sigv4: Option<String>,
    /// Key of AWS that may sign; repeat for several.
    #[arg(long = "aws-key", value_name = "ID:SECRET")]
    aws_keys: Vec<String>,
    /// Plays token endpoints and metadata servers, and takes what they issue; it lives so many seconds.
    #[arg(long, value_name = "SECONDS")]
    issue: Option<f64>,
    /// Its clock is so many seconds ahead of the host's.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    clock_ahead: i64,
    /// Seed of texts, ids and random failures.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Newest entries kept in the books; 0 keeps totals only and skips the digests.
    #[arg(long, default_value_t = provider::KEEP_ENTRIES_DEFAULT)]
    keep_entries: usize,
    /// Keeps the raw request bodies in the entries.
    #[arg(long)]
    keep_bodies: bool,
    /// Words in front of every request's script: what this provider is like by itself.
    #[arg(long, default_value = "", value_name = "WORDS")]
    script: String,
    /// No line on stderr for each refused request.
    #[arg(long)]
    quiet: bool,
}

pub(super) fn script_help() -> String {
    let keys = provider::script::KEYS;
    format!(
        "A request says how it is answered by `key=value` words, in the header `anthropic-sim` or as `[[sim key=value …]]`\n\
         in its body. Keys: {keys}\n\
         Books: GET /sim/books[?since=N][?totals=1], DELETE /sim/books"
    )
}

pub(super) fn run_provider(args: ProviderArgs) -> Result<ExitCode, String> {
    let listen = args.listen;
    let pair = |text: &String, between: char| text.split_once(between).map(|(a, b)| (a.to_owned(), b.to_owned()));
    let proof = ProofOptions {
        sigv4: match &args.sigv4 {
            Some(text) => Some(pair(text, '/').ok_or("--sigv4 wants REGION/SERVICE")?),
            None => None,
        },
        aws_keys: args
            .aws_keys
            .iter()
            .map(|text| pair(text, ':').ok_or("--aws-key wants ID:SECRET"))
            .collect::<Result<_, _>>()?,
        issued_life: args.issue.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.1, 1e6))),
    };
    provider::set_ahead(args.clock_ahead);
    args.script.parse::<provider::script::Script>().map_err(|e| format!("--script: {e}"))?;
    let options = ProviderOptions {
        listen,
        threads: args.threads,
        api_keys: args.api_keys,
        proof,
        seed: args.seed,
        quiet: args.quiet,
        keep_entries: args.keep_entries,
        keep_bodies: args.keep_bodies,
        script: args.script,
    };
    let handle = provider::start(options).map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    println!("provider: ready http://{}", handle.addr());
    std::io::stdout().flush().map_err(|e| format!("cannot write to stdout: {e}"))?;
    wait_for_signal().map_err(|e| format!("cannot wait for signals: {e}"))?;
    handle.stop();
    Ok(ExitCode::SUCCESS)
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
