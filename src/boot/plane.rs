//! The control plane's own state: what is configured now, and how it becomes the shards' next snapshot.

use super::Source;
use crate::{
    control::{
        addresses::Resolver,
        admin::{AdminToken, Preview, RaiseAsk, RaiseError, ReloadError, ReloadReply},
        bodies::BodyDesk,
        budget::{AccountBook, Raises},
        changes::{Actor, Change, kinds},
        config::{Callers, Config, ConfigError, Surroundings, UpstreamConfig, build_snapshot, needs_new_process},
        credentials::{CredentialKeeper, CredentialState},
        identity::{IssuerBook, Source as KeySetSource},
        journal::ChangeDesk,
        keys::KeyStore,
        ledger::SharedLedger,
    },
    kernel::{
        account::{Account, AccountId, Mode, Scope},
        identity::{IssuerTable, KeySet},
        ids::SnapshotVersion,
        limiter::Second,
        names::Names,
        snapshot::Snapshot,
        standing::Registry,
        time::UnixMs,
        window::Window,
    },
    link::down::DownDoor,
    observe::{Accounts, CredentialFigures, Credentials},
    sys::clock,
};
use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};
use serde_json::json;
use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

/// How often files are read again, at least; addresses have times of their own.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// What must outlive a reload.
pub(super) struct Plane {
    source: Source,
    names: Arc<Names>,
    ledger: SharedLedger,
    fixed: Fixed,
    door: Arc<DownDoor>,
    credentials: Arc<CredentialKeeper>,
    resolver: Resolver,
    desks: Desks,
    raising: Mutex<()>,
    /// Changes are another process's business. Read while one is made.
    frozen: RwLock<bool>,
    /// Taken before `current`, and held while a change of keys is written to disk.
    keys: Mutex<KeyStore>,
    /// Never held while something is awaited of disk or network: a revocation needs it.
    current: Mutex<Current>,
}

/// What runs beside and is told of changes.
pub(super) struct Desks {
    /// The audit.
    pub changes: ChangeDesk,
    /// The store of bodies.
    pub bodies: BodyDesk,
}

