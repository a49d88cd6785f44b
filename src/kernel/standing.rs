//! What a caller is held to: its number, its budgets and its rate limits. A configured key has its places in the snapshot;
//! for a caller that no key stands for, and for a single session, a shard works it out here when it sees it for the first
//! time, by the rules of its snapshot and the accounts that all shards share.

use super::{
    account::{Account, AccountId, Scope},
    ids::{PrincipalId, SnapshotVersion},
    keys::Principal,
    limiter::{Limiter, LimiterId, Measure},
    money::Nanos,
    names::Names,
    numbers::Number,
    objects::Objects,
    repairs::Repairs,
    sessions::SessionSpend,
    snapshot::{Budget, RateLimit, Snapshot},
    table::SharedTable,
    turns::Turns,
    window::{Period, Window},
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

/// What an account counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccountKey {
    /// Whose spending.
    pub scope: Scope,
    /// How often it starts anew.
    pub period: Period,
    /// In which span of time.
    pub window: Window,
}

impl AccountKey {
    /// Of an account.
    pub fn of(account: &Account) -> Self {
        Self { scope: account.scope.clone(), period: account.period, window: account.window }
    }
}

/// Whom and what a limiter limits.
pub type LimiterKey = (Scope, Measure);

/// What outlives every snapshot: who is known, what they have spent, what they have asked for.
pub struct Registry {
    /// Numbers of names and principals.
    pub names: Arc<Names>,
    /// What sessions have spent, as far as the ledger knows.
    pub sessions: Arc<SessionSpend>,
    /// Which account has which batch or file.
    pub objects: Arc<Objects>,
    /// What upstreams refuse by name.
    pub repairs: Repairs,
    /// All budget accounts.
    pub accounts: SharedTable<AccountKey, Account>,
    /// All rate limiters.
    pub limiters: SharedTable<LimiterKey, Limiter>,
    /// Turns under way, where the operator wants to know of those that are asked for twice.
    pub turns: Turns,
    /// Shards, each with its part of every account.
    pub shards: usize,
    /// Another process decides about budgets: accounts begin without room.
    pub handed_over: AtomicBool,
}

/// For two shards, with names of its own.
impl Default for Registry {
    fn default() -> Self {
        Self::new(Arc::default(), Arc::default(), 2)
    }
}

impl Registry {
    /// An empty one for so many shards.
    pub fn new(names: Arc<Names>, sessions: Arc<SessionSpend>, shards: usize) -> Self {
        let (accounts, limiters) = (SharedTable::default(), SharedTable::default());
        Self {
            names,
            sessions,
            objects: Arc::default(),
            repairs: Repairs::default(),
            accounts,
            limiters,
            turns: Turns::default(),
            shards,
            handed_over: AtomicBool::new(false),
        }
    }

    /// The same, with what is known of batches and files.
    #[must_use]
    pub fn with_objects(self, objects: Arc<Objects>) -> Self {
        Self { objects, ..self }
    }

    /// Makes an account, for `SharedTable::open`.
    pub fn account(&self, key: &AccountKey, amount: Nanos, spent: Nanos, number: Number) -> Account {
        let AccountKey { scope, period, window } = key.clone();
        let account = Account::new(AccountId(number.value()), scope, period, window, amount, spent, self.shards);
        if self.handed_over.load(SeqCst) {
            account.hand_over();
        }
        account.numbered(number)
    }

    /// Makes a limiter, for `SharedTable::open`.
    pub fn limiter(&self, (scope, measure): &LimiterKey, limit: i64, number: Number) -> Limiter {
        Limiter::new(LimiterId(number.value()), scope.clone(), *measure, limit).numbered(number)
    }
}

/// There are too many callers, accounts or limiters; a new one must be refused. It has been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded;

/// What one caller, or one session of a caller, is held to.
pub struct Standing {
    /// The caller's number, for records.
    pub principal: PrincipalId,
    /// Its budgets; of a session, those of the session alone.
    pub budgets: Box<[Budget]>,
    /// Its rate limits, likewise.
    pub rate_limits: Box<[RateLimit]>,
    version: SnapshotVersion,
    until: i64,
}

impl Standing {
    /// Does it still say what this snapshot says, at this Unix second? If not, it must be asked for again.
    pub fn holds(&self, snapshot: &Snapshot, now_seconds: i64) -> bool {
        self.version == snapshot.version && now_seconds < self.until
    }
}

impl Snapshot {
    /// What a caller is held to that no key stands for. Accounts and limiters that nobody has asked for yet are opened, for
    /// all shards; nothing here locks or waits. It allocates, so a shard keeps what it gets (`Standings`).
    pub fn standing_of(&self, who: &Principal, now_seconds: i64) -> Result<Standing, Crowded> {
        let principal = self.registry.names.principal_at_first_sight(who).ok_or(Crowded)?;
        self.standing(principal, Scope::all_of(who), now_seconds)
    }

    /// What a session of a caller is held to, besides what the caller is held to.
    pub fn standing_of_session(
        &self,
        principal: PrincipalId,
        session: &str,
        now_seconds: i64,
    ) -> Result<Standing, Crowded> {
        let who = self.registry.names.principal_of(principal);
        self.standing(principal, std::iter::once(Scope::session(&who, session)), now_seconds)
    }

    fn standing(
        &self,
        principal: PrincipalId,
        scopes: impl Iterator<Item = Scope>,
        now_seconds: i64,
    ) -> Result<Standing, Crowded> {
        let (mut budgets, mut rate_limits) = (Vec::new(), Vec::new());
        for scope in scopes {
            for rule in self.rules.budgets.of(&scope) {
                let window = rule.period.window(now_seconds);
                let key = AccountKey { scope: scope.clone(), period: rule.period, window };
                // What others spent before there was an account is looked up when the rule comes into force, and what the
                // control plane knows of has its account by then: whom a shard sees first has spent nothing.
                let spent = match &scope {
                    Scope::Session(session) => self.registry.sessions.spent(session, window),
                    _ => Nanos::ZERO,
                };
                let make = |number| self.registry.account(&key, rule.amount, spent, number);
                let account = self.registry.accounts.open_at_first_sight(&key, make).ok_or(Crowded)?;
                budgets.push(Budget::new(rule, &scope, vec![account]));
            }
            for rule in self.rules.limits.of(&scope) {
                for (measure, limit) in &rule.limits {
                    let key = (scope.clone(), *measure);
                    let make = |number| self.registry.limiter(&key, *limit, number);
                    let limiter = self.registry.limiters.open_at_first_sight(&key, make).ok_or(Crowded)?;
                    rate_limits.push(RateLimit { limiter, cache_read_permille: rule.cache_read_permille });
                }
            }
        }
        let ends = budgets.iter().flat_map(|budget: &Budget| &budget.accounts).map(|account| account.window.end);
        let until = ends.min().unwrap_or(i64::MAX);
        let (budgets, rate_limits) = (budgets.into(), rate_limits.into());
        Ok(Standing { principal, budgets, rate_limits, version: self.version, until })
    }
}
