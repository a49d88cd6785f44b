//! The book: last turns, and what changes did to the next ones.

use super::{CACHE_LIVES, CHANGES_KEPT_MAX, LONG_CACHE_LIVES, ROWS_MAX, SESSIONS_KEPT_MAX};
use crate::{
    control::changes::{Change, ChangeId, kinds},
    kernel::{
        ids::{Mixing, SnapshotVersion},
        money::Nanos,
        names::{NameId, Names},
        record::{Label, ModelLabel, Operation, Record},
        snapshot::Snapshot,
        time::UnixMs,
        usage::{Usage, UsageSource},
    },
};
use arrayvec::ArrayVec;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

/// The book as the journal's sink and the admin API share it.
pub type SharedCacheHealth = Arc<Mutex<CacheHealth>>;
/// Where the prices in force are found.
pub type Prices = Arc<dyn Fn() -> Arc<Snapshot> + Send + Sync>;

/// A shard may serve by the snapshot before for a moment after a reload was decided. Milliseconds.
const TAKES_MS: u64 = 5000;
/// After the first loss, others are awaited before the log tells of them. Milliseconds.
const SAY_AFTER_MS: u64 = 2000;
/// How often the log tells of one change. Milliseconds.
const SAY_EVERY_MS: u64 = 60_000;
/// What tells one session's turns from another's: a number, four lengths, three labels and a model.
const ASKS_BYTES_MAX: usize = 8 + 4 + 3 * size_of::<Label>() + size_of::<ModelLabel>();
/// The name of all teams and models beyond `ROWS_MAX`.
const OTHER: &str = "other";

/// Why a session's cache was out of reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The configuration had been read again.
    Reload,
    /// Another upstream answered than before, without a reload: a failover, or a target that went.
    Moved,
}

impl Cause {
    /// The name in metrics and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reload => "reload",
            Self::Moved => "moved",
        }
    }
}

/// What one turn lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub cause: Cause,
    /// Tokens that were not read from the cache.
    pub tokens: u64,
    /// What that cost.
    pub cost: Nanos,
}

/// Turns compared with the ones before them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Sessions.
    pub sessions: u64,
    /// Those that read less than half of what was there.
    pub dropped: u64,
    /// Read from the cache, and all tokens of the prompts, in the turns before.
    pub before: (u64, u64),
    /// The same in the turns after.
    pub after: (u64, u64),
    /// Tokens that were not read.
    pub lost_tokens: u64,
    /// What that cost.
    pub lost: Nanos,
}

impl Tally {
    fn add(&mut self, before: &Turn, after: &Turn, loss: Option<Loss>) {
        self.sessions += 1;
        self.before = (self.before.0 + before.read, self.before.1 + before.prompt);
        self.after = (self.after.0 + after.read, self.after.1 + after.prompt);
        if let Some(loss) = loss {
            self.dropped += 1;
            self.lost_tokens += loss.tokens;
            self.lost = self.lost.plus(loss.cost);
        }
    }
}

/// Tallies of one cause.
#[derive(Default)]
pub(super) struct Tallies {
    pub all: Tally,
    pub rows: HashMap<(String, String), Tally>,
}

impl Tallies {
    fn row(&mut self, team: &str, model: &str) -> &mut Tally {
        let key = (team.to_owned(), model.to_owned());
        let full = self.rows.len() >= ROWS_MAX && !self.rows.contains_key(&key);
        self.rows.entry(if full { (OTHER.to_owned(), OTHER.to_owned()) } else { key }).or_default()
    }
}

pub(super) struct Reload {
    pub id: ChangeId,
    pub at: UnixMs,
    pub who: String,
    pub told: Tallies,
    first_loss: Option<UnixMs>,
    said: Option<(UnixMs, u64)>,
}

