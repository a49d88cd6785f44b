//! A rate limit: so much in any minute, or at once, for one scope, shared by all shards without a lock.
//!
//! What may still be taken is in `free`. Shards take slices from it; what they take is also noted under the second they took
//! it in, and comes back a minute after. What a slice was not used for goes back to the second it was taken from, so
//! `free + all that is noted = limit` whenever no move is under way, and no sixty seconds can hold more than the limit was.
//! A limit on what runs at once notes nothing: each request brings back what it took.
//!
//! `free` may be below zero: what an answer will cost in output is known at its end, and is booked then. The next request
//! waits until that has come back, at most a limit's worth each minute.

mod minute;

pub use minute::{AMOUNT_MAX, Second};

use super::{
    account::Scope,
    numbers::Number,
    table::{Presence, Shared},
};
use minute::Minute;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Measure {
    /// Requests admitted in a minute.
    Requests,
    /// Prompt tokens in a minute.
    InputTokens,
    /// Answer tokens in a minute.
    OutputTokens,
    /// Requests that run at the same time.
    Concurrent,
}

impl Measure {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Requests, Self::InputTokens, Self::OutputTokens, Self::Concurrent];

    /// The key in the configuration, and the name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::InputTokens => "input_tokens_per_minute",
            Self::OutputTokens => "output_tokens_per_minute",
            Self::Concurrent => "concurrent_requests",
        }
    }

    /// In words.
    pub fn in_words(self) -> &'static str {
        match self {
            Self::Requests => "requests per minute",
            Self::InputTokens => "input tokens per minute",
            Self::OutputTokens => "output tokens per minute",
            Self::Concurrent => "concurrent requests",
        }
    }
}

/// Number of a limiter, dense, unique among all that are alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimiterId(pub u32);

/// Seconds a caller is asked to wait, at most: with more, Claude Code gives up (contract.md §2.2).
pub const RETRY_SECONDS_MAX: u64 = 60;
/// Seconds a caller waits for others to finish; nobody knows how long they take.
const CONCURRENT_RETRY_SECONDS: u64 = 2;

/// One limit of one scope.
pub struct Limiter {
    /// Its number.
    pub id: LimiterId,
    /// Whom it limits.
    pub scope: Scope,
    /// What it limits.
    pub measure: Measure,
    limit: AtomicI64,
    free: AtomicI64,
    lent: AtomicI64,
    recall_until_us: AtomicU64,
    minute: Option<Minute>,
    refused: AtomicU64,
    refused_at_ms: AtomicU64,
    presence: Presence,
    _number: Option<Number>,
}

impl Shared for Limiter {
    fn scope(&self) -> &Scope {
        &self.scope
    }

    fn presence(&self) -> &Presence {
        &self.presence
    }
}

impl Limiter {
    /// A limiter of which nothing is used.
    pub fn new(id: LimiterId, scope: Scope, measure: Measure, limit: i64) -> Self {
        Self {
            id,
            scope,
            measure,
            limit: AtomicI64::new(limit),
            free: AtomicI64::new(limit),
            lent: AtomicI64::new(0),
            recall_until_us: AtomicU64::new(0),
            minute: (measure != Measure::Concurrent).then(Minute::default),
            refused: AtomicU64::new(0),
            refused_at_ms: AtomicU64::new(0),
            presence: Presence::default(),
            _number: None,
        }
    }

    /// The same limiter, under a number that is given back with it.
    pub fn numbered(self, number: Number) -> Self {
        Self { id: LimiterId(number.value()), _number: Some(number), ..self }
    }

    /// The limit.
    pub fn limit(&self) -> i64 {
        self.limit.load(SeqCst)
    }

    /// Raises or lowers the limit; the room changes by the difference. What a minute has used of a higher limit is no debt
    /// under a lower one: it is used up, and comes back within the minute.
    pub fn set_limit(&self, limit: i64) {
        let before = self.limit.swap(limit, SeqCst);
        let free = self.free.fetch_add(limit.saturating_sub(before), SeqCst) + limit.saturating_sub(before);
        if let Some(minute) = &self.minute
            && limit < before
            && free < 0
        {
            self.free.fetch_add(minute.forgive(-free), SeqCst);
        }
    }

    /// What may still be taken, as of the last sweep.
    pub fn free(&self) -> i64 {
        self.free.load(SeqCst)
    }

    /// What is used up at a moment, slices that shards hold included.
    pub fn used(&self, now: Second) -> i64 {
        self.sweep(now);
        self.limit() - self.free()
    }

    /// Lets what is older than a minute come back. A debt of more than the limit comes back over several minutes.
    pub fn sweep(&self, now: Second) {
        let Some(minute) = &self.minute else { return };
        minute.sweep(now, |over| self.come_back(minute, over, now));
    }

