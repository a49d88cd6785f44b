//! Boot: the only place that sees both planes. It reads the configuration, opens the journal, builds the first snapshot,
//! starts the shards, and then becomes the control plane until the drain is over.
//!
//! The order is the point: everything that can refuse does so before a socket is bound, and nothing is served before the
//! journal has been replayed. Deliberately absent: anything that happens per request.

mod admin_api;
mod changes;
mod handover;
mod identity;
mod keys;
mod notify;
mod plane;
mod signals;
mod sockets;
mod source;
mod store;
mod successor;
mod watch;

pub use source::Source;

use crate::{
    control::{
        admin,
        bodies::{BodyDesk, BodyStore, directory_of},
        cache_health::{CacheHealth, SharedCacheHealth},
        config::{Config, ConfigError, Driver},
        export::{self, ExportHealth},
        identity::Refresher,
        journal::{JournalHandle, JournalHealth},
        keys::KeyStore,
        ledger::{LedgerSink, SharedLedger},
    },
    data::shard,
    kernel::{ids::ShardId, names::Names, window::Period},
    link::{
        self,
        bodies::BodySender,
        gauges::ShardGauges,
        up::{self, UpSender},
    },
    observe::{
        metrics::Metrics,
        {ExportFigures, ExportSource, JournalFigures, Sources},
    },
    sys::{affinity, heap, open_files, probe, runtime},
};
use admin_api::AdminApi;
use handover::{Arrival, Coming, Elders, Leaving, Offer, same_addresses};
use plane::{Desks, Plane};
use sockets::Sockets;
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};
use store::Opened;

/// How long an end tries to store bodies against a disk that refuses.
const BODIES_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Exit code of a bad configuration (interface.md §1).
const BAD_CONFIGURATION: u8 = 2;

/// Why weir does not start.
pub enum BootError {
    /// The configuration is wrong.
    Configuration(Vec<ConfigError>),
    /// Something else, in a sentence for the operator.
    Other(String),
}

impl BootError {
    fn report(&self) -> ExitCode {
        match self {
            Self::Configuration(errors) => {
                errors.iter().for_each(|error| eprintln!("{error}"));
                ExitCode::from(BAD_CONFIGURATION)
            }
            Self::Other(text) => {
                tracing::error!("{text}");
                ExitCode::FAILURE
            }
        }
    }
}

fn other(doing: &str, error: impl std::fmt::Display) -> BootError {
    BootError::Other(format!("{doing}: {error}"))
}

/// Where a gateway that has started can be reached.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// Fleet traffic.
    pub clients: SocketAddr,
    /// Admin API.
    pub admin: SocketAddr,
    /// The clients' side speaks TLS.
    pub tls: bool,
}

/// Runs the gateway to its end. `ready` is told the addresses once every shard serves. With `replace` it takes over from the gateway
/// that runs with the same store, if there is one.
pub fn serve(source: Source, replace: bool, ready: impl FnOnce(Addresses)) -> ExitCode {
    match start(source, replace).and_then(|started| started.live(ready)) {
        Ok(code) => code,
        Err(error) => error.report(),
    }
}

struct Started {
    plane: Arc<Plane>,
    journal: JournalHandle,
    store: BodyStore,
    exports: Arc<ExportHealth>,
    metrics: Arc<Metrics>,
    ledger: SharedLedger,
    caches: SharedCacheHealth,
    gauges: Vec<Arc<ShardGauges>>,
    sockets: Sockets,
    addresses: Addresses,
    directory: PathBuf,
    elders: Arc<Elders>,
    coming: Option<Coming>,
}

