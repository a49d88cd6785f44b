//! One shard's leases, and several shards' together.

mod attack;

use super::*;
use crate::kernel::{account::Scope, window::Period, window::Window};
use proptest::prelude::*;

const NOW: UnixMs = UnixMs(1_000_000);

fn account(amount: i64, shards: usize) -> Arc<Account> {
    Arc::new(Account::new(
        AccountId(0),
        Scope::Org,
        Period::Monthly,
        Window::ALWAYS,
        Nanos(amount),
        Nanos::ZERO,
        shards,
    ))
}

fn admit(book: &mut LeaseBook, account: &Arc<Account>, bound: i64, expected: i64) -> Decision {
    let ask = Ask { bound: Nanos(bound), expected: Nanos(expected), exact: true };
    book.admit([Touch { account, mode: Mode::Hard }], ask, Reserve::Expected, NOW)
}

fn admitted(decision: Decision) -> Reservation {
    match decision {
        Decision::Admitted(reservation) => reservation,
        other => panic!("not admitted: {other:?}"),
    }
}

#[test]
fn a_spent_account_refuses_and_says_which() {
    let (a, b) = (
        account(100, 1),
        Arc::new(Account::new(AccountId(1), Scope::Org, Period::Daily, Window::ALWAYS, Nanos(5), Nanos(5), 1)),
    );
    let mut book = LeaseBook::new(0, 1);
    let touches = [Touch { account: &a, mode: Mode::Hard }, Touch { account: &b, mode: Mode::Hard }];
    let ask = Ask { bound: Nanos(10), expected: Nanos(10), exact: true };
    assert!(matches!(book.admit(touches, ask, Reserve::Expected, NOW), Decision::Spent(1)));
    assert_eq!(a.reserved(), Nanos::ZERO, "none is held where one refuses");
    assert_eq!(b.last_denial().unwrap().needed, Nanos(10));
}

fn account_until(id: u32, end: i64, spent: i64) -> Arc<Account> {
    let window = Window { start: 0, end };
    Arc::new(Account::new(AccountId(id), Scope::Org, Period::Daily, window, Nanos(100), Nanos(spent), 2))
}

#[test]
fn of_two_spent_accounts_the_one_that_resets_first_is_told_or_one_to_wait_for() {
    let (soon, late, busy) = (account_until(0, 2000, 100), account_until(1, 9000, 100), account_until(2, 9999, 99));
    assert!(busy.enter_serial(77), "somebody else has its last room");
    let mut book = LeaseBook::new(0, 1);
    let ask = Ask { bound: Nanos(10), expected: Nanos(10), exact: true };
    for (accounts, told) in [([&soon, &late, &busy], 1), ([&busy, &late, &soon], 1), ([&late, &busy, &soon], 0)] {
        let touches = accounts.map(|account| Touch { account, mode: Mode::Hard });
        let decision = book.admit(touches, ask, Reserve::Expected, NOW);
        assert!(matches!(decision, Decision::Spent(place) if place == told), "{decision:?}");
    }
}

#[test]
fn a_bound_that_gets_tighter_takes_the_last_room_from_all_others() {
    let a = account(100, 1);
    let mut book = LeaseBook::new(0, 1);
    let touches = [Touch { account: &a, mode: Mode::Hard }];
    let loose = Ask { bound: Nanos(5000), expected: Nanos(5000), exact: false };
    assert!(matches!(book.admit(touches, loose, Reserve::Expected, NOW), Decision::Wait));
    let strict = book.admit(touches, loose, Reserve::Strict, NOW);
    assert!(matches!(strict, Decision::Spent(0)) && a.last_denial().is_none(), "nobody has been denied yet");
    let (_one, _two) = (admitted(admit(&mut book, &a, 40, 40)), admitted(admit(&mut book, &a, 40, 40)));
}

#[test]
fn an_account_new_to_a_shard_looks_untouched() {
    let mut book = LeaseBook::new(0, 1);
    assert_eq!(book.utilization(&account_until(0, 2000, 90)), 0.9);
}

#[test]
fn a_window_that_ends_under_the_last_request_moves_its_cost_to_another_account() {
    let after = UnixMs(3_000_000);
    let (old, new) = (account_until(0, 2000, 0), account_until(1, 9000, 0));
    let mut book = LeaseBook::new(0, 1);
    // Another shard holds all the room, so that the last request in reserves nothing here.
    assert_eq!(old.draw(1, Nanos(100)), Nanos(100));
    let last = admitted(admit(&mut book, &old, 101, 101));
    assert_eq!(last.amount(), Nanos::ZERO);
    book.tick(after);
    let _place = book.utilization(&new);
    book.settle(last, Nanos(7));
    assert_eq!((old.spent(), new.spent()), (Some(Nanos(7)), Some(Nanos::ZERO)));
    assert!(old.enter_serial(1), "its place is free again");
}

#[test]
fn near_the_cap_requests_go_one_at_a_time_and_overrun_by_one_at_most() {
    let a = account(100, 1);
    let mut book = LeaseBook::new(0, 1);
    let first = admitted(admit(&mut book, &a, 90, 90));
    book.settle(first, Nanos(60));
    let last = admitted(admit(&mut book, &a, 90, 90));
    assert!(matches!(admit(&mut book, &a, 90, 90), Decision::Wait));
    book.settle(last, Nanos(90));
    assert!(matches!(admit(&mut book, &a, 90, 90), Decision::Spent(0)));
    assert_eq!(a.spent(), Some(Nanos(150)));
}

