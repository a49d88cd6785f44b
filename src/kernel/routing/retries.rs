//! How many requests may become two: a bucket of tokens per upstream and shard. Every request that is first asked of an
//! upstream puts a share of a token in, every retry that the upstream's failure causes takes one out. So an upstream that
//! fails throughout cannot multiply the load on the others, and what clients retry themselves (Claude Code ten times,
//! contract.md §2.2) is not multiplied by ours.
//!
//! **The stated bound**, per shard and upstream, over any span: retries ≤ `BURST` + `SHARE` of its requests + `PER_SECOND` for
//! each second.

use crate::kernel::time::MonoUs;

/// Tokens of a full bucket.
pub const BURST: u64 = 50;
/// Tokens that come back by themselves, so that a quiet shard can always try again.
pub const PER_SECOND: u64 = 10;
/// Requests that earn one token: a fifth of all may be tried again.
pub const SHARE: u64 = 5;

/// A token, in the unit the bucket counts: fine enough for the share of one request and of one microsecond.
const TOKEN: u64 = 1_000_000;

/// The bucket of one upstream on one shard.
#[derive(Clone, Copy, Debug)]
pub struct RetryBudget {
    left: u64,
    as_of: MonoUs,
}

impl RetryBudget {
    /// A full one.
    pub fn new(now: MonoUs) -> Self {
        Self { left: BURST * TOKEN, as_of: now }
    }

    fn refill(&mut self, now: MonoUs) {
        let earned = now.since(self.as_of).saturating_mul(PER_SECOND);
        self.left = self.left.saturating_add(earned).min(BURST * TOKEN);
        self.as_of = self.as_of.max(now);
    }

    /// A request is first asked of the upstream.
    pub fn earn(&mut self) {
        self.left = (self.left + TOKEN / SHARE).min(BURST * TOKEN);
    }

    /// Could one be taken?
    pub fn has_one(&self, now: MonoUs) -> bool {
        let mut then = *self;
        then.refill(now);
        then.left >= TOKEN
    }

    /// Takes one for a retry. False if there is none: then the failure is the client's answer.
    pub fn take(&mut self, now: MonoUs) -> bool {
        self.refill(now);
        let enough = self.left >= TOKEN;
        if enough {
            self.left -= TOKEN;
        }
        enough
    }

    /// Whole tokens left.
    pub fn left(&self, now: MonoUs) -> u64 {
        let mut then = *self;
        then.refill(now);
        then.left / TOKEN
    }
}
