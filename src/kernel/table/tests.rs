//! Many threads, one entry.

use super::*;
use crate::kernel::{
    account::{Account, AccountId, Session},
    money::Nanos,
    window::{Period, Window},
};
use std::{
    sync::Barrier,
    time::{Duration, Instant},
};

type Table = SharedTable<Scope, Account>;

fn user(n: usize) -> Scope {
    Scope::User(format!("user-{n}"))
}

fn session(n: usize) -> Scope {
    Scope::Session(Box::new(Session { key: "k".into(), user: "u".into(), id: format!("s{n}") }))
}

fn make(scope: &Scope) -> impl Fn(Number) -> Account {
    move |number| {
        let id = AccountId(0);
        let (amount, spent) = (Nanos(1000), Nanos(400));
        Account::new(id, scope.clone(), Period::Total, Window::ALWAYS, amount, spent, 4).numbered(number)
    }
}

fn seen(table: &Table, scope: &Scope) -> Option<Arc<Account>> {
    table.open_at_first_sight(scope, make(scope))
}

#[test]
fn shards_that_see_a_caller_at_the_same_time_give_it_two_accounts() {
    const USERS: usize = 200;
    let (table, start) = (Table::default(), Barrier::new(4));
    let opened: Vec<Vec<Arc<Account>>> = std::thread::scope(|scope| {
        let shards: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..USERS).map(|n| seen(&table, &user(n)).unwrap()).collect()
                })
            })
            .collect();
        shards.into_iter().map(|shard| shard.join().unwrap()).collect()
    });
    for (n, first) in opened[0].iter().enumerate() {
        assert!(opened.iter().all(|shard| Arc::ptr_eq(&shard[n], first)));
        assert_eq!((first.free(), first.spent()), (Nanos(600), Some(Nanos(400))));
    }
    assert_eq!((table.len(), table.at_first_sight()), (USERS, (USERS, 0)));
    assert!(opened[0].iter().all(|account| account.id.0 < 4 * USERS as u32), "numbers stay small");
}

#[test]
fn an_account_is_closed_while_a_shard_uses_it() {
    // One thread closes whatever nobody holds, the others take it and leave. They go on until it met them between
    // two holds: how soon that is lies with the scheduler.
    let (table, closed) = (Table::default(), AtomicU64::new(0));
    let deadline = Instant::now() + Duration::from_secs(60);
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut turns = 0;
                    while turns < 20_000 || closed.load(SeqCst) == 0 && Instant::now() < deadline {
                        let account = seen(&table, &session(1)).unwrap();
                        let there = table.find(&session(1)).unwrap();
                        assert!(Arc::ptr_eq(&account, &there), "one is held, and yet another one is open");
                        turns += 1;
                    }
                })
            })
            .collect();
        while !shards.iter().all(|shard| shard.is_finished()) {
            closed.fetch_add(u64::from(table.remove_unused(&session(1))), SeqCst);
        }
    });
    assert!(closed.load(SeqCst) > 0, "the attack took place");
    table.remove_unused(&session(1));
    assert_eq!((table.len(), table.at_first_sight()), (0, (0, 0)));
}

#[test]
fn sessions_leave_no_room_for_users_or_the_table_grows_without_bound() {
    let table = Table::default();
    table.sessions.0.store(FIRST_SIGHT_SESSIONS_MAX, SeqCst);
    assert!(seen(&table, &session(1)).is_none());
    assert!(seen(&table, &user(1)).is_some());
    table.at_first_sight.0.store(FIRST_SIGHT_MAX, SeqCst);
    assert!(seen(&table, &user(2)).is_none());
    assert!(seen(&table, &user(1)).is_some(), "it is known");
    assert_eq!(table.refused(), 2);
    // The control plane's own are bounded by its configuration.
    let own = table.open(&user(3), make(&user(3)));
    assert!(!table.adopt(&own), "nor may it be kept for strangers");
    table.remove(&user(1), &seen(&table, &user(1)).unwrap());
    assert!(table.adopt(&own) && table.adopt(&own), "a place is free again");
    assert_eq!(table.at_first_sight().0, FIRST_SIGHT_MAX);
}