    fn come_back(&self, minute: &Minute, over: i64, now: Second) {
        let most = self.limit().max(1);
        self.free.fetch_add(over.min(most), SeqCst);
        if over > most {
            self.note(minute, now, over - most);
        }
    }

    /// Notes what was taken; `false` if its second is over.
    fn note(&self, minute: &Minute, at: Second, amount: i64) -> bool {
        let Some(over) = minute.add(at, amount) else { return false };
        if over != 0 {
            self.free.fetch_add(over, SeqCst);
        }
        true
    }

    /// Takes `need`, and up to `extra` more for later, or nothing. Returns what it took.
    pub fn draw(&self, need: i64, extra: i64, now: Second) -> i64 {
        self.sweep(now);
        let taken = self.free.fetch_update(SeqCst, SeqCst, |free| {
            (need > 0 && free >= need).then(|| free - need.saturating_add(extra.max(0)).min(free))
        });
        let Ok(before) = taken else { return 0 };
        let got = need.saturating_add(extra.max(0)).min(before);
        if let Some(minute) = &self.minute
            && !self.note(minute, now, got)
        {
            self.free.fetch_add(got, SeqCst);
            return 0;
        }
        got
    }

    /// Brings back what was taken at that second and not used. What is noted under a second that is over comes back by itself.
    pub fn give_back(&self, amount: i64, taken: Second) {
        if amount == 0 {
            return;
        }
        let still_noted = self.minute.as_ref().is_none_or(|minute| self.note(minute, taken, -amount));
        if still_noted {
            self.free.fetch_add(amount, SeqCst);
        }
    }

    /// Books what was used without having been taken; `free` may become negative.
    pub fn debit(&self, amount: i64, now: Second) {
        self.sweep(now);
        let amount = amount.clamp(0, AMOUNT_MAX);
        let noted = self.minute.as_ref().is_none_or(|minute| self.note(minute, now, amount));
        if noted {
            self.free.fetch_sub(amount, SeqCst);
        }
    }

    /// What counts now: what runs at once, under the age 0, or what was taken in each of the last seconds, under its age.
    pub fn taken(&self, now: Second) -> Vec<(u64, i64)> {
        self.sweep(now);
        match &self.minute {
            Some(minute) => minute.noted(now),
            None => vec![(0, self.limit() - self.free())],
        }
    }

    /// The same of a process before this one counts here, too.
    pub fn succeed(&self, taken: &[(u64, i64)], now: Second) {
        for (age, amount) in taken {
            let at = Second(now.0.saturating_sub(*age));
            if self.minute.as_ref().is_none_or(|minute| self.note(minute, at, *amount)) {
                self.free.fetch_sub(*amount, SeqCst);
            }
        }
    }

    /// Says how much of this limit shards hold for later: more (or, with a negative amount, less) than before.
    pub fn lend(&self, amount: i64) {
        if amount != 0 {
            self.lent.fetch_add(amount, SeqCst);
        }
    }

    /// What shards hold for later, at most.
    pub fn lent(&self) -> i64 {
        self.lent.load(SeqCst)
    }

    /// Asks every shard to bring back what it holds for later, at its next tick.
    pub fn recall(&self, until_us: u64) {
        self.recall_until_us.fetch_max(until_us, SeqCst);
    }

    /// Is a recall under way?
    pub fn recalled(&self, now_us: u64) -> bool {
        self.recall_until_us.load(SeqCst) > now_us
    }

    /// Whole seconds until `need` can be taken, 1 to `RETRY_SECONDS_MAX`, if nobody else takes it.
    pub fn retry_after(&self, need: i64, now: Second) -> u64 {
        let Some(minute) = &self.minute else { return CONCURRENT_RETRY_SECONDS };
        let missing = need.saturating_sub(self.free());
        minute.seconds_until(missing, now).unwrap_or(RETRY_SECONDS_MAX).clamp(1, RETRY_SECONDS_MAX)
    }

    /// Counts a refusal.
    pub fn note_refusal(&self, at_ms: u64) {
        self.refused.fetch_add(1, SeqCst);
        self.refused_at_ms.store(at_ms, SeqCst);
    }

    /// Refusals since the start, and when the last one was, Unix milliseconds.
    pub fn refusals(&self) -> (u64, Option<u64>) {
        (self.refused.load(SeqCst), Some(self.refused_at_ms.load(SeqCst)).filter(|at| *at > 0))
    }

    /// `free` and everything noted, which is the limit when nothing moves (tests).
    #[cfg(test)]
    pub(crate) fn whole(&self) -> i64 {
        self.free() + self.minute.as_ref().map_or(0, Minute::sum)
    }
}

#[cfg(test)]
mod tests;
