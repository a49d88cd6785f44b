//! Accounts over reloads and windows.

use super::*;
use crate::kernel::{
    account::{Mode, ScopeKind},
    rules::ScopePattern,
};

const DAY: i64 = 86_400;

fn nothing(_: &Scope, _: Window) -> Nanos {
    Nanos::ZERO
}

#[test]
fn a_reload_forgets_what_was_spent_or_leased() {
    let book = AccountBook::default();
    let scope = Scope::Team("platform".into());
    let first = book.open(&scope, Period::Daily, Nanos(100), &nothing, DAY);
    first[0].draw(1, Nanos(60));
    first[0].settle(1, Nanos(40));
    let asked = |_: &Scope, _: Window| -> Nanos { panic!("an open account is not opened again") };
    let second = book.open(&scope, Period::Daily, Nanos(150), &asked, DAY + 5);
    assert!(Arc::ptr_eq(&first[0], &second[0]) && Arc::ptr_eq(&first[1], &second[1]));
    assert_eq!((second[0].amount(), second[1].amount()), (Nanos(150), Nanos(150)));
    assert_eq!((second[0].spent(), second[0].free()), (Some(Nanos(40)), Nanos(90)));
}

#[test]
fn midnight_leaves_a_gap_without_an_account() {
    let book = AccountBook::default();
    let accounts = book.open(&Scope::Org, Period::Daily, Nanos(100), &nothing, DAY + 1);
    assert_eq!(accounts.len(), 2);
    assert_eq!(accounts[0].window.end, accounts[1].window.start);
    assert_eq!(book.next_rollover(DAY + 1), Some(2 * DAY));
    let later = book.open(&Scope::Org, Period::Daily, Nanos(100), &nothing, 2 * DAY);
    assert!(Arc::ptr_eq(&accounts[1], &later[0]));
    assert_eq!(book.next_rollover(2 * DAY), Some(3 * DAY));
}

#[test]
fn a_restart_gives_every_account_its_whole_amount_again() {
    let book = AccountBook::default();
    let spent = |scope: &Scope, window: Window| match scope {
        Scope::User(id) if id == "alice" && window.contains(DAY) => Nanos(70),
        _ => Nanos::ZERO,
    };
    let accounts = book.open(&Scope::User("alice".into()), Period::Monthly, Nanos(100), &spent, DAY);
    assert_eq!((accounts[0].free(), accounts[1].free()), (Nanos(30), Nanos(100)));
}

#[test]
fn a_total_gets_a_second_window_or_a_rollover() {
    let book = AccountBook::default();
    assert_eq!(book.open(&Scope::Org, Period::Total, Nanos(100), &nothing, DAY).len(), 1);
    assert_eq!(book.next_rollover(DAY), None);
    book.prune(i64::MAX);
    assert_eq!(book.accounts().len(), 1);
}

#[test]
fn two_accounts_that_are_alive_share_a_number() {
    let book = AccountBook::default();
    let old = book.open(&Scope::Org, Period::Daily, Nanos(1), &nothing, 0);
    book.open(&Scope::Org, Period::Weekly, Nanos(1), &nothing, 0);
    book.prune(3 * DAY);
    // A request that still settles on it keeps its number.
    book.open(&Scope::Org, Period::Daily, Nanos(1), &nothing, 3 * DAY);
    let ids: Vec<u32> = book.accounts().iter().map(|account| account.id.0).collect();
    assert!(ids.len() == 4 && !ids.contains(&old[0].id.0) && !ids.contains(&old[1].id.0), "{ids:?}");
}

#[test]
fn an_ended_window_disappears_while_requests_still_settle_on_it() {
    let book = AccountBook::default();
    book.open(&Scope::Org, Period::Daily, Nanos(1), &nothing, 0);
    book.prune(DAY + 3600);
    assert_eq!(book.accounts().len(), 2);
    book.prune(DAY + 3601);
    assert_eq!(book.accounts().len(), 1);
}

#[test]
fn a_budget_that_comes_back_starts_from_stale_numbers() {
    let book = AccountBook::default();
    let old = book.open(&Scope::Org, Period::Daily, Nanos(100), &nothing, DAY);
    book.keep(std::iter::empty(), &RuleSet::default(), DAY);
    assert!(book.accounts().is_empty());
    let new = book.open(&Scope::Org, Period::Daily, Nanos(100), &|_, _| Nanos(25), DAY);
    assert_ne!(old[0].id, new[0].id);
    assert_eq!(new[0].spent(), Some(Nanos(25)));
    // An ended window stays for the requests that still run in it.
    book.keep(std::iter::empty(), &RuleSet::default(), 2 * DAY);
    assert_eq!(book.accounts().len(), 1);
}

#[test]
fn a_reload_frees_the_places_of_running_requests() {
    let book = AccountBook::default();
    let first = book.open_limiter(&Scope::Org, Measure::Concurrent, 2);
    first.draw(2, 0, Default::default());
    let second = book.open_limiter(&Scope::Org, Measure::Concurrent, 3);
    assert!(Arc::ptr_eq(&first, &second) && second.free() == 1);
    let other = book.open_limiter(&Scope::Org, Measure::Requests, 3);
    book.keep_limiters([&other].into_iter(), &RuleSet::default());
    let third = book.open_limiter(&Scope::Org, Measure::Concurrent, 2);
    assert!(third.id != first.id && third.free() == 2);
}

fn rule(whom: ScopePattern, amount: i64) -> BudgetRule {
    let (amount, period) = (Nanos(amount), Period::Daily);
    BudgetRule { whom, amount, period, mode: Mode::Hard, blocked_message: "".into() }
}

#[test]
fn a_reload_forgets_the_callers_that_no_key_stands_for_or_keeps_their_old_amount() {
    let book = AccountBook::default();
    let registry = book.registry();
    let [bob, eve] = ["bob", "eve"].map(|user| {
        let window = Period::Daily.window(DAY);
        let key = AccountKey { scope: Scope::User(user.into()), period: Period::Daily, window };
        let make = |number| registry.account(&key, Nanos(100), Nanos::ZERO, number);
        registry.accounts.open_at_first_sight(&key, make).unwrap()
    });
    let each = rule(ScopePattern::Each(ScopeKind::User), 70);
    let own = rule(ScopePattern::One(ScopeKind::User, "eve".into()), 30);
    bob.draw(0, Nanos(10));
    bob.settle(0, Nanos(10));
    book.keep(std::iter::empty(), &RuleSet::new(vec![each, own.clone()]), DAY);
    assert_eq!((bob.amount(), bob.spent(), eve.amount()), (Nanos(70), Some(Nanos(10)), Nanos(30)));
    book.keep(std::iter::empty(), &RuleSet::new(vec![own]), DAY);
    let left = book.accounts();
    assert!(left.len() == 1 && Arc::ptr_eq(&left[0], &eve), "no rule limits bob any more");
    assert_eq!(registry.accounts.at_first_sight(), (1, 0));
}
