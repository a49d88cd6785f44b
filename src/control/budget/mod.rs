//! The accounts of all budgets and the limiters of all rate limits, kept over reloads: shards hold leases on them, so an
//! account must stay the same object as long as its budget is configured. They stand in the `Registry`, which shards share;
//! here is what only the control plane may do with them: open those of the callers it knows, follow the configuration, raise
//! one once, and drop what is over.

mod raises;
#[cfg(test)]
mod tests;

pub use raises::Raises;

use crate::kernel::{
    account::{Account, AccountId, Scope, ScopeKind},
    keys::Principal,
    limiter::{Limiter, LimiterId, Measure, Second},
    limits::{FIRST_SIGHT_SESSIONS_MAX, SESSION_IDLE},
    money::Nanos,
    rules::{BudgetRule, LimitRule, RuleSet},
    standing::{AccountKey, Registry},
    table::Shared,
    window::{Period, Window},
};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

/// How long an account stays listed after its window ended: running requests still settle on it.
const KEPT_AFTER_END_SECONDS: i64 = 3600;

/// Every open account and limiter, and the raises in force.
#[derive(Default)]
pub struct AccountBook {
    raises: Raises,
    registry: Arc<Registry>,
    /// Since when nobody has used an account, Unix seconds.
    unused: HashMap<AccountKey, i64>,
}

impl AccountBook {
    /// A book for a registry, with the raises that are in force.
    pub fn new(registry: Arc<Registry>, raises: Raises) -> Self {
        Self { raises, registry, unused: HashMap::new() }
    }

    /// What shards share with it.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Raises the account of a scope and period whose window is now, for this window. `None`: there is no such account.
    pub fn raise(
        &mut self,
        scope: &str,
        period: &str,
        by: Nanos,
        now_seconds: i64,
    ) -> io::Result<Option<Arc<Account>>> {
        let is_it = |a: &Arc<Account>| {
            a.period.as_str() == period && a.window.contains(now_seconds) && a.scope.to_string() == scope
        };
        let Some(account) = self.accounts().into_iter().find(is_it) else { return Ok(None) };
        self.raises.add(&account, by, now_seconds)?;
        account.raise(by);
        Ok(Some(account))
    }

    /// The accounts of a scope for the window around `now_seconds` and the one after it (a total has only one). Open ones
    /// are the same objects as before, with the new amount; for others `spent` says what is already gone.
    pub fn open(
        &self,
        scope: &Scope,
        period: Period,
        amount: Nanos,
        spent: &dyn Fn(&Scope, Window) -> Nanos,
        now_seconds: i64,
    ) -> Vec<Arc<Account>> {
        let now = period.window(now_seconds);
        let next = now.resets_at().map(|end| period.window(end));
        let windows = std::iter::once(now).chain(next);
        windows.map(|window| self.open_one(scope, period, window, amount, spent)).collect()
    }

    fn open_one(
        &self,
        scope: &Scope,
        period: Period,
        window: Window,
        amount: Nanos,
        spent: &dyn Fn(&Scope, Window) -> Nanos,
    ) -> Arc<Account> {
        let key = AccountKey { scope: scope.clone(), period, window };
        let account = self.registry.accounts.open(&key, |number| {
            let account = self.registry.account(&key, amount, spent(scope, window), number);
            match self.raises.of(&scope.to_string(), period.as_str(), window) {
                Nanos::ZERO => {}
                raised => account.raise(raised),
            }
            account
        });
        account.set_amount(amount);
        account
    }

    /// Opens the accounts of one who has spent something in their windows, if a rule limits it. Those that no key stands for
    /// are kept by `keep`, as many as there may be.
    pub fn open_for(
        &self,
        who: &Principal,
        rules: &RuleSet<BudgetRule>,
        spent: &dyn Fn(&Scope, Window) -> Nanos,
        now_seconds: i64,
    ) {
        for scope in Scope::all_of(who) {
            for rule in rules.of(&scope) {
                let window = rule.period.window(now_seconds);
                if spent(&scope, window) != Nanos::ZERO {
                    self.open_one(&scope, rule.period, window, rule.amount, spent);
                }
            }
        }
    }

    /// Opens the accounts that were raised once: a shard that sees their caller first could not know of it.
    pub fn open_raised(&self, rules: &RuleSet<BudgetRule>, spent: &dyn Fn(&Scope, Window) -> Nanos, now_seconds: i64) {
        for (scope, period, window) in self.raises.in_force(now_seconds) {
            let rule = rules.of(&scope).find(|rule| rule.period.as_str() == period);
            if let Some(rule) = rule.filter(|rule| rule.period.window(now_seconds) == window) {
                self.open_one(&scope, rule.period, window, rule.amount, spent);
            }
        }
    }