fn start(source: Source, replace: bool) -> Result<Started, BootError> {
    draw_first();
    let config = Arc::new(source.load().map_err(BootError::Configuration)?);
    check_driver(&config)?;
    check_open_files(&config);
    check_retention(&config);
    let shards = if config.shards.count == 0 { affinity::allowed_cores().len().max(1) } else { config.shards.count };
    let names = Arc::new(Names::default());
    let (mut coming, lent) = arrive(&config, replace)?;
    let inherited = coming.as_mut().map(|coming| coming.retire(&config.store.path)).transpose()?;
    let Opened { journal, ledger, keeper, left } = store::open(&config, &names, inherited)?;
    let desk = journal.changes();
    let keys = KeyStore::open(&config.store.path).map_err(|error| BootError::Other(error.to_string()))?;
    let bodies = BodyDesk::new(config.audit.body_settings());
    let desks = Desks { changes: desk.clone(), bodies: bodies.clone() };
    let plane = Plane::new(source, names.clone(), ledger.clone(), shards, keys, desks, config.clone());
    let plane = Arc::new(plane.map_err(BootError::Configuration)?);
    // Not before: what a start reads comes and goes at once, and takes a tenth longer in small pages.
    if let Err(error) = heap::small_pages() {
        tracing::warn!(%error, "huge pages stay on: this process may keep more memory after a burst than it needs");
    }
    let own = || Sockets::open(config.listen.clients, config.listen.admin, shards);
    let sockets = lent.map_or_else(own, Ok)?;
    let (clients, admin) = sockets.addresses()?;
    let listeners = sockets::share_out(&sockets.clients, shards)?;
    // Whoever serves now accepts until this process has everything.
    plane.door().accept(coming.is_none());
    let elders = Arc::new(Elders::new(plane.registry(), plane.door()));
    let gauges: Vec<Arc<ShardGauges>> = (0..shards).map(|_| Arc::default()).collect();
    let accepting = journal.health().accepting_flag();
    let exports = Arc::<ExportHealth>::default();
    let metrics = metrics_of(&plane, &gauges, journal.health(), &exports);
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| up::door_while(accepting.clone())).unzip();
    let door = plane.door();
    let caches = CacheHealth::new(Arc::new(move || door.latest()), names.clone()).shared();
    let sink = LedgerSink::new(ledger.clone(), metrics.clone(), names, Some(keeper));
    let sink = sink.watching(caches.clone()).inheriting(elders.heirs());
    let journal = journal.start(receivers, sink).map_err(|e| other("cannot write the journal", e))?;
    let (lanes, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| link::bodies::lane(bodies.takes())).unzip();
    let store = BodyStore::start(directory_of(&config.store.path), receivers, &bodies, BODIES_STOP_TIMEOUT)
        .map_err(|e| other("cannot store bodies", e))?;
    changes::started(&desk, &left, &plane.config(), shards)
        .map_err(|e| other("this start has no entry in the audit", e))?;
    spawn_shards(&config, &plane, &gauges, listeners.into_iter().zip(senders).zip(lanes))?;
    spawn_export(&config, &plane, &exports)?;
    let addresses = Addresses { clients, admin, tls: config.listen.tls.is_some() };
    let directory = config.store.path.clone();
    Ok(Started {
        plane,
        journal,
        store,
        exports,
        metrics,
        ledger,
        caches,
        gauges,
        sockets,
        addresses,
        directory,
        elders,
        coming,
    })
}

/// Draws the process's first random bytes while the configuration is read: before them the crypto library measures the
/// processor's jitter, which takes it some 15 ms, and whoever draws next waits for that no longer than it still takes.
fn draw_first() {
    let draw = || {
        let _drawn = aws_lc_rs::rand::fill(&mut [0; 1]);
    };
    // Without this thread whoever draws first does it all.
    let _unstarted = thread::Builder::new().name("weir-random".to_owned()).spawn(draw);
}

/// Starts each shard with its sockets and its ends of the doors.
fn spawn_shards(
    config: &Config,
    plane: &Plane,
    gauges: &[Arc<ShardGauges>],
    ends: impl Iterator<Item = ((Vec<TcpListener>, UpSender), BodySender)>,
) -> Result<(), BootError> {
    let (cores, shards) = (affinity::allowed_cores(), gauges.len());
    for ((place, ((listeners, up), bodies)), gauges) in ends.enumerate().zip(gauges) {
        spawn_shard(shard::Setup {
            id: ShardId(place as u16),
            count: shards,
            core: config.shards.pin.then(|| cores.get(place % cores.len().max(1)).copied()).flatten(),
            driver: driver_of(config),
            listeners,
            door: plane.door(),
            gauges: gauges.clone(),
            up,
            bodies,
            sequence: random_sequence()?,
        })?;
    }
    Ok(())
}

/// With `--replace`: asks the running gateway for its sockets, and compares them with the configuration.
fn arrive(config: &Config, replace: bool) -> Result<(Option<Coming>, Option<Sockets>), BootError> {
    let arrival = if replace { Arrival::knock(&config.store.path)? } else { Arrival::Alone };
    let Arrival::Beside(coming, sockets) = arrival else { return Ok((None, None)) };
    same_addresses(&sockets, config.listen.clients, config.listen.admin)?;
    Ok((Some(coming), Some(sockets)))
}

