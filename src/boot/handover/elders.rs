//! What the processes before this one still have and spend, as this one counts it.

use super::{AccountName, Balance, Elder, Message, Taken, talk::Talk};
use crate::{
    control::ledger::Inherit,
    kernel::{
        account::{Account, Scope},
        limiter::{Limiter, Measure, Second},
        money::Nanos,
        record::Record,
        rules::LimitRule,
        snapshot::Snapshot,
        standing::{LimiterKey, Registry},
        time::UnixMs,
        usage::Usage,
    },
    link::down::DownDoor,
    sys::clock,
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// How often a link is looked at for its end.
const LOOK: Duration = Duration::from_millis(50);
/// How long a predecessor may take to read what it asked for.
const SAY: Duration = Duration::from_secs(5);

/// The accounts and limiters as they stand with each process before this one, by the name of its side chain.
pub(in crate::boot) struct Elders {
    registry: Arc<Registry>,
    door: Arc<DownDoor>,
    known: Mutex<Known>,
    /// This process is being replaced itself: links are the next one's.
    closed: AtomicBool,
}

#[derive(Default)]
struct Known {
    mirrors: HashMap<(String, AccountName), Mirror>,
    /// Requests that ran when it settled, by what they count for.
    running: HashMap<(String, LimiterKey), i64>,
    settled_at: HashMap<String, UnixMs>,
}

/// An account as a predecessor reported it last.
#[derive(Clone, Copy, Default)]
struct Mirror {
    spent: i64,
    /// What it can still spend, grants under way included.
    pool: i64,
    granted: i64,
}

impl Elders {
    /// None yet.
    pub fn new(registry: Arc<Registry>, door: Arc<DownDoor>) -> Self {
        Self { registry, door, known: Mutex::default(), closed: AtomicBool::new(false) }
    }

    /// A predecessor has stopped to decide, and stands like this. To be called before anything is admitted here.
    pub(super) fn settle(&self, side: &str, balances: &[Balance], limits: &[Taken], elders: &[Elder]) {
        let snapshot = self.door.latest();
        let mut known = self.known.lock();
        if !side.is_empty() {
            known.settled_at.insert(side.to_owned(), clock::unix());
        }
        let mut lent: HashMap<&AccountName, i64> = HashMap::new();
        for elder in elders {
            *lent.entry(&elder.account).or_default() += elder.pool;
            let mirror = Mirror { spent: elder.spent, pool: elder.pool, granted: 0 };
            known.mirrors.insert((elder.side.clone(), elder.account.clone()), mirror);
        }
        for balance in balances {
            let mirror = Mirror { spent: balance.spent, pool: balance.pool, granted: 0 };
            known.mirrors.insert((side.to_owned(), balance.account.clone()), mirror);
            let others = lent.remove(&balance.account).unwrap_or(0);
            if let Some(account) = self.account(&balance.account, &snapshot) {
                account.succeed(Nanos(balance.spent), Nanos(balance.pool.saturating_add(others)));
            }
        }
        for (name, pool) in lent {
            if let Some(account) = self.account(name, &snapshot) {
                account.follow(Nanos(pool), Nanos::ZERO);
            }
        }
        let now = Second::of(clock::mono());
        for taken in limits {
            let (Some(scope), Some(measure)) = (Scope::parse(&taken.scope), taken.measure()) else { continue };
            let Some(limiter) = self.limiter(&scope, measure, &snapshot) else { continue };
            limiter.succeed(&taken.taken, now);
            if measure == Measure::Concurrent {
                let running = taken.taken.iter().map(|(_, amount)| amount).sum();
                known.running.insert((side.to_owned(), (scope, measure)), running);
            }
        }
    }

    /// Follows a predecessor until its connection ends: what it spends, and what it asks for.
    pub(super) fn follow(&self, side: &str, mut talk: Talk) {
        self.known.lock().mirrors.iter_mut().filter(|((of, _), _)| of == side).for_each(|(_, m)| m.granted = 0);
        while !self.closed.load(SeqCst) {
            match talk.hear(LOOK) {
                Ok(Some(Message::Balances { balances })) => self.balances(side, &balances),
                Ok(Some(Message::Want { account, amount })) => {
                    let amount = self.grant(side, &account, amount);
                    if amount > 0 && talk.say(&Message::Grant { account, amount }, SAY).is_err() {
                        break;
                    }
                }
                Ok(None) => {}
                Ok(Some(_)) | Err(_) => break,
            }
        }
        tracing::debug!(side, "a process that was replaced is no longer connected");
    }

    fn balances(&self, side: &str, balances: &[Balance]) {
        let snapshot = self.door.latest();
        let mut known = self.known.lock();
        for balance in balances {
            let Some(account) = self.account(&balance.account, &snapshot) else { continue };
            let first = Mirror { spent: balance.base, ..Mirror::default() };
            let mirror = known.mirrors.entry((side.to_owned(), balance.account.clone())).or_insert(first);
            let pool = balance.pool.saturating_add(mirror.granted - balance.granted);
            account.follow(Nanos(pool - mirror.pool), Nanos(balance.spent - mirror.spent));
            (mirror.pool, mirror.spent) = (pool, balance.spent);
        }
    }

    fn grant(&self, side: &str, name: &AccountName, amount: i64) -> i64 {
        let Some(account) = self.account(name, &self.door.latest()) else { return 0 };
        let mut known = self.known.lock();
        // Without a report of it nobody knows what the predecessor has spent; that comes first, over the same connection.
        let Some(mirror) = known.mirrors.get_mut(&(side.to_owned(), name.clone())) else { return 0 };
        let got = account.lend(Nanos(amount.max(0))).0;
        mirror.pool += got;
        mirror.granted += got;
        got
    }

    /// Who is to be told of records that come over.
    pub fn heirs(self: &Arc<Self>) -> Inherit {
        let elders = self.clone();
        Box::new(move |side, closes, done| elders.inherited(side, closes, done))
    }

    /// Records of a predecessor have come over: what it has not reported itself is booked here.
    fn inherited(&self, side: &str, closes: &[Box<Record>], done: bool) {
        let snapshot = self.door.latest();
        let mut known = self.known.lock();
        for record in closes {
            let Some(principal) = record.principal else { continue };
            let who = self.registry.names.principal_of(principal);
            let session = (!record.session.is_empty()).then(|| Scope::session(&who, &record.session));
            for scope in Scope::all_of(&who).chain(session) {
                self.charge(&mut known, side, record, &scope, &snapshot, done);
                self.count(&mut known, side, record, &scope, &snapshot);
            }
        }
        if done {
            self.forget(&mut known, side, &snapshot);
        }
    }

    fn charge(&self, known: &mut Known, side: &str, record: &Record, scope: &Scope, snapshot: &Snapshot, done: bool) {
        for rule in snapshot.rules.budgets.of(scope) {
            let window = rule.period.window(record.started_at.seconds());
            let (start, end) = (window.start, window.end);
            let name = AccountName { scope: scope.to_string(), period: rule.period.as_str().to_owned(), start, end };
            let Some(account) = name.key().and_then(|key| self.registry.accounts.find(&key)) else { continue };
            // At the end of a side chain stands what its process could report no more: it died.
            if done || !known.mirrors.contains_key(&(side.to_owned(), name)) {
                account.charge(record.cost);
            }
        }
    }

    fn count(&self, known: &mut Known, side: &str, record: &Record, scope: &Scope, snapshot: &Snapshot) {
        let now = Second::of(clock::mono());
        let began_late = known.settled_at.get(side).is_some_and(|at| record.started_at >= *at);
        for rule in snapshot.rules.limits.of(scope) {
            for (measure, _) in &rule.limits {
                let key = (scope.clone(), *measure);
                let Some(limiter) = self.registry.limiters.find(&key) else { continue };
                match measure {
                    Measure::OutputTokens => limiter.debit(record.usage.output as i64, now),
                    Measure::Requests if began_late => limiter.debit(1, now),
                    Measure::InputTokens if began_late => limiter.debit(weighed(&record.usage, rule), now),
                    Measure::Concurrent => {
                        let running = known.running.get_mut(&(side.to_owned(), key)).filter(|running| **running > 0);
                        if let Some(running) = running.filter(|_| !began_late) {
                            *running -= 1;
                            limiter.give_back(1, now);
                        }
                    }
                    Measure::Requests | Measure::InputTokens => {}
                }
            }
        }
    }

    /// It has ended, and nothing more will come of it.
    fn forget(&self, known: &mut Known, side: &str, snapshot: &Snapshot) {
        known.mirrors.retain(|(of, name), mirror| {
            if let Some(account) = self.account(name, snapshot).filter(|_| of == side) {
                account.follow(Nanos(-mirror.pool), Nanos::ZERO);
            }
            of != side
        });
        let now = Second::of(clock::mono());
        known.running.retain(|(of, key), running| {
            if let Some(limiter) = self.registry.limiters.find(key).filter(|_| of == side) {
                limiter.give_back(*running, now);
            }
            of != side
        });
        known.settled_at.remove(side);
    }

    /// This process is being replaced: what it knows of those before it, for the next one. It follows them no longer.
    pub(super) fn hand_on(&self) -> Vec<Elder> {
        self.closed.store(true, SeqCst);
        let known = self.known.lock();
        let elder = |((side, account), mirror): (&(String, AccountName), &Mirror)| Elder {
            side: side.clone(),
            account: account.clone(),
            spent: mirror.spent,
            pool: mirror.pool,
        };
        known.mirrors.iter().map(elder).collect()
    }

    /// It is not replaced after all.
    pub fn take_back(&self) {
        self.closed.store(false, SeqCst);
    }

    fn account(&self, name: &AccountName, snapshot: &Snapshot) -> Option<Arc<Account>> {
        let key = name.key()?;
        if let Some(account) = self.registry.accounts.find(&key) {
            return Some(account);
        }
        let rule = snapshot.rules.budgets.of(&key.scope).find(|rule| rule.period == key.period)?;
        let make = |number| self.registry.account(&key, rule.amount, Nanos::ZERO, number);
        self.registry.accounts.open_at_first_sight(&key, make)
    }

    fn limiter(&self, scope: &Scope, measure: Measure, snapshot: &Snapshot) -> Option<Arc<Limiter>> {
        let key = (scope.clone(), measure);
        if let Some(limiter) = self.registry.limiters.find(&key) {
            return Some(limiter);
        }
        let mut limits = snapshot.rules.limits.of(scope).flat_map(|rule| &rule.limits);
        let (_, limit) = limits.find(|(of, _)| *of == measure)?;
        let make = |number| self.registry.limiter(&key, *limit, number);
        self.registry.limiters.open_at_first_sight(&key, make)
    }
}

/// Input tokens as a rate limit counts them.
fn weighed(usage: &Usage, rule: &LimitRule) -> i64 {
    let read = usage.cache_read.saturating_mul(u64::from(rule.cache_read_permille)) / 1000;
    (usage.input + usage.cache_write_5m + usage.cache_write_1h + read) as i64
}
