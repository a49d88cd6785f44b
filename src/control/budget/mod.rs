//! The accounts of all budgets, kept over reloads: shards hold leases on them, so an account must stay the same object as
//! long as its budget is configured.

mod limiters;
mod raises;
#[cfg(test)]
mod tests;

pub use limiters::LimiterBook;
pub use raises::Raises;

use crate::kernel::{
    account::{Account, AccountId, Scope},
    money::Nanos,
    window::{Period, Window},
};
use std::{
    collections::{HashMap, HashSet},
    io,
    sync::Arc,
};

/// How long an account stays listed after its window ended: running requests still settle on it.
const KEPT_AFTER_END_SECONDS: i64 = 3600;

type AccountKey = (Scope, Period, Window);

/// Every open account, by what it counts.
#[derive(Default)]
pub struct AccountBook {
    raises: Raises,
    /// The limiters of all rate limits, which live as long.
    pub limiters: LimiterBook,
    accounts: HashMap<AccountKey, Arc<Account>>,
    next_id: u32,
}

impl AccountBook {
    /// A book without accounts, and with the raises that are in force.
    pub fn with_raises(raises: Raises) -> Self {
        Self { raises, ..Self::default() }
    }

    /// Raises the account of a scope and period whose window is now, for this window. `None`: there is no such account.
    pub fn raise(
        &mut self,
        scope: &str,
        period: &str,
        by: Nanos,
        now_seconds: i64,
    ) -> io::Result<Option<Arc<Account>>> {
        let is_it = |a: &&Arc<Account>| {
            a.period.as_str() == period && a.window.contains(now_seconds) && a.scope.to_string() == scope
        };
        let Some(account) = self.accounts.values().find(is_it).cloned() else { return Ok(None) };
        self.raises.add(&account, by, now_seconds)?;
        account.raise(by);
        Ok(Some(account))
    }

    /// The accounts of a scope for the window around `now_seconds` and the one after it (a total has only one). Open ones
    /// are the same objects as before, with the new amount; for others `spent` says what is already gone.
    pub fn open(
        &mut self,
        scope: &Scope,
        period: Period,
        amount: Nanos,
        spent: &dyn Fn(&Scope, Window) -> Nanos,
        now_seconds: i64,
        shards: usize,
    ) -> Vec<Arc<Account>> {
        let now = period.window(now_seconds);
        let next = now.resets_at().map(|end| period.window(end));
        let windows = std::iter::once(now).chain(next);
        windows.map(|window| self.open_one(scope, period, window, amount, spent, shards)).collect()
    }

    fn open_one(
        &mut self,
        scope: &Scope,
        period: Period,
        window: Window,
        amount: Nanos,
        spent: &dyn Fn(&Scope, Window) -> Nanos,
        shards: usize,
    ) -> Arc<Account> {
        let key = (scope.clone(), period, window);
        if let Some(account) = self.accounts.get(&key) {
            let amount = amount.plus(account.raised());
            if account.amount() != amount {
                account.set_amount(amount);
            }
            return account.clone();
        }
        let id = AccountId(self.next_id);
        self.next_id += 1;
        let gone = spent(scope, window);
        let account = Arc::new(Account::new(id, scope.clone(), period, window, amount, gone, shards));
        match self.raises.of(&scope.to_string(), period.as_str(), window) {
            Nanos::ZERO => {}
            raised => account.raise(raised),
        }
        self.accounts.insert(key, account.clone());
        account
    }

    /// Drops accounts that no budget uses any more and whose window has not ended. Nobody settles on them from now on, so if
    /// the budget comes back it must start from what was really spent. Ended windows stay until `prune`.
    pub fn forget_all_but<'a>(&mut self, used: impl Iterator<Item = &'a Arc<Account>>, now_seconds: i64) {
        let used: HashSet<AccountId> = used.map(|account| account.id).collect();
        self.accounts.retain(|_, account| used.contains(&account.id) || account.window.end <= now_seconds);
    }

    /// All accounts, in the order they were opened.
    pub fn accounts(&self) -> Vec<Arc<Account>> {
        let mut accounts: Vec<_> = self.accounts.values().cloned().collect();
        accounts.sort_by_key(|account| account.id);
        accounts
    }

    /// Drops accounts whose window ended more than an hour ago.
    pub fn prune(&mut self, now_seconds: i64) {
        self.accounts.retain(|_, account| account.window.end >= now_seconds.saturating_sub(KEPT_AFTER_END_SECONDS));
    }

    /// When the first window ends, in Unix seconds: from then on until the window after it ends, a new snapshot must be
    /// built. `None` if no window ever ends.
    pub fn next_rollover(&self, now_seconds: i64) -> Option<i64> {
        self.accounts.values().filter_map(|account| account.window.resets_at()).filter(|end| *end > now_seconds).min()
    }
}
