//! What an upstream has lately been like, as one shard saw it.
//!
//! Passive: only real requests tell. An upstream that fails several times in a row, or half of the time, is ejected for a
//! cooldown that doubles from one ejection to the next; after it one request is let through as a trial, and its answer
//! decides. What has come back takes traffic up step by step (slow start), so that a cold account is not met by all at once.
//!
//! Three kinds of ejection, since they differ in what a request could still hope for:
//! - **dead**: not even a connection. Nothing can come of asking, so nobody does before the cooldown is over: one dial.
//! - **locked**: our credential is refused. Asking shows the same at once.
//! - **sick**: it answers, with errors or too late. If nobody else is left, asking is better than refusing.
//!
//! A 429 is no illness: the upstream works, the account is at its limit. The wait it names is kept with the target.

use super::{Failure, pick::Standing, retries::RetryBudget};
use crate::kernel::time::MonoUs;
use std::time::Duration;

/// Failures in a row that eject.
pub const FAILURES_IN_A_ROW: u32 = 5;
/// The first cooldown of what cannot be reached; short, since a restart takes about as long.
pub const DEAD_COOLDOWN: Duration = Duration::from_secs(1);
/// The first cooldown of what answers with errors.
pub const SICK_COOLDOWN: Duration = Duration::from_secs(2);
/// The first cooldown of what refuses our credential.
pub const LOCKED_COOLDOWN: Duration = Duration::from_secs(5);
/// The longest cooldown.
pub const COOLDOWN_MAX: Duration = Duration::from_secs(60);
/// How long an upstream that came back takes less than its share.
pub const SLOW_START: Duration = Duration::from_secs(20);
/// What it takes at first, thousandths of its share.
const FIRST_SHARE: u64 = 100;
/// The trend counts about so many of the last answers.
const TREND_OVER: u32 = 16;
/// Half of them failed.
const TREND_EJECTS: u32 = 500;

/// Why nobody is sent there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Illness {
    /// No connection.
    Dead,
    /// Our credential is refused.
    Locked,
    /// Errors, or no answers.
    Sick,
}

impl Illness {
    fn of(failure: Failure, status: u16) -> Option<Self> {
        match failure {
            Failure::Unreachable => Some(Self::Dead),
            // A 403 may be about one feature that one request asked for.
            Failure::Credential => (status == 401).then_some(Self::Locked),
            Failure::Error | Failure::Broken | Failure::TimedOut => Some(Self::Sick),
            Failure::NoRoom | Failure::NoModel | Failure::NotDone => None,
        }
    }

    fn cooldown(self) -> Duration {
        match self {
            Self::Dead => DEAD_COOLDOWN,
            Self::Locked => LOCKED_COOLDOWN,
            Self::Sick => SICK_COOLDOWN,
        }
    }

    /// The name in metrics and the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Locked => "locked",
            Self::Sick => "sick",
        }
    }
}

/// How an upstream is, for people to read; the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// In use.
    Well = 0,
    /// Back, and taking traffic up again.
    Recovering = 1,
    /// Ejected for errors.
    Sick = 2,
    /// Ejected, since it refuses our credential.
    Locked = 3,
    /// Ejected, since it cannot be reached.
    Dead = 4,
}

impl Condition {
    /// The condition of a number.
    pub fn of(number: u64) -> Self {
        [Self::Well, Self::Recovering, Self::Sick, Self::Locked, Self::Dead][number.min(4) as usize]
    }

    /// The name in metrics and the admin API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Recovering => "recovering",
            Self::Sick => Illness::Sick.as_str(),
            Self::Locked => Illness::Locked.as_str(),
            Self::Dead => Illness::Dead.as_str(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// In use.
    Well,
    /// Ejected until then; a trial after it.
    Ejected { illness: Illness, since: MonoUs, until: MonoUs, trial: bool },
}

/// The health of one upstream on one shard.
#[derive(Clone, Debug)]
pub struct Health {
    state: State,
    in_a_row: u32,
    /// Share of failures among the last answers, thousandths.
    trend: u32,
    answers: u32,
    /// Ejections without a recovery between them.
    ejections_in_a_row: u32,
    recovered_at: Option<MonoUs>,
    in_flight: u32,
    latency_us: u32,
    /// Ejections, ever.
    pub ejections: u64,
    /// Retries that its failures would have caused and for which it had no token, ever.
    pub retries_denied: u64,
    /// Its failures' retries.
    pub retries: RetryBudget,
}

/// The right to one attempt; it goes back through `finish`.
#[derive(Clone, Copy, Debug)]
#[must_use = "an attempt that is not finished counts as running for ever"]
pub struct Attempt {
    began: MonoUs,
    trial: bool,
}

impl Health {
    /// Of an upstream that nobody has asked yet.
    pub fn new(now: MonoUs) -> Self {
        Self {
            state: State::Well,
            in_a_row: 0,
            trend: 0,
            answers: 0,
            ejections_in_a_row: 0,
            recovered_at: None,
            in_flight: 0,
            latency_us: 0,
            ejections: 0,
            retries_denied: 0,
            retries: RetryBudget::new(now),
        }
    }

