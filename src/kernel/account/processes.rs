//! One account in two processes, while one replaces the other: what moves between them.

use super::{ASK_AGAIN_MAX, Account, Nanos};
use std::sync::atomic::Ordering::SeqCst;

impl Account {
    /// Another process decides from now on: what nobody here holds is its. What flows back later follows with the next call.
    /// Returns what was handed over now.
    pub fn hand_over(&self) -> Nanos {
        self.handed_over.store(true, SeqCst);
        let mut given = 0;
        if self.free.load(SeqCst) > 0 {
            self.moving(|| {
                given = self.free.swap(0, SeqCst);
                self.handed.fetch_add(given, SeqCst);
            });
        }
        Nanos(given)
    }

    /// The other process did not begin: everything is decided here again.
    pub fn take_back(&self) {
        self.moving(|| {
            let back = self.handed.swap(0, SeqCst);
            self.free.fetch_add(back, SeqCst);
        });
        self.handed_over.store(false, SeqCst);
    }

    /// Does another process decide?
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(SeqCst)
    }

    /// A request needs so much, and the room is another process's.
    pub fn want(&self, amount: Nanos) {
        self.wanted.fetch_max(amount.0, SeqCst);
    }

    /// What was wanted since this was asked last.
    pub fn wanted(&self) -> Nanos {
        Nanos(self.wanted.swap(0, SeqCst))
    }

    /// The other process has given so much room.
    pub fn grant(&self, amount: Nanos) {
        self.moving(|| {
            self.handed.fetch_sub(amount.0, SeqCst);
            self.free.fetch_add(amount.0, SeqCst);
        });
    }

    /// What this process can still spend by itself, and what it has spent, both of one moment.
    pub fn balance(&self) -> (Nanos, Nanos) {
        for _ in 0..ASK_AGAIN_MAX {
            let done = self.moves_done.load(SeqCst);
            let pool = self.free().plus(self.held());
            if let Some(spent) = self.spent()
                && self.moves_done.load(SeqCst) == done
                && self.free().plus(self.held()) == pool
            {
                return (pool, spent);
            }
            std::hint::spin_loop();
        }
        (self.free().plus(self.held()), self.spent_about())
    }

    /// Gives up to so much room to a process before this one. Returns what it got.
    pub fn lend(&self, want: Nanos) -> Nanos {
        let mut got = 0;
        self.moving(|| {
            let taken = self.free.fetch_update(SeqCst, SeqCst, |free| (free > 0).then(|| free - want.0.clamp(0, free)));
            got = taken.map_or(0, |before| want.0.clamp(0, before));
            self.lent.fetch_add(got, SeqCst);
        });
        Nanos(got)
    }

    /// A process before this one has so much room more than was known (or, negative, less), and has spent so much more.
    pub fn follow(&self, room: Nanos, spent: Nanos) {
        if room.0 != 0 || spent.0 != 0 {
            self.moving(|| {
                self.lent.fetch_add(room.0, SeqCst);
                self.free.fetch_sub(room.0.saturating_add(spent.0), SeqCst);
            });
        }
    }

    /// Begins as the account of the process before this one stands: so much is spent, so much has that process. To be called before
    /// a shard has drawn anything.
    pub fn succeed(&self, spent: Nanos, lent: Nanos) {
        self.moving(|| {
            self.lent.store(lent.0, SeqCst);
            self.free.store(self.amount().minus(spent).minus(lent).minus(self.held()).0, SeqCst);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{AccountId, Period, Scope, Window},
        *,
    };

    fn account(amount: i64, shards: usize) -> Account {
        Account::new(AccountId(0), Scope::Org, Period::Monthly, Window::ALWAYS, Nanos(amount), Nanos::ZERO, shards)
    }

    #[test]
    fn two_processes_have_one_room_or_spend_it_twice() {
        let (older, newer) = (account(100, 2), account(100, 1));
        assert_eq!(older.draw(0, Nanos(30)), Nanos(30));
        older.settle(0, Nanos(10));
        assert_eq!(older.hand_over(), Nanos(70));
        assert_eq!((older.balance(), older.draw(1, Nanos(5))), ((Nanos(20), Nanos(10)), Nanos::ZERO));
        newer.succeed(Nanos(10), Nanos(20));
        assert_eq!((newer.free(), newer.spent(), newer.reserved()), (Nanos(70), Some(Nanos(10)), Nanos(20)));
        // The older one's request ends dearer than it had reserved, by 5.
        older.settle(0, Nanos(25));
        older.give_back(0, Nanos(-5));
        assert_eq!(older.balance(), (Nanos(-5), Nanos(35)));
        newer.follow(Nanos(-25), Nanos(25));
        assert_eq!((newer.free(), newer.spent()), (Nanos(70), Some(Nanos(35))));
        // A request that it still admits gets its room from the newer one, and brings back what it did not need.
        let got = newer.lend(Nanos(1000));
        older.grant(got);
        assert_eq!((got, newer.free(), older.draw(0, Nanos(50))), (Nanos(70), Nanos::ZERO, Nanos(50)));
        older.settle(0, Nanos(40));
        older.give_back(0, Nanos(10));
        assert_eq!(older.hand_over(), Nanos(25));
        newer.follow(Nanos(-65), Nanos(40));
        assert_eq!((newer.free(), newer.spent(), older.spent()), (Nanos(25), Some(Nanos(75)), Some(Nanos(75))));
    }

    #[test]
    fn a_process_that_did_not_begin_keeps_the_room() {
        let a = account(100, 1);
        a.hand_over();
        a.take_back();
        assert_eq!((a.free(), a.spent(), a.is_handed_over()), (Nanos(100), Some(Nanos::ZERO), false));
    }
}