fn metrics_of(
    plane: &Arc<Plane>,
    gauges: &[Arc<ShardGauges>],
    health: Arc<JournalHealth>,
    exports: &Arc<ExportHealth>,
) -> Arc<Metrics> {
    let mut metrics = Metrics::new(Sources {
        shards: gauges.to_vec(),
        upstreams: plane.upstreams(),
        accounts: plane.accounts(),
        registry: plane.registry(),
        journal: Arc::new(move |_| JournalFigures {
            accepting: health.is_accepting(),
            lag_seconds: health.lag_seconds(),
        }),
        export: export_figures(exports),
        issuers: plane.issuers(),
    });
    metrics.watch_credentials(plane.credential_figures());
    plane.config().upstreams.iter().for_each(|upstream| metrics.announce_upstream(&upstream.name));
    Arc::new(metrics)
}

fn driver_of(config: &Config) -> runtime::Driver {
    match config.shards.driver {
        Driver::IoUring => runtime::Driver::IoUring,
        Driver::Epoll => runtime::Driver::Epoll,
    }
}

/// io_uring or nothing, unless epoll was asked for by name.
fn check_driver(config: &Config) -> Result<(), BootError> {
    match config.shards.driver {
        Driver::IoUring => probe::io_uring().map_err(BootError::Other),
        Driver::Epoll => {
            tracing::warn!(
                "shards.driver = \"epoll\": running without io_uring, as configured; expect more CPU per request"
            );
            Ok(())
        }
    }
}

/// Two descriptors for each running stream; with fewer than the configured connections need, say so before it hurts.
fn check_open_files(config: &Config) {
    let wanted = config.limits.connections_max as u64 * 2;
    match open_files::raise() {
        Ok(limit) if limit < wanted => tracing::warn!(
            limit,
            wanted,
            "RLIMIT_NOFILE is small for limits.connections of even one shard; raise it (LimitNOFILE= in systemd)"
        ),
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "cannot read the limit on open files"),
    }
}

/// Records that retention drops are still in the sums, but only as long as a snapshot of the ledger is whole.
fn check_retention(config: &Config) {
    let days = config.audit.retention.as_secs() / 86_400;
    for budget in &config.budgets {
        let window_days = match budget.period {
            Period::Daily => 1,
            Period::Weekly => 7,
            Period::Monthly => 31,
            Period::Total => u64::MAX,
        };
        if days < window_days {
            tracing::warn!(
                budget = ?budget.scope, period = ?budget.period, retention_days = days,
                "audit.retention is shorter than this budget's window: older spending counts only as long as ledger.snapshot or \
                 ledger.snapshot.previous in store.path is whole"
            );
        }
    }
}

/// Ends the process when a shard's thread ends, however that comes. Nobody could settle that shard's requests any more, and its
/// leases would be lost to every budget. The next start closes what was in flight, and all leases have returned.
struct DiesWithIt(u16);

impl Drop for DiesWithIt {
    fn drop(&mut self) {
        tracing::error!(shard = self.0, "a shard has died; weir ends, so that the next start can close its requests");
        std::process::exit(1);
    }
}

fn spawn_shard(setup: shard::Setup) -> Result<(), BootError> {
    let id = setup.id.0;
    let thread = thread::Builder::new().name(format!("weir-shard-{id}")).spawn(move || {
        let _dies_with_it = DiesWithIt(id);
        let error = shard::run(setup);
        tracing::error!(shard = id, %error, "the shard's runtime cannot be built");
    });
    thread.map(drop).map_err(|e| other("cannot start a shard's thread", e))
}

fn export_figures(health: &Arc<ExportHealth>) -> ExportSource {
    let health = health.clone();
    Arc::new(move |now| {
        health.state().map(|status| ExportFigures {
            lag_seconds: status.lag_seconds(now),
            records: status.records,
            failures: status.failures,
        })
    })
}

/// The export's thread. It is not waited for: a run that is cut short is taken up again at the next start.
fn spawn_export(config: &Config, plane: &Arc<Plane>, health: &Arc<ExportHealth>) -> Result<(), BootError> {
    let (store, plane, health) = (config.store.path.clone(), plane.clone(), health.clone());
    // What another process has taken over, that one exports.
    let settings = move || plane.here().and_then(|_here| plane.config().export.clone());
    let serve = move || export::serve(&store, &health, settings);
    let thread = thread::Builder::new().name("weir-export".to_owned()).spawn(serve);
    thread.map(drop).map_err(|e| other("cannot start the export's thread", e))
}

/// Takes over from the process that serves now: in its order, so that at no moment two decide or nobody can take it back.
async fn take_over(mut coming: Coming, elders: Arc<Elders>, plane: &Arc<Plane>) -> Result<(), BootError> {
    let door = plane.door();
    let taken = tokio::task::spawn_blocking(move || {
        coming.settle(&elders)?;
        coming.serving(elders)
    });
    taken.await.map_err(|error| other("cannot take over", error))??;
    door.accept(true);
    tracing::info!("taken over: this process serves now, the one before it finishes its streams");
    Ok(())
}

