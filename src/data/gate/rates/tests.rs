use super::*;
use crate::kernel::account::Scope;
use proptest::prelude::*;

const SECOND_US: u64 = 1_000_000;
const MESSAGE: RateAsk = RateAsk { requests_only: false, input_tokens: 100 };

fn limit(id: u32, measure: Measure, limit: i64) -> RateLimit {
    RateLimit { limiter: Arc::new(Limiter::new(LimiterId(id), Scope::Org, measure, limit)), cache_read_permille: 100 }
}

fn at(seconds: u64) -> MonoUs {
    MonoUs(seconds * SECOND_US)
}

fn admitted(decision: RateDecision) -> RateHolds {
    match decision {
        RateDecision::Admitted(held) => held,
        other => panic!("not admitted: {other:?}"),
    }
}

#[test]
fn a_limit_that_refuses_leaves_the_others_used() {
    let limits =
        [limit(0, Measure::Requests, 10), limit(1, Measure::InputTokens, 1000), limit(2, Measure::Concurrent, 1)];
    let mut book = RateBook::new(2);
    let first = admitted(book.admit(&limits, MESSAGE, at(1), true));
    for _ in 0..50 {
        assert!(matches!(book.admit(&limits, MESSAGE, at(1), true), RateDecision::Refused(2, 1..=60)));
    }
    book.settle(first, &Usage { input: 40, cache_read: 200, cache_write_1h: 5, ..Usage::default() }, at(1));
    book.tick(at(2));
    assert_eq!(limits.each_ref().map(|l| l.limiter.used(Second::of(at(2)))), [1, 65, 0]);
    let second = admitted(book.admit(&limits, MESSAGE, at(2), true));
    book.undo(second);
    book.tick(at(3));
    assert_eq!(limits.each_ref().map(|l| l.limiter.used(Second::of(at(3)))), [1, 65, 0], "undone, it never was");
}

#[test]
fn counting_tokens_is_held_to_the_limits_of_messages() {
    let limits =
        [limit(0, Measure::Concurrent, 1), limit(1, Measure::Requests, 2), limit(2, Measure::InputTokens, 100)];
    let mut book = RateBook::new(1);
    let _running = admitted(book.admit(&limits, MESSAGE, at(1), true));
    let counting = RateAsk { requests_only: true, ..MESSAGE };
    let held = admitted(book.admit(&limits, counting, at(1), true));
    book.settle(held, &Usage::default(), at(1));
    assert!(matches!(book.admit(&limits, counting, at(1), true), RateDecision::Refused(1, 60)));
}

#[test]
fn a_prompt_larger_than_the_limit_is_never_served() {
    let limits = [limit(0, Measure::InputTokens, 100)];
    let mut book = RateBook::new(1);
    let large = RateAsk { input_tokens: 5000, ..MESSAGE };
    let held = admitted(book.admit(&limits, large, at(1), true));
    book.settle(held, &Usage { input: 250, ..Usage::default() }, at(5));
    // 250 used, 100 come back each minute.
    assert!(matches!(book.admit(&limits, large, at(62), true), RateDecision::Refused(0, _)));
    assert_eq!(limits[0].limiter.free(), -50);
}

#[test]
fn an_answer_larger_than_the_limit_is_not_waited_out() {
    let limits = [limit(0, Measure::OutputTokens, 100)];
    let mut books = [RateBook::new(2), RateBook::new(2)];
    let held = admitted(books[0].admit(&limits, MESSAGE, at(1), true));
    books[0].settle(held, &Usage { output: 130, ..Usage::default() }, at(10));
    assert!(matches!(books[1].admit(&limits, MESSAGE, at(10), true), RateDecision::Refused(0, 60)));
    assert!(matches!(books[1].admit(&limits, MESSAGE, at(60), true), RateDecision::Refused(0, 11)));
    let _next = admitted(books[1].admit(&limits, MESSAGE, at(71), true));
}

#[test]
fn the_last_tokens_lie_unused_in_another_shards_slice() {
    let limits = [limit(0, Measure::Requests, 160)];
    let mut books = [RateBook::new(2), RateBook::new(2)];
    let _one = admitted(books[0].admit(&limits, MESSAGE, at(1), true));
    let mut served = 1;
    loop {
        match books[1].admit(&limits, MESSAGE, at(1), true) {
            RateDecision::Admitted(held) => books[1].settle(held, &Usage::default(), at(1)),
            RateDecision::Wait => books[0].tick(at(1)),
            RateDecision::Refused(..) => break,
        }
        served += 1;
        assert!(served < 400, "it ends");
    }
    assert_eq!(limits[0].limiter.used(Second::of(at(1))), 160, "all of it was used");
}

