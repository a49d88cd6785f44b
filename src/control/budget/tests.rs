//! Accounts over reloads and windows.

use super::*;

const DAY: i64 = 86_400;

fn nothing(_: &Scope, _: Window) -> Nanos {
    Nanos::ZERO
}

#[test]
fn a_reload_forgets_what_was_spent_or_leased() {
    let mut book = AccountBook::default();
    let scope = Scope::Team("platform".into());
    let first = book.open(&scope, Period::Daily, Nanos(100), &nothing, DAY, 2);
    first[0].draw(1, Nanos(60));
    first[0].settle(1, Nanos(40));
    let asked = |_: &Scope, _: Window| -> Nanos { panic!("an open account is not opened again") };
    let second = book.open(&scope, Period::Daily, Nanos(150), &asked, DAY + 5, 2);
    assert!(Arc::ptr_eq(&first[0], &second[0]) && Arc::ptr_eq(&first[1], &second[1]));
    assert_eq!((second[0].amount(), second[1].amount()), (Nanos(150), Nanos(150)));
    assert_eq!((second[0].spent(), second[0].free()), (Some(Nanos(40)), Nanos(90)));
}

#[test]
fn midnight_leaves_a_gap_without_an_account() {
    let mut book = AccountBook::default();
    let accounts = book.open(&Scope::Org, Period::Daily, Nanos(100), &nothing, DAY + 1, 1);
    assert_eq!(accounts.len(), 2);
    assert_eq!(accounts[0].window.end, accounts[1].window.start);
    assert_eq!(book.next_rollover(DAY + 1), Some(2 * DAY));
    let later = book.open(&Scope::Org, Period::Daily, Nanos(100), &nothing, 2 * DAY, 1);
    assert!(Arc::ptr_eq(&accounts[1], &later[0]));
    assert_eq!(book.next_rollover(2 * DAY), Some(3 * DAY));
}

#[test]
fn a_restart_gives_every_account_its_whole_amount_again() {
    let mut book = AccountBook::default();
    let spent = |scope: &Scope, window: Window| match scope {
        Scope::User(id) if id == "alice" && window.contains(DAY) => Nanos(70),
        _ => Nanos::ZERO,
    };
    let accounts = book.open(&Scope::User("alice".into()), Period::Monthly, Nanos(100), &spent, DAY, 1);
    assert_eq!((accounts[0].free(), accounts[1].free()), (Nanos(30), Nanos(100)));
}

#[test]
fn a_total_gets_a_second_window_or_a_rollover() {
    let mut book = AccountBook::default();
    assert_eq!(book.open(&Scope::Org, Period::Total, Nanos(100), &nothing, DAY, 1).len(), 1);
    assert_eq!(book.next_rollover(DAY), None);
    book.prune(i64::MAX);
    assert_eq!(book.accounts().len(), 1);
}

#[test]
fn an_account_number_is_given_out_twice() {
    let mut book = AccountBook::default();
    book.open(&Scope::Org, Period::Daily, Nanos(1), &nothing, 0, 1);
    book.open(&Scope::Org, Period::Weekly, Nanos(1), &nothing, 0, 1);
    book.prune(3 * DAY);
    book.open(&Scope::Org, Period::Daily, Nanos(1), &nothing, 3 * DAY, 1);
    let ids: Vec<u32> = book.accounts().iter().map(|account| account.id.0).collect();
    assert_eq!(ids, [2, 3, 4, 5]);
}

#[test]
fn an_ended_window_disappears_while_requests_still_settle_on_it() {
    let mut book = AccountBook::default();
    book.open(&Scope::Org, Period::Daily, Nanos(1), &nothing, 0, 1);
    book.prune(DAY + 3600);
    assert_eq!(book.accounts().len(), 2);
    book.prune(DAY + 3601);
    assert_eq!(book.accounts().len(), 1);
}

#[test]
fn a_budget_that_comes_back_starts_from_stale_numbers() {
    let mut book = AccountBook::default();
    let old = book.open(&Scope::Org, Period::Daily, Nanos(100), &nothing, DAY, 1);
    book.forget_all_but(std::iter::empty(), DAY);
    assert!(book.accounts().is_empty());
    let new = book.open(&Scope::Org, Period::Daily, Nanos(100), &|_, _| Nanos(25), DAY, 1);
    assert_ne!(old[0].id, new[0].id);
    assert_eq!(new[0].spent(), Some(Nanos(25)));
    // An ended window stays for the requests that still run in it.
    book.forget_all_but(std::iter::empty(), 2 * DAY);
    assert_eq!(book.accounts().len(), 1);
}