/// What the last turn of a session left.
#[derive(Clone, Copy)]
struct Turn {
    started: UnixMs,
    ended: UnixMs,
    version: SnapshotVersion,
    upstream: Option<NameId>,
    /// Tokens that the next turn can read.
    cached: u64,
    read: u64,
    prompt: u64,
    lives_ms: u64,
    /// The newest reload that the session has been compared over.
    after: ChangeId,
}

/// The book.
pub struct CacheHealth {
    prices: Prices,
    names: Arc<Names>,
    hasher: RandomState,
    /// By a keyed hash of whose they are.
    turns: HashMap<u64, Turn, Mixing>,
    pub(super) reloads: VecDeque<Reload>,
    pub(super) moved: Tallies,
    pub(super) forgotten: u64,
}

impl CacheHealth {
    /// An empty one.
    pub fn new(prices: Prices, names: Arc<Names>) -> Self {
        Self {
            prices,
            names,
            hasher: RandomState::new(),
            turns: HashMap::default(),
            reloads: VecDeque::new(),
            moved: Tallies::default(),
            forgotten: 0,
        }
    }

    /// Puts it behind the lock it is shared by.
    pub fn shared(self) -> SharedCacheHealth {
        Arc::new(Mutex::new(self))
    }

    /// Sessions whose last turn is known.
    pub fn sessions(&self) -> usize {
        self.turns.len()
    }

    /// Takes note of a change that an administrator made.
    pub fn changed(&mut self, change: &Change) {
        if change.kind != kinds::RELOAD {
            return;
        }
        if change.failed.is_some() {
            self.reloads.retain(|reload| reload.id != change.id);
            return;
        }
        if self.reloads.len() >= CHANGES_KEPT_MAX {
            self.reloads.pop_front();
        }
        let (id, at, who) = (change.id, change.at, change.who.clone());
        self.reloads.push_back(Reload { id, at, who, told: Tallies::default(), first_loss: None, said: None });
    }

    /// Looks at a record. Returns what its turn lost to a change.
    pub fn apply(&mut self, record: &Record) -> Option<Loss> {
        let usage = &record.usage;
        let reported = record.usage_source == UsageSource::Reported && record.operation == Operation::Messages;
        if !reported || record.session.is_empty() || usage.prompt() == 0 {
            return None;
        }
        let key = self.key(record);
        let mut turn = Turn::of(record);
        let Some(before) = self.turns.get(&key).copied() else {
            self.remember(key, turn);
            return None;
        };
        if turn.started < before.started {
            return None;
        }
        let reload = self.reload_between(&before, &turn);
        turn.after = reload.and_then(|place| self.reloads.get(place)).map_or(before.after, |reload| reload.id);
        self.turns.insert(key, turn);
        let idle = record.started_at.0.saturating_sub(before.ended.0);
        if before.cached == 0 || idle > before.lives_ms {
            return None;
        }
        if reload.is_none() && before.upstream == turn.upstream {
            return None;
        }
        let cause = if reload.is_some() { Cause::Reload } else { Cause::Moved };
        let loss = self.loss(record, &before, cause);
        let team = record.principal.map(|id| self.names.principal_of(id).team.clone()).unwrap_or_default();
        let told = match reload {
            Some(place) => &mut self.reloads[place].told,
            None => &mut self.moved,
        };
        told.all.add(&before, &turn, loss);
        told.row(&team, &record.model_requested).add(&before, &turn, loss);
        if let (Some(place), Some(_)) = (reload, loss) {
            self.reloads[place].first_loss.get_or_insert(record.ended_at);
        }
        loss
    }

    /// Who asks for what in this record. Clients choose nearly all of it, so that the hash is keyed; in one piece, since each would
    /// cost a round of its own.
    fn key(&self, record: &Record) -> u64 {
        let mut asks = ArrayVec::<u8, ASKS_BYTES_MAX>::new();
        let principal = record.principal.map_or(u64::MAX, |id| u64::from(id.0));
        let texts = [&*record.session, &*record.agent, &*record.request_class, &*record.model_requested];
        let lengths = texts.map(|text| text.len() as u8);
        for part in [&principal.to_le_bytes()[..], &lengths].into_iter().chain(texts.map(str::as_bytes)) {
            let fits = asks.try_extend_from_slice(part);
            debug_assert!(fits.is_ok(), "labels are bounded");
        }
        self.hasher.hash_one(asks.as_slice())
    }

