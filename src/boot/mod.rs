//! Boot: the only place that sees both planes. It reads the configuration, opens the journal, builds the first snapshot,
//! starts the shards, and then becomes the control plane until the drain is over.
//!
//! The order is the point: everything that can refuse does so before a socket is bound, and nothing is served before the
//! journal has been replayed. Deliberately absent: anything that happens per request.

mod changes;
mod identity;
mod keys;
mod plane;
mod signals;
mod source;

pub use source::Source;

use crate::{
    control::{
        admin,
        bodies::{BodyDesk, BodyStore, directory_of},
        cache_health::{CacheHealth, SharedCacheHealth},
        config::{Config, ConfigError, Driver},
        export::{self, ExportHealth},
        identity::Refresher,
        journal::{DiskStorage, Journal, JournalHandle, JournalOptions, Replay, Store},
        keys::KeyStore,
        ledger::{
            Ledger, LedgerSink, SharedLedger,
            snapshot::{self, Keeper},
        },
    },
    data::shard,
    kernel::{ids::ShardId, names::Names, record::Record, time::UnixMs, window::Period},
    link::{self, gauges::ShardGauges, up},
    observe::{
        metrics::Metrics,
        {ExportFigures, ExportSource, JournalFigures, Sources},
    },
    sys::{affinity, clock, open_files, probe, runtime, socket},
};
use changes::Left;
use parking_lot::RwLock;
use plane::{Desks, Plane};
use std::{
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How often something that takes long says how far it is.
const PROGRESS: Duration = Duration::from_secs(2);
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

/// Runs the gateway to its end. `ready` is told the addresses once every shard serves.
pub fn serve(source: Source, ready: impl FnOnce(Addresses)) -> ExitCode {
    match start(source).and_then(|started| started.live(ready)) {
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
    admin: TcpListener,
    addresses: Addresses,
}

fn start(source: Source) -> Result<Started, BootError> {
    let config = source.load().map_err(BootError::Configuration)?;
    check_driver(&config)?;
    check_open_files(&config);
    check_retention(&config);
    let cores = affinity::allowed_cores();
    let shards = if config.shards.count == 0 { cores.len().max(1) } else { config.shards.count };
    let names = Arc::new(Names::default());
    let (journal, ledger, keeper, left) = open_journal(&config, &names)?;
    let desk = journal.changes();
    let keys = KeyStore::open(&config.store.path).map_err(|error| BootError::Other(error.to_string()))?;
    let bodies = BodyDesk::new(config.audit.body_settings());
    let desks = Desks { changes: desk.clone(), bodies: bodies.clone() };
    let plane = Plane::new(source, names.clone(), ledger.clone(), shards, keys, desks, &config);
    let plane = Arc::new(plane.map_err(BootError::Configuration)?);
    let listeners = bind_clients(config.listen.clients, shards)?;
    let clients = listeners[0].local_addr().map_err(|e| other("clients' address", e))?;
    let admin = socket::bind(config.listen.admin, false)
        .map_err(|e| other(&format!("cannot listen on listen.admin = {}", config.listen.admin), e))?;
    let admin_address = admin.local_addr().map_err(|e| other("admin address", e))?;
    let gauges: Vec<Arc<ShardGauges>> = (0..shards).map(|_| Arc::default()).collect();
    let (health, accepting) = (journal.health(), journal.health().accepting_flag());
    let exports = Arc::<ExportHealth>::default();
    let mut metrics = Metrics::new(Sources {
        shards: gauges.clone(),
        upstreams: plane.upstreams(),
        accounts: plane.accounts(),
        registry: plane.registry(),
        journal: Arc::new(move |_| JournalFigures {
            accepting: health.is_accepting(),
            lag_seconds: health.lag_seconds(),
        }),
        export: export_figures(&exports),
        issuers: plane.issuers(),
    });
    metrics.watch_credentials(plane.credential_figures());
    let metrics = Arc::new(metrics);
    config.upstreams.iter().for_each(|upstream| metrics.announce_upstream(&upstream.name));
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| up::door_while(accepting.clone())).unzip();
    let door = plane.door();
    let caches = CacheHealth::new(Arc::new(move || door.latest()), names.clone()).shared();
    let sink = LedgerSink::new(ledger.clone(), metrics.clone(), names, Some(keeper)).watching(caches.clone());
    let journal = journal.start(receivers, sink).map_err(|e| other("cannot write the journal", e))?;
    let (lanes, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| link::bodies::lane(bodies.takes())).unzip();
    let store = BodyStore::start(directory_of(&config.store.path), receivers, &bodies, BODIES_STOP_TIMEOUT)
        .map_err(|e| other("cannot store bodies", e))?;
    changes::started(&desk, &left, &plane.config(), shards)
        .map_err(|e| other("this start has no entry in the audit", e))?;
    for (place, ((listener, up), bodies)) in listeners.into_iter().zip(senders).zip(lanes).enumerate() {
        let setup = shard::Setup {
            id: ShardId(place as u16),
            count: shards,
            core: config.shards.pin.then(|| cores.get(place % cores.len().max(1)).copied()).flatten(),
            driver: driver_of(&config),
            listener,
            door: plane.door(),
            gauges: gauges[place].clone(),
            up,
            bodies,
            sequence: random_sequence()?,
        };
        spawn_shard(setup)?;
    }
    spawn_export(&config, &plane, &exports)?;
    let addresses = Addresses { clients, admin: admin_address, tls: config.listen.tls.is_some() };
    Ok(Started { plane, journal, store, exports, metrics, ledger, caches, gauges, admin, addresses })
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

fn open_journal(config: &Config, names: &Arc<Names>) -> Result<(Journal, SharedLedger, Keeper, Left), BootError> {
    let began = Instant::now();
    let store = Store::take(&config.store.path).map_err(|e| other("cannot open the store", e))?;
    let restored = snapshot::load(&store, names);
    let keeper = Keeper::new(store.directory(), restored.as_ref());
    let (mut ledger, resume) = match restored {
        Some(restored) => (restored.ledger, Some(restored.resume)),
        None => (Ledger::new(names.clone()), None),
    };
    let (from_snapshot, snapshot_ms) = (resume.is_some(), began.elapsed().as_millis() as u64);
    let keep_ms = config.audit.retention.as_millis().min(u128::from(u64::MAX)) as u64;
    ledger.forget_records_before(UnixMs(clock::unix().0.saturating_sub(keep_ms)));
    let options = JournalOptions {
        flush_interval: config.store.flush_interval,
        segment_bytes_max: config.store.segment_bytes_max,
        retention: Some(config.audit.retention),
        droppable_before: Some(keeper.droppable_before()),
        ..JournalOptions::new(&config.store.path, names.clone())
    };
    let (mut records, mut told) = (0u64, began);
    let visit = |record: &Record| {
        ledger.apply(record);
        records += 1;
        if records.is_multiple_of(4096) && told.elapsed() >= PROGRESS {
            told = Instant::now();
            tracing::info!(records, seconds = began.elapsed().as_secs(), "replaying the journal");
        }
    };
    let storage = Box::new(DiskStorage::new(&config.store.path));
    let (journal, replay): (Journal, Replay) =
        Journal::open_at(store, options, storage, resume, visit).map_err(|e| other("cannot open the journal", e))?;
    replay.changes.iter().for_each(|change| ledger.apply_change(change.clone()));
    let left = Left::of(ledger.change_log(), replay.orphans.len());
    ledger.set_as_of(clock::unix());
    tracing::info!(
        store = %config.store.path.display(),
        records = replay.records,
        closed_after_crash = replay.orphans.len(),
        from_snapshot,
        snapshot_ms,
        took_ms = began.elapsed().as_millis() as u64,
        "journal replayed"
    );
    Ok((journal, Arc::new(RwLock::new(ledger)), keeper, left))
}

/// One listening socket per shard on one port; the first decides the port if it is 0.
fn bind_clients(address: SocketAddr, shards: usize) -> Result<Vec<TcpListener>, BootError> {
    let bind = |address| {
        socket::bind(address, true).map_err(|e| other(&format!("cannot listen on listen.clients = {address}"), e))
    };
    // A socket that shares its port would also share it with a stranger's; asking for it alone first finds that out.
    let mut listeners = Vec::with_capacity(shards);
    if address.port() != 0 {
        drop(
            socket::bind(address, false)
                .map_err(|e| other(&format!("cannot listen on listen.clients = {address}"), e))?,
        );
    }
    let first = bind(address)?;
    let bound = first.local_addr().map_err(|e| other("clients' address", e))?;
    listeners.push(first);
    for _ in 1..shards {
        listeners.push(bind(bound)?);
    }
    Ok(listeners)
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
    let serve = move || export::serve(&store, &health, || plane.config().export.clone());
    let thread = thread::Builder::new().name("weir-export".to_owned()).spawn(serve);
    thread.map(drop).map_err(|e| other("cannot start the export's thread", e))
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
            drain: drain.clone(),
        };
        let listener = tokio::net::TcpListener::from_std(self.admin).map_err(|e| other("admin listener", e))?;
        tokio::spawn(async move {
            if let Err(error) =
                axum::serve(listener, admin::router(state).into_make_service_with_connect_info::<SocketAddr>()).await
            {
                tracing::error!(%error, "the admin listener ended");
            }
        });
        let plane = self.plane.clone();
        tokio::spawn(reloads.serve(move |by| plane.reload(by)));
        tokio::spawn(plane::keep_fresh(self.plane.clone()));
        let credentials = self.plane.credentials();
        tokio::spawn(credentials.clone().keep());
        let ((), minted) = tokio::join!(issuers.first(), credentials.first());
        if minted {
            // It is on every shard with its next tick.
            signals::until_ticked(&gauges).await;
        }
        tokio::spawn(issuers.keep());
        signals::until_settled(&self.plane.door()).await;
        ready(self.addresses);
        let clean = signals::until_drained(signals, &self.plane, &reload, &drain).await;
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