#[test]
fn a_forgotten_limiter_is_settled_on_another() {
    let limits = [limit(0, Measure::Concurrent, 1), limit(1, Measure::Concurrent, 1)];
    let mut book = RateBook::new(1);
    let running = admitted(book.admit([&limits[0]], MESSAGE, at(1), true));
    book.tick(at(500));
    let other = admitted(book.admit([&limits[1]], MESSAGE, at(500), true));
    book.settle(running, &Usage::default(), at(501));
    assert_eq!((limits[0].limiter.free(), limits[1].limiter.free()), (1, 0));
    book.settle(other, &Usage::default(), at(502));
    book.tick(at(1000));
    assert!(book.slots.iter().all(Option::is_none), "nobody asks for them any more");
}

/// One step of a shard: which, what, how long after the step before (milliseconds), how many tokens.
type Step = (usize, u8, u64, u64);

proptest! {
    /// Whatever the order of requests, ends, ticks and pauses on three shards: no sixty seconds hold more than the limit,
    /// nobody is refused while there is room, and in the end everything comes back.
    #[test]
    fn no_minute_holds_more_than_the_limit_and_no_shard_is_starved(
        steps in prop::collection::vec((0usize..3, 0u8..8, 0u64..3000, 0u64..400), 1..300),
        most in 1i64..40,
        input_most in 1i64..2000,
    ) {
        let limits = [limit(0, Measure::Requests, most), limit(1, Measure::InputTokens, input_most), limit(2, Measure::Concurrent, 5)];
        run(&limits, &steps)?;
    }
}

/// Does an admission still count? Whole seconds do, so each counts for a minute and up to one second.
fn counts(then: u64, now: u64) -> bool {
    now / SECOND_US - then / SECOND_US <= 60
}

fn run(limits: &[RateLimit; 3], steps: &[Step]) -> Result<(), TestCaseError> {
    let mut books: Vec<_> = (0..3).map(|_| RateBook::new(3)).collect();
    let mut running: Vec<(usize, RateHolds)> = Vec::new();
    let mut admissions: Vec<u64> = Vec::new();
    let mut now = at(1).0;
    for (shard, what, pause_ms, tokens) in steps.iter().copied() {
        now += pause_ms * 1000;
        match what {
            0..=3 => {
                let ask = RateAsk { requests_only: false, input_tokens: tokens };
                let mut decision = books[shard].admit(limits, ask, MonoUs(now), true);
                for _ in 0..4 {
                    if matches!(decision, RateDecision::Wait) {
                        now += 20_000;
                        books.iter_mut().for_each(|book| book.tick(MonoUs(now)));
                        decision = books[shard].admit(limits, ask, MonoUs(now), true);
                    }
                }
                match decision {
                    RateDecision::Admitted(held) => {
                        running.push((shard, held));
                        admissions.push(now);
                    }
                    RateDecision::Wait => prop_assert!(false, "a recall takes one tick"),
                    RateDecision::Refused(0, wait) => {
                        let most = limits[0].limiter.limit();
                        let counted = |at: u64| admissions.iter().filter(|then| counts(**then, at)).count() as i64;
                        prop_assert!(counted(now) >= most, "{} admitted, there is room", counted(now));
                        let then = now + wait * SECOND_US;
                        prop_assert!(wait == 60 || counted(then) < most, "still no room after {wait} s");
                    }
                    RateDecision::Refused(2, _) => prop_assert_eq!(running.len(), 5),
                    RateDecision::Refused(_, wait) => prop_assert!((1..=60).contains(&wait)),
                }
            }
            4 | 5 if !running.is_empty() => {
                let (owner, held) = running.swap_remove(tokens as usize % running.len());
                books[owner].settle(held, &Usage { input: tokens, ..Usage::default() }, MonoUs(now));
            }
            _ => books[shard].tick(MonoUs(now)),
        }
        let minute = admissions.iter().filter(|then| now - **then < 60 * SECOND_US).count();
        prop_assert!(minute as i64 <= limits[0].limiter.limit(), "{} in sixty seconds", minute);
        prop_assert!(running.len() <= 5);
        for limit in &limits[..2] {
            prop_assert_eq!(limit.limiter.whole(), limit.limiter.limit());
        }
    }
    for (owner, held) in running {
        books[owner].settle(held, &Usage::default(), MonoUs(now));
    }
    // A debt comes back by a limit's worth each minute.
    for _ in 0..1000 {
        now += 61 * SECOND_US;
        limits.iter().for_each(|limit| limit.limiter.sweep(Second::of(MonoUs(now))));
    }
    books.iter_mut().for_each(|book| book.tick(MonoUs(now)));
    for limit in limits {
        prop_assert_eq!((limit.limiter.free(), limit.limiter.lent()), (limit.limiter.limit(), 0));
    }
    Ok(())
}