struct Current {
    config: Arc<Config>,
    issuers: IssuerBook,
    accounts: AccountBook,
    /// Snapshots that were replaced and that somebody may still serve by. They are dropped here: freeing a hundred thousand
    /// keys takes longer than a shard may stand still.
    replaced: Vec<Arc<Snapshot>>,
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
        keys: KeyStore,
        desks: Desks,
        config: Arc<Config>,
    ) -> Result<Self, Vec<ConfigError>> {
        check_keys(&config, &keys)?;
        let credentials = Arc::new(CredentialKeeper::default());
        let resolver = Resolver::start().map_err(|error| {
            vec![ConfigError::new(
                "dns",
                format!("the resolver's thread cannot be started: {error}"),
                "free memory and threads",
            )]
        })?;
        let surroundings = look_up(&config, &names, &credentials, &resolver, true)?;
        let raises = Raises::open(&config.store.path).map_err(|error| {
            let mend = "repair or remove the file; without it, budgets have the amounts of this configuration";
            vec![ConfigError::new("store.path", format!("one-off raises cannot be read: {error}"), mend)]
        })?;
        let (sessions, objects) = (ledger.read().sessions(), ledger.read().objects());
        let registry = Registry::new(names.clone(), sessions, shards).with_objects(objects);
        let accounts = AccountBook::new(Arc::new(registry), raises);
        let mut issuers = IssuerBook::default();
        let outside = Outside { ledger: &ledger, issuers: issuers.table(&config), new_rules: true };
        let first = outside.build(&config, surroundings, SnapshotVersion(1), &keys, &accounts);
        Ok(Self {
            fixed: Fixed::of(&config),
            door: Arc::new(DownDoor::new(Arc::new(first), shards)),
            desks,
            raising: Mutex::default(),
            frozen: RwLock::new(false),
            keys: Mutex::new(keys),
            current: Mutex::new(Current { config, issuers, accounts, replaced: Vec::new() }),
            credentials,
            resolver,
            source,
            names,
            ledger,
        })
    }

    pub fn door(&self) -> Arc<DownDoor> {
        self.door.clone()
    }

    /// What mints upstream credentials.
    pub fn credentials(&self) -> Arc<CredentialKeeper> {
        self.credentials.clone()
    }

    /// How they are doing, for metrics.
    pub fn credential_figures(&self) -> Credentials {
        let keeper = self.credentials();
        Arc::new(move || {
            let now = clock::unix().seconds();
            let figures = |state: CredentialState| CredentialFigures {
                upstream: state.upstream,
                valid: state.valid,
                remaining_seconds: state.expires_at.map(|end| end - now),
                minted: state.minted,
                failed: state.failed,
            };
            keeper.states().into_iter().map(figures).collect()
        })
    }

    pub fn admin_token(&self) -> AdminToken {
        self.fixed.admin_token.clone()
    }

    /// The issuers of tokens of whatever snapshot is newest.
    pub fn issuers(&self) -> Arc<dyn Fn() -> Arc<IssuerTable> + Send + Sync> {
        let door = self.door();
        Arc::new(move || door.latest().issuers.clone())
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

    /// The same, and after them those of callers that no key stands for, and of sessions, in the order of their numbers.
    pub fn all_accounts(self: &Arc<Self>) -> Accounts {
        let (known, door) = (self.accounts(), self.door());
        Arc::new(move || {
            let (mut all, snapshot) = (known(), door.latest());
            let listed: HashSet<AccountId> = all.iter().map(|(account, _)| account.id).collect();
            let mut others = Vec::new();
            snapshot.registry.accounts.for_each(|_, account| {
                if !listed.contains(&account.id) {
                    others.push((account.clone(), mode_of(&snapshot, account)));
                }
            });
            others.sort_by_key(|(account, _)| account.id);
            all.append(&mut others);
            all
        })
    }

    /// What all shards share of names, accounts and limiters.
    pub fn registry(&self) -> Arc<Registry> {
        self.current.lock().accounts.registry().clone()
    }

    /// The upstreams of whatever snapshot is newest.
    pub fn upstreams(&self) -> crate::observe::Upstreams {
        let door = self.door();
        Arc::new(move || door.latest().upstreams.iter().map(|u| (u.name_id, u.name.to_string())).collect())
    }

    /// Where changes are handed in for the audit.
    pub fn changes(&self) -> &ChangeDesk {
        &self.desks.changes
    }

    /// The right to make a change here; none while another process takes over, or after it has.
    pub fn here(&self) -> Option<RwLockReadGuard<'_, bool>> {
        Some(self.frozen.read()).filter(|frozen| !**frozen)
    }

    /// Changes are made here no longer, or again. Returns when none is under way.
    pub fn freeze(&self, frozen: bool) {
        *self.frozen.write() = frozen;
    }

    /// The turn of whoever raises a budget.
    pub fn raising(&self) -> MutexGuard<'_, ()> {
        self.raising.lock()
    }

    /// The account that a raise is asked for.
    pub fn account(&self, ask: &RaiseAsk, now: UnixMs) -> Option<Arc<Account>> {
        let wanted = |a: &Arc<Account>| {
            a.period.as_str() == ask.period && a.window.contains(now.seconds()) && a.scope.to_string() == ask.scope
        };
        self.current.lock().accounts.accounts().into_iter().find(wanted)
    }

    /// Raises it.
    pub fn apply_raise(&self, ask: &RaiseAsk, now: UnixMs) -> Result<(Arc<Account>, Mode), RaiseError> {
        let mut current = self.current.lock();
        let raised = current.accounts.raise(&ask.scope, &ask.period, ask.amount, now.seconds());
        let account = raised.map_err(RaiseError::Store)?.ok_or(RaiseError::NoSuchBudget)?;
        let mode = mode_of(&self.door.latest(), &account);
        Ok((account, mode))
    }

    /// Reads the configuration again and publishes it. The old one stays in force if the new one is wrong, or if the audit
    /// cannot say that there is a new one.
    pub fn reload(&self, by: &Actor) -> ReloadReply {
        let told = self.try_reload(by);
        match &told {
            Ok(version) => tracing::info!(version, by = %by.name, "configuration reloaded"),
            Err(ReloadError::Invalid(errors)) => {
                errors.iter().for_each(|line| tracing::error!("reload refused: {line}"));
            }
            Err(ReloadError::NotRecorded(error)) => tracing::error!("reload refused: {error}"),
        }
        told
    }

    fn try_reload(&self, by: &Actor) -> ReloadReply {
        let config = self.source.load().map_err(ReloadError::invalid)?;
        if Fixed::of(&config).listen != self.fixed.listen {
            tracing::warn!(
                "[listen] addresses, [shards], store.path and audit.retention take effect at the next start only"
            );
        }
        let (before, after) = (&self.config().outline, &config.outline);
        let change = Change::new(kinds::RELOAD, by, "", clock::unix())
            .before(&json!({ "config_sha256": before.digest() }))
            .after(&json!({ "config_sha256": after.digest(), "changed": before.changes_to(after) }));
        self.change(&change, ReloadError::NotRecorded, || self.take(config).map_err(ReloadError::invalid))
    }

    /// Says what a reload would change, without doing it.
    pub fn preview(self: &Arc<Self>) -> Preview {
        let plane = self.clone();
        Arc::new(move || {
            let config = plane.source.load().map_err(ReloadError::invalid)?;
            let clashes = plane.keys().clashes(&config.keys);
            if !clashes.is_empty() {
                return Err(ReloadError::invalid(clashes));
            }
            let current = plane.config();
            let changed = current.outline.changes_to(&config.outline);
            Ok(json!({
                "version": plane.door.latest().version.0,
                "config_sha256": current.outline.digest(),
                "file": plane.source.path(),
                "file_sha256": config.outline.digest(),
                "needs_new_process": needs_new_process(&changed),
                "changed": changed,
            }))
        })
    }

    /// The files that the configuration in force is made of, its own first; none if they are not to be watched.
    pub fn watched(&self) -> Option<Vec<PathBuf>> {
        let config = self.config();
        let own = self.source.path().filter(|_| config.watch)?;
        Some(std::iter::once(own.to_path_buf()).chain(config.named.iter().cloned()).collect())
    }

    /// Publishes a new configuration.
    fn take(&self, config: Config) -> Result<u64, Vec<ConfigError>> {
        let surroundings = look_up(&config, &self.names, &self.credentials, &self.resolver, true)?;
        let keys = self.keys();
        check_keys(&config, &keys)?;
        // Before a shard hears that bodies are wanted.
        self.desks.bodies.configure(config.audit.body_settings());
        let mut current = self.current.lock();
        current.config = Arc::new(config);
        self.credentials.retain(&current.config);
        Ok(self.publish(surroundings, &keys, &mut current, true))
    }

    /// Publishes the current configuration as the world is now.
    fn refresh(&self) -> Result<(), Vec<ConfigError>> {
        let config = self.config();
        let surroundings = look_up(&config, &self.names, &self.credentials, &self.resolver, false)?;
        let keys = self.keys();
        let mut current = self.current.lock();
        // A reload that came in between has looked for itself.
        if Arc::ptr_eq(&config, &current.config) {
            self.publish(surroundings, &keys, &mut current, false);
            current.accounts.tidy(clock::unix().seconds(), Second::of(clock::mono()));
        }
        Ok(())
    }

    /// Publishes a change of keys. It waits for nothing: what the world looked like last still holds.
    pub fn publish_keys(&self, keys: &KeyStore) -> u64 {
        self.publish(Surroundings::of(&self.door.latest()), keys, &mut self.current.lock(), false)
    }

    /// Publishes the keys that an issuer has now.
    pub fn publish_issuer(&self, source: KeySetSource, set: KeySet) -> u64 {
        let keys = self.keys();
        let mut current = self.current.lock();
        current.issuers.keep(source, set, clock::unix().seconds());
        self.publish(Surroundings::of(&self.door.latest()), &keys, &mut current, false)
    }

    fn publish(&self, surroundings: Surroundings, keys: &KeyStore, current: &mut Current, new_rules: bool) -> u64 {
        let Current { config, issuers, accounts, replaced } = current;
        let before = self.door.latest();
        let version = SnapshotVersion(before.version.0 + 1);
        let outside = Outside { ledger: &self.ledger, issuers: issuers.table(config), new_rules };
        let snapshot = outside.build(config, surroundings, version, keys, accounts);
        accounts.prune(clock::unix().seconds());
        self.door.publish(Arc::new(snapshot));
        replaced.push(before);
        replaced.retain(|old| Arc::strong_count(old) > 1);
        version.0
    }

    /// The keys made at run time.
    pub fn keys(&self) -> MutexGuard<'_, KeyStore> {
        self.keys.lock()
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        self.current.lock().config.clone()
    }

    /// Seconds until budgets begin a new window.
    fn rollover_in(&self) -> Option<u64> {
        let now = clock::unix().seconds();
        let next = self.current.lock().accounts.next_rollover(now)?;
        Some((next - now).max(0) as u64)
    }
}

