//! Command line of `weir-loadtest`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde::Serialize;

use super::affinity::{self, AffinityArgs};
use super::awake;
use super::compare::{self, CompareOptions, Gateway};
use super::fleet::{self, FleetArgs};
use super::gateways::{self, KINDS, Kind, Running, Setup, StartError};
use super::generator::verify::{self, BookLine, Verdict};
use super::generator::workload::Workload;
use super::generator::{self, RunOptions};
use super::idle;
use super::instructions::{self, InstructionsArgs};
use super::provider::{self, BoundProvider, ProofOptions, ProviderOptions};
use super::report::Comparison;

/// How long the provider may take to close its books on answers that have arrived.
const BOOKS_DEADLINE: Duration = Duration::from_secs(5);

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
}

#[derive(Args)]
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

#[derive(Args)]
struct RunArgs {
    /// Where to send, `http://HOST:PORT`; the provider of this process if left out.
    #[arg(long)]
    target: Option<String>,
    /// What to send.
    #[arg(long)]
    workload: String,
    /// How long to start new requests; 5 seconds unless --requests says how many.
    #[arg(long)]
    seconds: Option<f64>,
    /// How many requests to start.
    #[arg(long)]
    requests: Option<u64>,
    /// Requests per second, due at fixed times; latency counts from when each was due.
    #[arg(long)]
    rate: Option<f64>,
    /// Compares the bytes of both sides, both ways, with the provider's books.
    #[arg(long)]
    verify: bool,
    /// The provider whose books to read, `http://HOST:PORT`, if it is not in this process.
    #[arg(long, value_name = "URL")]
    provider: Option<String>,
    #[command(flatten)]
    peers: Peers,
}

#[derive(Args)]
struct CompareArgs {
    /// A gateway that runs already, as `name=http://HOST:PORT,pid=PID[+PID…][,key=KEY]`; repeat, the first is the reference.
    #[arg(long = "gateway", value_name = "GATEWAY")]
    gateways: Vec<Gateway>,
    /// Gateways to start, separated by commas, the first is the reference; all that are installed unless one is given.
    #[arg(long, value_delimiter = ',', conflicts_with = "gateways")]
    start: Option<Vec<Kind>>,
    /// The core the started gateways share.
    #[arg(long, default_value_t = 0)]
    gateway_core: usize,
    /// The core of provider and generator, where gateways are started here.
    #[arg(long, default_value_t = 1)]
    peer_core: usize,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
    /// Workloads, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "unary,upload64k,upload256k,sse,paced")]
    workloads: Vec<String>,
    /// Seconds of each measured run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also measures what so many open streams cost that say nothing.
    #[arg(long, default_value_t = 0, value_name = "STREAMS")]
    idle_streams: usize,
    /// Adds the comparison to this file, one JSON line each.
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Writes a page with tables and plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    peers: Peers,
}

fn script_help() -> String {
    let keys = provider::script::KEYS;
    format!(
        "A request says how it is answered by `key=value` words, in the header `anthropic-sim` or as `[[sim key=value …]]`\n\
         in its body. Keys: {keys}\n\
         Books: GET /sim/books[?since=N][?totals=1], DELETE /sim/books"
    )
}

fn workload_help() -> String {
    let lines: Vec<String> =
        generator::workload::WORKLOADS.iter().map(|(name, what)| format!("  {name:<12}{what}")).collect();
    format!("Workloads:\n{}", lines.join("\n"))
}

