//! The limiters of all rate limits, kept over reloads: shards hold slices of them and places in them, so a limiter must stay
//! the same object as long as its limit is configured.

use crate::kernel::{
    account::Scope,
    limiter::{Limiter, LimiterId, Measure},
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Every limiter, by whom and what it limits.
#[derive(Default)]
pub struct LimiterBook {
    limiters: HashMap<(Scope, Measure), Arc<Limiter>>,
    next_id: u32,
}

impl LimiterBook {
    /// The limiter of a scope and measure: the same object as before, with the new limit.
    pub fn open(&mut self, scope: &Scope, measure: Measure, limit: i64) -> Arc<Limiter> {
        if let Some(limiter) = self.limiters.get(&(scope.clone(), measure)) {
            if limiter.limit() != limit {
                limiter.set_limit(limit);
            }
            return limiter.clone();
        }
        let limiter = Arc::new(Limiter::new(LimiterId(self.next_id), scope.clone(), measure, limit));
        self.next_id += 1;
        self.limiters.insert((scope.clone(), measure), limiter.clone());
        limiter
    }

    /// Drops limiters that no rate limit uses any more; one that comes back starts unused.
    pub fn forget_all_but<'a>(&mut self, used: impl Iterator<Item = &'a Arc<Limiter>>) {
        let used: HashSet<LimiterId> = used.map(|limiter| limiter.id).collect();
        self.limiters.retain(|_, limiter| used.contains(&limiter.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reload_frees_the_places_of_running_requests() {
        let mut book = LimiterBook::default();
        let first = book.open(&Scope::Org, Measure::Concurrent, 2);
        first.draw(2, 0, Default::default());
        let second = book.open(&Scope::Org, Measure::Concurrent, 3);
        assert!(Arc::ptr_eq(&first, &second) && second.free() == 1);
        let other = book.open(&Scope::Org, Measure::Requests, 3);
        book.forget_all_but([&other].into_iter());
        let third = book.open(&Scope::Org, Measure::Concurrent, 2);
        assert!(third.id != first.id && third.free() == 2);
    }
}