    /// The newest reload that stands between two turns of a session.
    fn reload_between(&self, before: &Turn, after: &Turn) -> Option<usize> {
        if before.version >= after.version {
            return None;
        }
        let between = |reload: &Reload| {
            reload.at <= after.started && reload.at.0 + TAKES_MS >= before.started.0 && reload.id != before.after
        };
        self.reloads.iter().rposition(between)
    }

    fn loss(&self, record: &Record, before: &Turn, cause: Cause) -> Option<Loss> {
        let usage = record.usage;
        let missing = before.cached.saturating_sub(usage.cache_read);
        let mut left = missing.min(usage.prompt() - usage.cache_read.min(usage.prompt()));
        if left * 2 < before.cached {
            // A prompt that was shortened, or a little of it that was not cached.
            return None;
        }
        let tokens = left;
        let mut hit = Usage { cache_read: usage.cache_read + left, ..usage };
        for paid in [&mut hit.cache_write_5m, &mut hit.cache_write_1h, &mut hit.input] {
            let moved = left.min(*paid);
            *paid -= moved;
            left -= moved;
        }
        let snapshot = (self.prices)();
        let upstream = record.upstream.map(|id| self.names.name_of(id)).unwrap_or_default();
        let rates = snapshot.prices.rates(&upstream, &record.model_served, &record.model_requested);
        let cost = rates.cost(&usage).minus(rates.cost(&hit));
        Some(Loss { cause, tokens, cost: Nanos(cost.0.max(0)) })
    }

    fn remember(&mut self, key: u64, turn: Turn) {
        if self.turns.len() >= SESSIONS_KEPT_MAX {
            // What cannot be in any cache any more; if that is nothing, the new session is not followed.
            self.turns.retain(|_, old| turn.started.0.saturating_sub(old.ended.0) <= old.lives_ms);
        }
        if self.turns.len() >= SESSIONS_KEPT_MAX {
            self.forgotten += 1;
        } else {
            self.turns.insert(key, turn);
        }
    }

    /// Tells the log of changes that cost caches: once soon after the first loss, then as it grows, now and then.
    pub fn say(&mut self, now: UnixMs) {
        for reload in &mut self.reloads {
            let all = reload.told.all;
            let due = match (reload.first_loss, reload.said) {
                (None, _) => false,
                (Some(first), None) => now.0 >= first.0 + SAY_AFTER_MS,
                (Some(_), Some((at, tokens))) => all.lost_tokens > tokens && now.0 >= at.0 + SAY_EVERY_MS,
            };
            if due {
                reload.said = Some((now, all.lost_tokens));
                tracing::warn!(
                    change = %reload.id,
                    reloaded_at = %reload.at.rfc3339(),
                    by = %reload.who,
                    sessions = all.sessions,
                    dropped = all.dropped,
                    hit_rate_before = %super::view::rate(all.before),
                    hit_rate_after = %super::view::rate(all.after),
                    lost_tokens = all.lost_tokens,
                    lost_usd = %all.lost,
                    "sessions have lost their prompt caches since the configuration was read again"
                );
            }
        }
    }
}

impl Turn {
    fn of(record: &Record) -> Self {
        let usage = &record.usage;
        let written = usage.cache_write_5m + usage.cache_write_1h;
        let lives = if usage.cache_write_1h > 0 { LONG_CACHE_LIVES } else { CACHE_LIVES };
        Self {
            started: record.started_at,
            ended: record.ended_at,
            version: record.config_version,
            upstream: record.upstream,
            cached: usage.cache_read + written,
            read: usage.cache_read,
            prompt: usage.prompt(),
            lives_ms: lives.as_millis() as u64,
            after: ChangeId::default(),
        }
    }
}