#[test]
fn a_second_request_overruns_what_running_ones_have_reserved() {
    let a = account(100, 2);
    let (mut one, mut two) = (LeaseBook::new(0, 2), LeaseBook::new(1, 2));
    let running = admitted(admit(&mut one, &a, 60, 60));
    let last = admitted(admit(&mut two, &a, 90, 90));
    two.settle(last, Nanos(90));
    assert!(matches!(admit(&mut two, &a, 90, 90), Decision::Wait), "10 are left, but 60 of them are reserved");
    one.settle(running, Nanos(60));
    assert!(matches!(admit(&mut two, &a, 90, 90), Decision::Spent(0)));
    assert_eq!(a.spent(), Some(Nanos(150)));
}

#[test]
fn an_overrun_is_spent_a_second_time_from_another_shards_lease() {
    let a = account(100, 2);
    let (mut one, mut two) = (LeaseBook::new(0, 2), LeaseBook::new(1, 2));
    let short = admitted(admit(&mut two, &a, 100, 100));
    two.settle(short, Nanos(10));
    for cost in [80, 70] {
        let last = admitted(admit(&mut one, &a, 500, 500));
        one.settle(last, Nanos(cost));
    }
    assert!(matches!(admit(&mut two, &a, 50, 50), Decision::Spent(0)), "its lease of 90 is gone with the overrun");
    assert_eq!(a.spent(), Some(Nanos(160)));
}

#[test]
fn nobody_is_refused_for_money_that_another_shard_only_holds() {
    let a = account(1000, 2);
    let (mut one, mut two) = (LeaseBook::new(0, 2), LeaseBook::new(1, 2));
    let all = admitted(admit(&mut one, &a, 1000, 1000));
    one.settle(all, Nanos(10));
    assert!(matches!(admit(&mut two, &a, 500, 500), Decision::Wait));
    one.tick(NOW);
    let _held = admitted(admit(&mut two, &a, 500, 500));
}

#[test]
fn strict_never_passes_the_cap() {
    let a = account(100, 1);
    let mut book = LeaseBook::new(0, 1);
    let touches = [Touch { account: &a, mode: Mode::Hard }];
    let ask = Ask { bound: Nanos(60), expected: Nanos(1), exact: true };
    let held = admitted(book.admit(touches, ask, Reserve::Strict, NOW));
    assert!(matches!(book.admit(touches, ask, Reserve::Strict, NOW), Decision::Wait));
    book.settle(held, Nanos(60));
    assert!(matches!(book.admit(touches, ask, Reserve::Strict, NOW), Decision::Spent(0)));
}

#[test]
fn a_soft_budget_only_counts() {
    let a = account(1, 1);
    let mut book = LeaseBook::new(0, 1);
    let ask = Ask { bound: Nanos(60), expected: Nanos(60), exact: true };
    for _ in 0..3 {
        let held = admitted(book.admit([Touch { account: &a, mode: Mode::Soft }], ask, Reserve::Expected, NOW));
        book.settle(held, Nanos(50));
    }
    assert_eq!(a.spent(), Some(Nanos(150)));
}

proptest! {
    /// Whatever the order of requests and ticks on several shards: money is conserved to the nano-dollar, and the cap is
    /// passed by at most one request's cost as long as a request costs no more than was expected of it.
    #[test]
    fn money_is_conserved_and_the_cap_holds(
        steps in prop::collection::vec((0usize..3, 0u8..4, 1i64..60, 0i64..=100, 0i64..=100), 1..200),
        cap in 1i64..500,
    ) {
        let a = account(cap, 3);
        let mut books: Vec<_> = (0..3).map(|shard| LeaseBook::new(shard, 3)).collect();
        let mut running: Vec<(usize, Reservation, i64)> = Vec::new();
        let (mut spent, mut dearest) = (0, 0);
        for (shard, what, bound, expected, share) in steps {
            let expected = bound * expected / 100;
            match what {
                0 | 1 => if let Decision::Admitted(r) = admit(&mut books[shard], &a, bound, expected) {
                    running.push((shard, r, expected * share / 100));
                },
                2 => if !running.is_empty() {
                    let (owner, r, cost) = running.swap_remove(bound as usize % running.len());
                    spent += cost;
                    dearest = dearest.max(cost);
                    books[owner].settle(r, Nanos(cost));
                },
                _ => { books[shard].tick(NOW); }
            }
            prop_assert_eq!(a.spent(), Some(Nanos(spent)));
        }
        for (owner, r, cost) in running {
            spent += cost;
            dearest = dearest.max(cost);
            books[owner].settle(r, Nanos(cost));
        }
        prop_assert!(spent <= cap + dearest, "spent {} of {} with requests of up to {}", spent, cap, dearest);
        for book in &mut books {
            for _ in 0..=IDLE_TICKS { book.tick(NOW); }
        }
        prop_assert_eq!(a.free(), Nanos(cap - spent));
    }
}