fn compare_help() -> String {
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    format!(
        "{}\n  reload      paced streams while weir reads its configuration again twenty times a second\n\n\
         Gateways that can be started: {}",
        workload_help(),
        names.join(", ")
    )
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

fn run_provider(args: ProviderArgs) -> Result<ExitCode, String> {
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

/// Starts what of the peers lives in this process.
fn start_peers(peers: &Peers) -> Result<Option<BoundProvider>, String> {
    if peers.awake {
        awake::keep_awake();
    }
    let Some(listen) = peers.provider_listen else { return Ok(None) };
    let options = ProviderOptions { listen, seed: peers.seed, ..ProviderOptions::default() };
    let started = BoundProvider::bind(options).and_then(|mut provider| {
        provider.spawn_here()?;
        Ok(provider)
    });
    started.map(Some).map_err(|e| format!("cannot listen on {listen}: {e}"))
}

async fn run_workload(args: RunArgs) -> Result<ExitCode, String> {
    let provider = start_peers(&args.peers)?;
    let own_url = provider.as_ref().map(|provider| format!("http://{}", provider.addr()));
    let target = args.target.or(own_url).ok_or("say where to send: --target URL or --provider-listen ADDR")?;
    let default_seconds = args.requests.is_none().then_some(5.0);
    let options = RunOptions {
        target: target.clone(),
        key: args.peers.key.clone(),
        workload: Workload::named(&args.workload, args.peers.seed)?,
        time: args.seconds.or(default_seconds).map(seconds).transpose()?,
        requests: args.requests,
        connections: args.peers.connections,
        rate: args.rate,
        verify: args.verify,
        seed: args.peers.seed,
    };
    let books = BooksOf { own: provider, url: args.provider.unwrap_or(target) };
    let since = if args.verify { books.last_index()? } else { 0 };
    let run = generator::run(&options).await?;
    print!("{}", run.report.text());
    let mut failed = run.report.error_count() > 0;
    let mut verdict = None;
    if args.verify {
        let found = books.check(&run.seen, since).await?;
        print!("{}", found.text());
        failed |= !found.is_clean();
        verdict = Some(found);
    }
    #[derive(Serialize)]
    struct Output<'a> {
        report: &'a generator::stats::Report,
        verdict: Option<Verdict>,
    }
    write_json(args.peers.json.as_deref(), &Output { report: &run.report, verdict })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The books to verify against: those of the provider in this process, or of one elsewhere.
struct BooksOf {
    own: Option<BoundProvider>,
    url: String,
}

impl BooksOf {
    fn last_index(&self) -> Result<u64, String> {
        match &self.own {
            Some(provider) => Ok(provider.books().last_index),
            None => Ok(verify::fetch(&self.url, u64::MAX)?.1),
        }
    }

    fn lines(&self, since: u64) -> Result<Vec<BookLine>, String> {
        match &self.own {
            Some(provider) => Ok(verify::lines_of(provider.books())),
            None => Ok(verify::fetch(&self.url, since)?.0),
        }
    }

    /// Compares again until the provider has closed its books on every answer, or has had time enough.
    async fn check(&self, seen: &[verify::Seen], since: u64) -> Result<Verdict, String> {
        let deadline = tokio::time::Instant::now() + BOOKS_DEADLINE;
        loop {
            let verdict = verify::check(seen, &self.lines(since)?);
            if verdict.is_clean() || tokio::time::Instant::now() >= deadline {
                return Ok(verdict);
            }
            tokio::time::sleep(BOOKS_DEADLINE / 10).await;
        }
    }
}

async fn run_compare(args: CompareArgs) -> Result<ExitCode, String> {
    let started = if args.gateways.is_empty() { Some(start_gateways(&args)?) } else { None };
    let _provider = if started.is_none() { start_peers(&args.peers)? } else { None };
    let gateways = match &started {
        Some((_, running)) => running.iter().map(|running| running.gateway.clone()).collect(),
        None => args.gateways,
    };
    let options = CompareOptions {
        gateways: gateways.clone(),
        workloads: args.workloads,
        time: seconds(args.seconds)?,
        rounds: args.rounds.max(1),
        connections: args.peers.connections,
        key: args.peers.key.clone(),
        seed: args.peers.seed,
    };
    let rows = compare::compare(&options).await?;
    print!("{}", compare::table(&rows));
    let idle = match args.idle_streams {
        0 => Vec::new(),
        streams => idle::measure(&gateways, streams, &args.peers.key, args.peers.seed).await?,
    };
    if !idle.is_empty() {
        print!("\n{}", idle::table(&idle));
    }
    let failed = rows.iter().any(|row| row.median.errors > 0) || idle.iter().any(|row| row.errors > 0);
    write_json(args.peers.json.as_deref(), &rows)?;
    let comparison = Comparison::new(rows, idle);
    if let Some(history) = &args.history {
        comparison.append_to(history)?;
    }
    if let Some(html) = &args.html {
        comparison.write_page(html)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Starts the provider in this process, on its own core and awake, and the gateways before it.
fn start_gateways(args: &CompareArgs) -> Result<(BoundProvider, Vec<Running>), String> {
    pin_to(args.peer_core)?;
    awake::keep_awake();
    let listen = args.peers.provider_listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let options = ProviderOptions { listen, seed: args.peers.seed, ..ProviderOptions::default() };
    let mut provider = BoundProvider::bind(options).map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    provider.spawn_here().map_err(|e| format!("cannot listen on {listen}: {e}"))?;
    let setup = Setup {
        provider: provider.addr(),
        core: Some(args.gateway_core),
        weir: args.weir.clone().map_or_else(beside_this_program, Ok)?,
        under: Vec::new(),
    };
    let kinds = args.start.clone().unwrap_or_else(|| KINDS.iter().map(|(_, kind)| *kind).collect());
    let mut running = Vec::new();
    for kind in kinds {
        match gateways::start(kind, &setup) {
            Ok(gateway) => running.push(gateway),
            Err(StartError::NotInstalled(how)) if args.start.is_none() => {
                eprintln!("compare: {} is not installed and left out ({how})", kind.name());
            }
            Err(StartError::NotInstalled(how)) => return Err(format!("{} is not installed: {how}", kind.name())),
            Err(StartError::Failed(why)) => return Err(format!("{}: {why}", kind.name())),
        }
    }
    eprintln!(
        "compare: gateways on core {}, provider and generator on core {}, awake",
        args.gateway_core, args.peer_core
    );
    Ok((provider, running))
}

/// Keeps this thread on a core, so that provider and generator never take the gateways' own.
fn pin_to(core: usize) -> Result<(), String> {
    let mut taskset = std::process::Command::new("taskset");
    let output = taskset.args(["-cp", &core.to_string(), &std::process::id().to_string()]).output();
    let output = output.map_err(|error| format!("taskset: {error}; it comes with util-linux"))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("cannot run on core {core}: {why}; two cores are needed, see --gateway-core and --peer-core"))
}

/// The `weir` that was built with this program.
pub(super) fn beside_this_program() -> Result<PathBuf, String> {
    let here = std::env::current_exe().map_err(|e| format!("cannot find this program: {e}"))?;
    Ok(here.with_file_name("weir"))
}

fn seconds(value: f64) -> Result<Duration, String> {
    Duration::try_from_secs_f64(value).map_err(|_| format!("--seconds {value}: not a length of time"))
}

pub(super) fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string_pretty(value).map_err(|e| format!("cannot write JSON: {e}"))?;
    std::fs::write(path, text + "\n").map_err(|e| format!("cannot write {}: {e}", path.display()))
}