fn random_sequence() -> Result<u64, BootError> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| BootError::Other("no randomness from the system".to_owned()))?;
    // The lower half counts; 2^40 requests of one shard fit before it meets itself.
    Ok(u64::from_le_bytes(bytes) & !0xff_ffff_ffff)
}

impl Started {
    fn live(self, ready: impl FnOnce(Addresses)) -> Result<ExitCode, BootError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| other("cannot start the control plane", e))?;
        let code = runtime.block_on(self.control(ready))?;
        Ok(code)
    }

    async fn control(self, ready: impl FnOnce(Addresses)) -> Result<ExitCode, BootError> {
        let signals = signals::Signals::new().map_err(|e| other("signals", e))?;
        let (reload, reloads) = admin::reloads();
        let drain = Arc::new(tokio::sync::Notify::new());
        let gauges = self.gauges.clone();
        let mut issuers = Refresher::new(self.plane.clone(), self.gauges.clone());
        let state = admin::AdminState {
            token: self.plane.admin_token(),
            ledger: self.ledger,
            caches: self.caches,
            metrics: self.metrics,
            door: self.plane.door(),
            shards: self.gauges,
            journal: self.journal.health(),
            export: self.exports,
            changes: self.plane.changes().clone(),
            accounts: self.plane.all_accounts(),
            raise: self.plane.raise(),
            keys: self.plane.clone(),
            credentials: self.plane.credentials(),
            reload: reload.clone(),
            preview: self.plane.preview(),
            drain: drain.clone(),
        };
        let copies = self.sockets.copies().map_err(|e| other("admin listener", e))?;
        let mut admin_api = AdminApi::new(state, self.sockets.admin);
        if self.coming.is_none() {
            admin_api.open().map_err(|e| other("admin listener", e))?;
        }
        let plane = self.plane.clone();
        tokio::spawn(reloads.serve(move |by| plane.reload(by)));
        tokio::spawn(plane::keep_fresh(self.plane.clone()));
        tokio::spawn(watch::watch(self.plane.clone(), reload.clone()));
        let credentials = self.plane.credentials();
        tokio::spawn(credentials.clone().keep());
        let ((), minted) = tokio::join!(issuers.first(), credentials.first());
        if minted {
            // It is on every shard with its next tick.
            signals::until_ticked(&gauges).await;
        }
        tokio::spawn(issuers.keep());
        signals::until_settled(&self.plane.door()).await;
        if let Some(coming) = self.coming {
            take_over(coming, self.elders.clone(), &self.plane).await?;
            admin_api.open().map_err(|e| other("admin listener", e))?;
        }
        let leaving = Leaving::default();
        let directory = self.directory.clone();
        let (store, plane, moves) = (self.directory, self.plane.clone(), self.journal.moves());
        let offer = Offer { store, sockets: copies, plane, moves, elders: self.elders };
        if let Err(error) = leaving.offer(offer) {
            tracing::error!(%error, "handover.sock in the store cannot be opened: `weir serve --replace` cannot replace this process");
        }
        ready(self.addresses);
        notify::ready();
        let life =
            signals::Life { plane: &self.plane, reload: &reload, drain: &drain, leaving: &leaving, gauges: &gauges };
        let clean = signals::until_drained(signals, &life, &mut admin_api).await;
        let leave = leaving.clone();
        let _told = tokio::task::spawn_blocking(move || leave.finish(&directory)).await;
        let stored = self.store.stop();
        if let Err(error) = &stored {
            tracing::error!("{error}");
        }
        changes::stopping(self.plane.changes(), clean, stored.is_ok());
        self.journal.stop().map_err(|e| other("the journal could not be completed", e))?;
        tracing::info!(clean, "stopped");
        Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CHILD: &str = "WEIR_TEST_A_SHARD_DIES";

    #[test]
    fn a_dead_shards_leases_never_return() {
        if std::env::var_os(CHILD).is_some() {
            let shard = thread::spawn(|| {
                let _dies_with_it = DiesWithIt(0);
                panic!("a bug that took the shard's thread with it");
            });
            let _ended = shard.join();
            return;
        }
        let this = std::env::current_exe().unwrap();
        let mut child = Command::new(this);
        child.args(["--exact", "boot::tests::a_dead_shards_leases_never_return"]).env(CHILD, "1");
        // A test that passes ends with 0, one that fails with 101.
        assert_eq!(child.output().unwrap().status.code(), Some(1), "the gateway must end with its shard");
    }
}
