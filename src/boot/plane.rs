//! The control plane's own state: what is configured now, and how it becomes the shards' next snapshot.

use super::Source;
use crate::{
    control::{
        admin::{AdminToken, Raise, RaiseError, ReloadReply},
        budget::{AccountBook, Raises},
        config::{Config, ConfigError, build_snapshot},
        ledger::SharedLedger,
    },
    kernel::{account::Scope, ids::SnapshotVersion, names::Names, snapshot::Snapshot, window::Window},
    link::down::DownDoor,
    observe::Accounts,
    sys::clock,
};
use parking_lot::Mutex;
use std::{sync::Arc, time::Duration};

/// How often upstream names are resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);

/// What must outlive a reload.
pub(super) struct Plane {
    source: Source,
    names: Arc<Names>,
    ledger: SharedLedger,
    shards: usize,
    fixed: Fixed,
    door: Arc<DownDoor>,
    current: Mutex<Current>,
}

struct Current {
    config: Config,
    accounts: AccountBook,
}

/// What a reload cannot change, because sockets and threads are made of it.
struct Fixed {
    listen: String,
    admin_token: AdminToken,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        let listen = format!(
            "{} {} {:?} {} {:?}",
            config.listen.clients,
            config.listen.admin,
            config.shards,
            config.store.path.display(),
            config.audit.retention
        );
        Self { listen, admin_token: AdminToken::new(Some(&config.admin.token)) }
    }
}

impl Plane {
    pub fn new(
        source: Source,
        names: Arc<Names>,
        ledger: SharedLedger,
        shards: usize,
        checked: &Config,
    ) -> Result<Self, Vec<ConfigError>> {
        let config = source.load()?;
        let raises = Raises::open(&checked.store.path).map_err(|error| {
            let mend = "repair or remove the file; without it, budgets have the amounts of this configuration";
            vec![ConfigError::new("store.path", format!("one-off raises cannot be read: {error}"), mend)]
        })?;
        let mut accounts = AccountBook::with_raises(raises);
        let first = build(&config, SnapshotVersion(1), &names, &mut accounts, &ledger, shards)?;
        Ok(Self {
            fixed: Fixed::of(checked),
            door: Arc::new(DownDoor::new(Arc::new(first), shards)),
            current: Mutex::new(Current { config, accounts }),
            source,
            names,
            ledger,
            shards,
        })
    }

    pub fn door(&self) -> Arc<DownDoor> {
        self.door.clone()
    }

    pub fn admin_token(&self) -> AdminToken {
        self.fixed.admin_token.clone()
    }

    /// The budget accounts of whatever snapshot is newest.
    pub fn accounts(self: &Arc<Self>) -> Accounts {
        let door = self.door();
        Arc::new(move || {
            let snapshot = door.latest();
            let pairs = |budget: &crate::kernel::snapshot::Budget| {
                let mode = budget.mode;
                budget.accounts.iter().map(move |account| (account.clone(), mode)).collect::<Vec<_>>()
            };
            snapshot.budgets.iter().flat_map(pairs).collect()
        })
    }

    /// Raises a budget's current window. Shards see it with their next request, since accounts are shared.
    pub fn raise(self: &Arc<Self>) -> Raise {
        let plane = self.clone();
        Arc::new(move |ask| {
            let mut current = plane.current.lock();
            let now = clock::unix().seconds();
            let raised = current.accounts.raise(&ask.scope, &ask.period, ask.amount, now).map_err(RaiseError::Store)?;
            let account = raised.ok_or(RaiseError::NoSuchBudget)?;
            let snapshot = plane.door.latest();
            let budget = snapshot.budgets.iter().find(|b| b.accounts.iter().any(|a| a.id == account.id));
            budget.map(|budget| (account, budget.mode)).ok_or(RaiseError::NoSuchBudget)
        })
    }

    /// Reads the configuration again and publishes it. The old one stays in force if the new one is wrong.
    pub fn reload(&self) -> ReloadReply {
        let texts = |errors: Vec<ConfigError>| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            lines.iter().for_each(|line| tracing::error!("reload refused: {line}"));
            lines
        };
        let config = self.source.load().map_err(texts)?;
        if Fixed::of(&config).listen != self.fixed.listen {
            tracing::warn!(
                "[listen] addresses, [shards], store.path and audit.retention take effect at the next start only"
            );
        }
        let version = self.publish(Some(config)).map_err(texts)?;
        tracing::info!(version, "configuration reloaded");
        Ok(version)
    }

    /// Builds and publishes a snapshot of a new configuration, or of the current one as the world is now.
    fn publish(&self, config: Option<Config>) -> Result<u64, Vec<ConfigError>> {
        let mut current = self.current.lock();
        let Current { config: old, accounts } = &mut *current;
        let version = SnapshotVersion(self.door.latest().version.0 + 1);
        let snapshot =
            build(config.as_ref().unwrap_or(old), version, &self.names, accounts, &self.ledger, self.shards)?;
        accounts.prune(clock::unix().seconds());
        if let Some(config) = config {
            *old = config;
        }
        self.door.publish(Arc::new(snapshot));
        Ok(version.0)
    }

    /// Seconds until budgets begin a new window.
    fn rollover_in(&self) -> Option<u64> {
        let now = clock::unix().seconds();
        let next = self.current.lock().accounts.next_rollover(now)?;
        Some((next - now).max(0) as u64)
    }
}

fn build(
    config: &Config,
    version: SnapshotVersion,
    names: &Names,
    accounts: &mut AccountBook,
    ledger: &SharedLedger,
    shards: usize,
) -> Result<Snapshot, Vec<ConfigError>> {
    let spent = |scope: &Scope, window: Window| ledger.read().spent(scope, window);
    build_snapshot(config, version, names, accounts, &spent, clock::unix().seconds(), shards)
}

/// Keeps the snapshot true to the world: addresses that move, windows that end.
pub(super) async fn keep_fresh(plane: Arc<Plane>) {
    loop {
        let rollover = plane.rollover_in().map_or(RESOLVE_INTERVAL, |seconds| Duration::from_secs(seconds + 1));
        tokio::time::sleep(rollover.min(RESOLVE_INTERVAL)).await;
        let worker = plane.clone();
        let published = tokio::task::spawn_blocking(move || worker.publish(None)).await;
        if let Ok(Err(errors)) = published {
            errors
                .iter()
                .for_each(|error| tracing::warn!(%error, "the snapshot could not be renewed; the old one stays"));
        }
    }
}
