//! What an answer costs where several models worked on it. The rules are the providers' own ("Refusals and fallback",
//! "Fallback credit", "Compaction"; contract.md §4.2 and §7.2):
//!
//! - Compaction is billed in addition, at the rate of the model asked for; advice in addition, at its own model's rate.
//! - With a `fallback_message` among the iterations the counts at the top tell of that attempt only, so each attempt is billed
//!   by its entry, at its own model's rate. One that declined before it said anything is reported, and not charged.
//!   The credit that such a turn carries by itself shows in no field; its entries are billed as they are reported.
//! - A `fallback` block without such an entry (the stream broke off before its last counts) does not tell which model ran how
//!   many tokens: the dearer reading holds.
//! - A refusal without fallback is billed as its usage says.
//! - A redeemed credit bills what this model's cache had to be written with, for the prefix that was warm on the model that
//!   refused, as reads. Not told: how long that prefix was, so all writes of the answer count as reads. Where the retry wrote
//!   more than the prefix, this is too little by 1.15 (or 1.9) times the input price of the rest; the usage objects are kept, so
//!   that it can be computed again when a provider says more.

use super::{
    UsageTally,
    hops::{Hop, HopKind},
};
use crate::kernel::{
    money::Nanos,
    pricing::{Bill, Rates},
    usage::Usage,
};

/// What an answer used in all, and what that costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Billed {
    /// All tokens that are billed, whichever model they ran on.
    pub usage: Usage,
    /// The cost, rounded once.
    pub cost: Nanos,
}

impl UsageTally {
    /// Prices an answer. `message` is what the message itself used: [`UsageTally::usage`], or more where weir knows better.
    /// `own` are the rates of the model asked for, `quote` finds those of another. Allocates nothing.
    pub fn bill(&self, message: &Usage, own: &Rates, quote: impl Fn(&str) -> Rates) -> Billed {
        if self.hops.is_empty() && self.fallback_to.is_none() && !self.credit_redeemed {
            return Billed { usage: *message, cost: own.cost(message) };
        }
        let (mut usage, mut bill) = self.message(message, own, &quote);
        for hop in &self.hops {
            let used = self.used(hop);
            bill = match (hop.kind, hop.model.as_deref()) {
                (HopKind::Compaction, _) => bill.with(own, &used),
                (HopKind::Advisor, Some(model)) => bill.with(&quote(model), &used),
                _ => continue,
            };
            usage = usage.plus(&used);
        }
        Billed { usage, cost: bill.total() }
    }

    fn message(&self, message: &Usage, own: &Rates, quote: &impl Fn(&str) -> Rates) -> (Usage, Bill) {
        if let Some(serving) = self.served_by_fallback() {
            return self.attempts(message, serving, own, quote);
        }
        let priced = self.credited(*message);
        let asked = Bill::default().with(own, &priced);
        let served = self.fallback_to.as_deref().map(|model| Bill::default().with(&quote(model), &priced));
        (*message, served.map_or(asked, |served| served.max(asked)))
    }

    /// Each attempt by itself; searches are told for the whole answer only, and cost the same everywhere.
    fn attempts(&self, message: &Usage, serving: &str, own: &Rates, quote: &impl Fn(&str) -> Rates) -> (Usage, Bill) {
        let mut usage = Usage { web_search: message.web_search, ..message.flags() };
        let mut bill = Bill::default().with(own, &usage);
        for hop in self.hops.iter().filter(|hop| matches!(hop.kind, HopKind::Message | HopKind::Fallback)) {
            let model = hop.model.as_deref();
            if hop.usage.output == 0 && hop.kind == HopKind::Message && model != Some(serving) {
                continue;
            }
            let used = self.used(hop);
            let rates = model.map_or(*own, quote);
            let priced = if hop.kind == HopKind::Fallback { self.credited(used) } else { used };
            bill = bill.with(&rates, &priced);
            usage = usage.plus(&used);
        }
        (usage, bill)
    }

    fn served_by_fallback(&self) -> Option<&str> {
        self.hops.iter().find(|hop| hop.kind == HopKind::Fallback)?.model.as_deref()
    }

    fn used(&self, hop: &Hop) -> Usage {
        Usage {
            fast: hop.fast.unwrap_or(self.seen.fast),
            batch: self.seen.batch,
            geo_us: self.seen.geo_us,
            ..hop.usage
        }
    }

    fn credited(&self, usage: Usage) -> Usage {
        if !self.credit_redeemed {
            return usage;
        }
        let written = usage.cache_write_5m.saturating_add(usage.cache_write_1h);
        let cache_read = usage.cache_read.saturating_add(written);
        Usage { cache_read, cache_write_5m: 0, cache_write_1h: 0, ..usage }
    }
}
