//! `weir-loadtest run`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde::Serialize;

use super::{Own, Peers, seconds, start_peers, write_json};
use crate::loadtest::compare::{RELOAD, reloads};
use crate::loadtest::gateways::{self, Kind, Running, Setup};
use crate::loadtest::generator::stats::Report;
use crate::loadtest::generator::verify::{self, BookLine, Verdict};
use crate::loadtest::generator::workload::Workload;
use crate::loadtest::generator::{self, RunOptions};
use crate::loadtest::provider::BoundProvider;
use crate::loadtest::stage;
use crate::loadtest::tls::Certificate;

/// How long the provider may take to close its books on answers that have arrived.
const BOOKS_DEADLINE: Duration = Duration::from_secs(5);

#[derive(Args)]
pub(super) struct RunArgs {
    /// Where to send, `http://HOST:PORT` or `https://HOST:PORT`; the provider of this process if left out.
    #[arg(long)]
    target: Option<String>,
    /// The certificate that an https target must show, PEM; any if left out.
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// A gateway to start before the provider of this process, and to send through.
    #[arg(long, value_name = "GATEWAY", conflicts_with = "target")]
    through: Option<Kind>,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    weir: Option<PathBuf>,
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

/// Runs it, prints the report and, where asked, the verdict of the books.
pub(super) async fn run_workload(args: RunArgs) -> Result<ExitCode, String> {
    let storm = args.workload == RELOAD;
    let workload = Workload::named(if storm { "paced" } else { &args.workload }, args.peers.seed)?;
    let mut own = start_peers(&args.peers)?;
    let through = match args.through {
        Some(kind) => Some(start_before(kind, &args, workload.tls, &mut own)?),
        None => None,
    };
    let own_url = own.provider.as_ref().map(|provider| format!("http://{}", provider.addr()));
    let started = through.as_ref().map(|running| running.gateway.clone());
    let target = started.as_ref().map(|gateway| gateway.target.clone()).or(args.target).or(own_url);
    let target = target.ok_or("say where to send: --through weir, --target URL or --provider-listen ADDR")?;
    let pinned = args.certificate.as_deref().map(certificate).transpose()?;
    let default_seconds = args.requests.is_none().then_some(5.0);
    let options = RunOptions {
        target: target.clone(),
        certificate: started.as_ref().and_then(|gateway| gateway.certificate.clone()).or(pinned),
        key: started.as_ref().and_then(|gateway| gateway.key.clone()).unwrap_or(args.peers.key),
        workload,
        time: args.seconds.or(default_seconds).map(seconds).transpose()?,
        requests: args.requests,
        connections: args.peers.connections,
        rate: args.rate,
        verify: args.verify,
        seed: args.peers.seed,
    };
    let storm = match (storm, started) {
        (false, _) => None,
        (true, Some(gateway)) => Some(tokio::spawn(reloads(gateway.pids))),
        (true, None) => return Err(format!("{RELOAD} wants a gateway to reload: --through weir")),
    };
    let books = BooksOf { own: own.provider, url: args.provider.unwrap_or(target) };
    let since = if args.verify { books.last_index()? } else { 0 };
    let run = generator::run(&options).await?;
    if let Some(storm) = storm {
        storm.abort();
    }
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
        report: &'a Report,
        verdict: Option<Verdict>,
    }
    write_json(args.peers.json.as_deref(), &Output { report: &run.report, verdict })?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Starts a gateway before the provider of this process, which is started if it does not run yet.
fn start_before(kind: Kind, args: &RunArgs, tls: bool, own: &mut Own) -> Result<Running, String> {
    let provider = match own.provider.take() {
        Some(provider) => provider,
        None => stage::provider(stage::quick(None, args.peers.seed))?,
    };
    let mut setup = Setup::new(own.provider.insert(provider).addr(), args.weir.clone())?;
    setup.tls = if tls { Some(Certificate::make()?) } else { None };
    gateways::start(kind, &setup).map_err(|error| format!("{}: {error}", kind.name()))
}

/// The first certificate of a PEM file, DER.
fn certificate(path: &Path) -> Result<Vec<u8>, String> {
    let found = CertificateDer::from_pem_file(path);
    found.map(|der| der.to_vec()).map_err(|error| format!("--certificate {}: {error}", path.display()))
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