/// What happens at the cap of an account; soft if no rule gives it one any more.
fn mode_of(snapshot: &Snapshot, account: &Account) -> Mode {
    let mut rules = snapshot.rules.budgets.of(&account.scope);
    rules.find(|rule| rule.period == account.period).map_or(Mode::Soft, |rule| rule.mode)
}

/// Keys of the file and keys made at run time must not be taken for each other; budgets for nobody are told.
fn check_keys(config: &Config, keys: &KeyStore) -> Result<(), Vec<ConfigError>> {
    let clashes = keys.clashes(&config.keys);
    if !clashes.is_empty() {
        return Err(clashes);
    }
    let made = keys.callers();
    if config.keys.is_empty() && made.is_empty() && config.jwt.is_empty() && config.mtls.is_none() {
        tracing::warn!("there is no key yet, so nobody can call; make one with `weir key create`");
    }
    config.short_secrets().iter().for_each(|short| tracing::warn!("{short}"));
    config.idle_scopes(&made).iter().for_each(|idle| tracing::warn!("{idle}"));
    Ok(())
}

/// What a snapshot is built with besides its configuration.
struct Outside<'a> {
    ledger: &'a SharedLedger,
    issuers: Arc<IssuerTable>,
    /// The rules may be others than before.
    new_rules: bool,
}

