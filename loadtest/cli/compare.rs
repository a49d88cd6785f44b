//! `weir-loadtest compare`.

use std::process::ExitCode;

use clap::Args;

use super::{Keep, Peers, seconds, start_peers, workload_help, write_json};
use crate::loadtest::compare::{self, CompareOptions, Gateway};
use crate::loadtest::gateways::KINDS;
use crate::loadtest::generator::workload::Workload;
use crate::loadtest::report::{Comparison, Parts};
use crate::loadtest::stage::{self, Listens, Stage, StageArgs};
use crate::loadtest::{idle, targets};

#[derive(Args)]
pub(super) struct CompareArgs {
    /// A gateway that runs already, as `name=http://HOST:PORT,pid=PID[+PID…][,key=KEY]`; repeat, the first is the reference.
    #[arg(long = "gateway", value_name = "GATEWAY")]
    gateways: Vec<Gateway>,
    #[command(flatten)]
    stage: StageArgs,
    /// Workloads, separated by commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "unary,upload64k,upload256k,sse,paced,tls-unary,tls-paced,tls-connect"
    )]
    workloads: Vec<String>,
    /// Seconds of each measured run.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Rounds; the table shows medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Also measures what so many open streams cost that say nothing, over TLS too if a workload is.
    #[arg(long, default_value_t = 0, value_name = "STREAMS")]
    idle_streams: usize,
    #[command(flatten)]
    keep: Keep,
    #[command(flatten)]
    peers: Peers,
}

pub(super) fn compare_help() -> String {
    let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
    format!(
        "{}\n  reload      paced streams while weir reads its configuration again twenty times a second\n\n\
         Gateways that can be started: {}",
        workload_help(),
        names.join(", ")
    )
}

/// Measures, prints the tables, keeps them.
pub(super) async fn run_compare(args: CompareArgs) -> Result<ExitCode, String> {
    if args.stage.start.is_some() && !args.gateways.is_empty() {
        return Err(
            "--start and --gateway do not go together: say which gateways to start, or which run already".to_owned()
        );
    }
    let listens = listens(&args)?;
    let options = stage::quick(args.peers.provider_listen, args.peers.seed);
    let stage = match args.gateways.is_empty() {
        true => Some(Stage::set(&args.stage, &stage::all_kinds(), listens, options)?),
        false => None,
    };
    let _own = if stage.is_none() { Some(start_peers(&args.peers)?) } else { None };
    let gateways = stage.as_ref().map_or(args.gateways, Stage::gateways);
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
    let comparison = Comparison::new(Parts { rows, idle, ..Parts::default() });
    if !comparison.targets.is_empty() {
        print!("\n{}", targets::table(&comparison.targets));
    }
    args.keep.keep(&comparison)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What the workloads ask of the gateways.
fn listens(args: &CompareArgs) -> Result<Listens, String> {
    let mut listens = Listens { plain: false, tls: false };
    for name in args.workloads.iter().filter(|name| *name != compare::RELOAD) {
        match Workload::named(name, args.peers.seed)?.tls {
            true => listens.tls = true,
            false => listens.plain = true,
        }
    }
    listens.plain |= !listens.tls || args.workloads.iter().any(|name| name == compare::RELOAD);
    Ok(listens)
}