    /// Drops what nobody has used for long of the sessions: their sums are remembered elsewhere (`SessionSpend`), and a session
    /// that goes on begins there. With many sessions, the time is shorter. Limiters of which nothing is used are dropped too;
    /// they would begin as they are. What was raised once, or has refused lately, stays.
    pub fn tidy(&mut self, now_seconds: i64, now: Second) {
        let (_, sessions) = self.registry.accounts.at_first_sight();
        let patience = if sessions > FIRST_SIGHT_SESSIONS_MAX / 2 { 0 } else { SESSION_IDLE.as_secs() as i64 };
        let (mut unused, mut gone) = (HashMap::new(), Vec::new());
        self.registry.accounts.for_each(|key, account| {
            let fixed = account.raised() != Nanos::ZERO || account.scope.kind() != ScopeKind::Session;
            if fixed || Arc::strong_count(account) > 1 {
                return;
            }
            let since = *self.unused.get(key).unwrap_or(&now_seconds);
            let refused = account.last_denial().map_or(0, |denial| denial.at_ms / 1000);
            if now_seconds - since.max(refused) >= patience {
                gone.push(key.clone());
            } else {
                unused.insert(key.clone(), since);
            }
        });
        self.unused = unused;
        for key in gone {
            self.registry.accounts.remove_unused(&key);
        }
        let mut limiters = Vec::new();
        self.registry.limiters.for_each(|key, limiter| {
            let idle = limiter.presence().is_at_first_sight() && Arc::strong_count(limiter) == 1;
            if idle && limiter.used(now) == 0 {
                limiters.push(key.clone());
            }
        });
        for key in limiters {
            self.registry.limiters.remove_unused(&key);
        }
    }

    /// Follows a new configuration. Accounts in use stay. Others stay too if a rule still limits their scope, with its amount:
    /// callers that no key stands for have theirs there, as many as there may be. The rest is dropped, unless its window has
    /// ended, which is for `prune`. Nobody settles on those from now on, so if the budget comes back it must start from what
    /// was really spent.
    pub fn keep<'a>(
        &self,
        used: impl Iterator<Item = &'a Arc<Account>>,
        rules: &RuleSet<BudgetRule>,
        now_seconds: i64,
    ) {
        let used: HashSet<AccountId> = used.map(|account| account.id).collect();
        for account in self.accounts() {
            if used.contains(&account.id) || account.window.end <= now_seconds {
                continue;
            }
            let rule = rules.of(&account.scope).find(|rule| rule.period == account.period);
            match rule.filter(|_| self.registry.accounts.adopt(&account)) {
                Some(rule) => account.set_amount(rule.amount),
                None => self.registry.accounts.remove(&AccountKey::of(&account), &account),
            }
        }
    }

    /// All accounts, in the order of their numbers.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts = Vec::with_capacity(self.registry.accounts.len());
        self.registry.accounts.for_each(|_, account| accounts.push(account.clone()));
        accounts.sort_by_key(|account| account.id);
        accounts
    }

    /// Drops accounts whose window ended more than an hour ago.
    pub fn prune(&self, now_seconds: i64) {
        let oldest = now_seconds.saturating_sub(KEPT_AFTER_END_SECONDS);
        for account in self.accounts().into_iter().filter(|account| account.window.end < oldest) {
            self.registry.accounts.remove(&AccountKey::of(&account), &account);
        }
    }

    /// When the first window ends, in Unix seconds: from then on until the window after it ends, a new snapshot must be
    /// built. `None` if no window ever ends.
    pub fn next_rollover(&self, now_seconds: i64) -> Option<i64> {
        let mut next = None;
        self.registry.accounts.for_each(|_, account| {
            let end = account.window.resets_at().filter(|end| *end > now_seconds);
            next = next.into_iter().chain(end).min();
        });
        next
    }

    /// The limiter of a scope and measure: the same object as before, with the new limit.
    pub fn open_limiter(&self, scope: &Scope, measure: Measure, limit: i64) -> Arc<Limiter> {
        let key = (scope.clone(), measure);
        let limiter = self.registry.limiters.open(&key, |number| self.registry.limiter(&key, limit, number));
        if limiter.limit() != limit {
            limiter.set_limit(limit);
        }
        limiter
    }

    /// Follows a new configuration: limiters in use stay, and so do those of callers that no key stands for, if a rule still
    /// limits their scope. One that is dropped and comes back starts unused.
    pub fn keep_limiters<'a>(&self, used: impl Iterator<Item = &'a Arc<Limiter>>, rules: &RuleSet<LimitRule>) {
        let used: HashSet<LimiterId> = used.map(|limiter| limiter.id).collect();
        let mut others = Vec::new();
        self.registry.limiters.for_each(|_, limiter| {
            if !used.contains(&limiter.id) {
                others.push(limiter.clone());
            }
        });
        for limiter in others {
            let mut limits = rules.of(&limiter.scope).flat_map(|rule| &rule.limits);
            let limit = limits.find(|(measure, _)| *measure == limiter.measure);
            match limit.filter(|_| self.registry.limiters.adopt(&limiter)) {
                Some((_, limit)) if *limit != limiter.limit() => limiter.set_limit(*limit),
                Some(_) => {}
                None => self.registry.limiters.remove(&(limiter.scope.clone(), limiter.measure), &limiter),
            }
        }
    }
}