impl Outside<'_> {
    fn build(
        &self,
        config: &Config,
        surroundings: Surroundings,
        version: SnapshotVersion,
        keys: &KeyStore,
        accounts: &AccountBook,
    ) -> Snapshot {
        let spent = |scope: &Scope, window: Window| self.ledger.read().spent(scope, window);
        let spenders = self.new_rules.then(|| self.ledger.read().spenders());
        let callers = Callers {
            made: &keys.callers(),
            spent: &spent,
            spenders: spenders.as_deref(),
            now_seconds: clock::unix().seconds(),
            issuers: self.issuers.clone(),
        };
        build_snapshot(config, surroundings, version, &callers, accounts)
    }
}

/// What the world looks like. A configuration that is new tells the resolver which hosts there are, and waits for it.
fn look_up(
    config: &Config,
    names: &Names,
    credentials: &CredentialKeeper,
    resolver: &Resolver,
    is_new: bool,
) -> Result<Surroundings, Vec<ConfigError>> {
    if is_new {
        let hosts: Vec<&str> = config.upstreams.iter().map(UpstreamConfig::dialled_host).collect();
        resolver.follow(&hosts, &config.dns);
    }
    Surroundings::look_up(config, names, credentials, &|host| resolver.addresses(host))
}

/// Keeps the snapshot true to the world: addresses that move, windows that end, files that change.
pub(super) async fn keep_fresh(plane: Arc<Plane>) {
    loop {
        let rollover = plane.rollover_in().map_or(LOOK_INTERVAL, |seconds| Duration::from_secs(seconds + 1));
        tokio::select! {
            () = tokio::time::sleep(rollover.min(LOOK_INTERVAL)) => {}
            () = plane.resolver.changed() => {}
        }
        let worker = plane.clone();
        let published = tokio::task::spawn_blocking(move || worker.refresh()).await;
        if let Ok(Err(errors)) = published {
            errors
                .iter()
                .for_each(|error| tracing::warn!(%error, "the snapshot could not be renewed; the old one stays"));
        }
    }
}
