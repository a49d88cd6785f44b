//! The stage of a measurement: provider and generator in this process, on one core and never asleep, the gateways on another.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::awake;
use super::compare::Gateway;
use super::gateways::{self, KINDS, Kind, Running, Setup, StartError};
use super::provider::{BoundProvider, ProviderOptions};
use super::tls::Certificate;

/// Who stands where.
#[derive(Args, Clone, Debug)]
pub struct StageArgs {
    /// Gateways to start, separated by commas, the first is the reference.
    #[arg(long, value_delimiter = ',')]
    pub start: Option<Vec<Kind>>,
    /// The core the started gateways share.
    #[arg(long, default_value_t = 0)]
    pub gateway_core: usize,
    /// The core of provider and generator.
    #[arg(long, default_value_t = 1)]
    pub peer_core: usize,
    /// The `weir` program; the one beside this program unless said.
    #[arg(long, value_name = "FILE")]
    pub weir: Option<PathBuf>,
}

/// Whether gateways listen with TLS: a gateway that is to do both runs twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listens {
    /// Without.
    pub plain: bool,
    /// With.
    pub tls: bool,
}

impl Listens {
    /// Without TLS only.
    pub const PLAIN: Listens = Listens { plain: true, tls: false };
}

/// Provider and gateways that run; they end with it.
pub struct Stage {
    /// The provider.
    pub provider: BoundProvider,
    running: Vec<Running>,
    _awake: awake::Awake,
}

impl Stage {
    /// Starts everything. Of `usual`, what is not installed is left out and named; what was asked for by name must be there.
    ///
    /// # Errors
    /// When a core is missing, or a gateway does not start.
    pub fn set(args: &StageArgs, usual: &[Kind], listens: Listens, options: ProviderOptions) -> Result<Stage, String> {
        pin_to(args.peer_core)?;
        let mut stage = Stage { provider: provider(options)?, running: Vec::new(), _awake: awake::keep_awake() };
        let mut setup = Setup::new(stage.provider.addr(), args.weir.clone())?;
        setup.core = Some(args.gateway_core);
        let kinds = args.start.as_deref().unwrap_or(usual);
        for tls in [false, true].into_iter().filter(|tls| if *tls { listens.tls } else { listens.plain }) {
            setup.tls = if tls { Some(Certificate::make()?) } else { None };
            for kind in kinds {
                match gateways::start(*kind, &setup) {
                    Ok(gateway) => stage.running.push(gateway),
                    Err(StartError::NotInstalled(how)) if args.start.is_none() => {
                        eprintln!("weir-loadtest: {} is not installed and left out ({how})", kind.name());
                    }
                    Err(StartError::NotInstalled(how)) => {
                        return Err(format!("{} is not installed: {how}", kind.name()));
                    }
                    Err(StartError::Failed(why)) => return Err(format!("{}: {why}", kind.name())),
                }
            }
        }
        eprintln!(
            "weir-loadtest: gateways on core {}, provider and generator on core {}, awake",
            args.gateway_core, args.peer_core
        );
        Ok(stage)
    }

    /// The gateways, as they are measured.
    pub fn gateways(&self) -> Vec<Gateway> {
        self.running.iter().map(|running| running.gateway.clone()).collect()
    }
}

/// Every gateway that this program can start.
pub fn all_kinds() -> Vec<Kind> {
    KINDS.iter().map(|(_, kind)| *kind).collect()
}

/// A provider on the current runtime.
pub fn provider(options: ProviderOptions) -> Result<BoundProvider, String> {
    let listen = options.listen;
    let cannot = |error| format!("cannot listen on {listen}: {error}");
    let mut provider = BoundProvider::bind(options).map_err(cannot)?;
    provider.spawn_here().map_err(cannot)?;
    Ok(provider)
}

/// Options of a provider that nothing but speed is wanted of.
pub fn quick(listen: Option<SocketAddr>, seed: u64) -> ProviderOptions {
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    ProviderOptions { listen, seed, ..ProviderOptions::default() }
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