    /// What it takes now.
    #[inline]
    pub fn standing(&self, now: MonoUs) -> Standing {
        let share = match self.state {
            State::Well => self.recovered_at.map_or(1000, |at| slow_start(now.since(at))),
            State::Ejected { until, trial: false, .. } if until <= now => 1000,
            State::Ejected { .. } => 0,
        };
        Standing { share, in_flight: self.in_flight, latency_us: self.latency_us }
    }

    /// Why it is ejected, and until when; none if it is well.
    pub fn ejected(&self) -> Option<(Illness, MonoUs)> {
        match self.state {
            State::Well => None,
            State::Ejected { illness, until, .. } => Some((illness, until)),
        }
    }

    /// How it is, for people to read.
    pub fn condition(&self, now: MonoUs) -> Condition {
        match self.ejected() {
            Some((Illness::Dead, _)) => Condition::Dead,
            Some((Illness::Locked, _)) => Condition::Locked,
            Some((Illness::Sick, _)) => Condition::Sick,
            None if self.standing(now).share < 1000 => Condition::Recovering,
            None => Condition::Well,
        }
    }

    /// May a connection be made? Not to a dead upstream before its cooldown is over, and then by one request alone.
    pub fn may_dial(&self, now: MonoUs) -> bool {
        match self.state {
            State::Ejected { illness: Illness::Dead, until, trial, .. } => until <= now && !trial,
            _ => true,
        }
    }

    /// Begins an attempt.
    pub fn begin(&mut self, now: MonoUs) -> Attempt {
        self.in_flight += 1;
        let mut mine = false;
        if let State::Ejected { until, trial, .. } = &mut self.state
            && !*trial
            && *until <= now
        {
            (*trial, mine) = (true, true);
        }
        Attempt { began: now, trial: mine }
    }

    /// The upstream has begun to answer: it works. A 4xx is an answer too.
    pub fn answered(&mut self, attempt: &mut Attempt, now: MonoUs) {
        let latency = now.since(attempt.began).clamp(1, u64::from(u32::MAX)) as u32;
        self.latency_us = match self.latency_us {
            0 => latency,
            before => before - before / 8 + latency / 8,
        };
        self.in_a_row = 0;
        self.count(0);
        if let State::Ejected { since, .. } = self.state
            // What was asked before the ejection proves nothing about the time after it.
            && (attempt.trial || attempt.began > since)
        {
            self.state = State::Well;
            self.recovered_at = Some(now);
            (self.trend, self.answers) = (0, 0);
        }
        attempt.trial = false;
    }

    /// It has failed. `chance` spreads the cooldowns of several shards.
    pub fn failed(&mut self, attempt: &mut Attempt, failure: Failure, status: u16, now: MonoUs, chance: u64) {
        let Some(illness) = Illness::of(failure, status) else { return self.answered(attempt, now) };
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.count(1000);
        let at_once = attempt.trial || illness != Illness::Sick;
        let often = self.answers >= TREND_OVER && self.trend >= TREND_EJECTS;
        let was_out = matches!(self.state, State::Ejected { .. });
        if attempt.trial || (!was_out && (at_once || often || self.in_a_row >= FAILURES_IN_A_ROW)) {
            self.eject(illness, now, chance);
        }
        attempt.trial = false;
    }

    fn count(&mut self, failed: u32) {
        self.answers = self.answers.saturating_add(1).min(TREND_OVER);
        self.trend = (self.trend * (TREND_OVER - 1) + failed) / TREND_OVER;
    }

    fn eject(&mut self, illness: Illness, now: MonoUs, chance: u64) {
        // A relapse soon after coming back goes on where the last ejection was; health that lasted wipes it out.
        if self.recovered_at.is_some_and(|at| now.since(at) > COOLDOWN_MAX.as_micros() as u64) {
            self.ejections_in_a_row = 0;
        }
        let doubled = illness.cooldown().saturating_mul(1 << self.ejections_in_a_row.min(10)).min(COOLDOWN_MAX);
        // Up to a fifth longer, so that shards do not come back in step.
        let jitter = doubled / 1000 * (chance % 200) as u32;
        self.state = State::Ejected { illness, since: now, until: now.after(doubled + jitter), trial: false };
        self.ejections_in_a_row += 1;
        self.ejections += 1;
        self.in_a_row = 0;
    }

    /// The attempt is over, however. A trial that told nothing leaves its place to another.
    pub fn finish(&mut self, attempt: Attempt) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if attempt.trial
            && let State::Ejected { trial, .. } = &mut self.state
        {
            *trial = false;
        }
    }
}

fn slow_start(since_us: u64) -> u16 {
    let whole = SLOW_START.as_micros() as u64;
    (FIRST_SHARE + (1000 - FIRST_SHARE) * since_us.min(whole) / whole) as u16
}
