use super::*;

fn limiter(measure: Measure, limit: i64) -> Limiter {
    Limiter::new(LimiterId(0), Scope::Org, measure, limit)
}

#[test]
fn more_is_taken_in_a_minute_than_the_limit_allows() {
    let l = limiter(Measure::Requests, 10);
    assert_eq!((l.draw(4, 0, Second(100)), l.draw(4, 100, Second(130)), l.draw(1, 0, Second(130))), (4, 6, 0));
    assert_eq!((l.draw(1, 0, Second(160)), l.retry_after(1, Second(160))), (0, 1));
    assert_eq!((l.draw(5, 0, Second(161)), l.draw(4, 0, Second(161)), l.retry_after(1, Second(161))), (0, 4, 30));
    assert_eq!(l.whole(), 10);
}

#[test]
fn a_debt_is_forgotten_after_a_minute() {
    let l = limiter(Measure::OutputTokens, 100);
    l.debit(350, Second(100));
    assert_eq!((l.free(), l.retry_after(1, Second(100))), (-250, 60));
    for (second, free) in [(160, -250), (161, -150), (222, -50), (283, 50), (344, 100)] {
        l.sweep(Second(second));
        assert_eq!((l.free(), l.whole()), (free, 100), "at {second}");
    }
}

#[test]
fn what_was_not_used_comes_back_twice() {
    let l = limiter(Measure::InputTokens, 100);
    assert_eq!(l.draw(60, 0, Second(100)), 60);
    l.give_back(20, Second(100));
    assert_eq!((l.free(), l.whole()), (60, 100));
    l.sweep(Second(161));
    l.give_back(40, Second(100));
    assert_eq!((l.free(), l.whole()), (100, 100), "its minute was over, it had come back by itself");
}

#[test]
fn a_changed_limit_forgets_what_is_used() {
    let l = limiter(Measure::Concurrent, 3);
    assert_eq!(l.draw(3, 0, Second(100)), 3);
    l.set_limit(2);
    assert_eq!((l.free(), l.draw(1, 0, Second(900))), (-1, 0));
    l.give_back(2, Second(100));
    assert_eq!((l.draw(1, 0, Second(900)), l.retry_after(1, Second(900))), (1, 2));
}

#[test]
fn a_lowered_limit_blocks_for_as_many_minutes_as_it_was_higher() {
    let l = limiter(Measure::Requests, 60);
    assert_eq!((l.draw(30, 0, Second(100)), l.draw(20, 0, Second(110))), (30, 20));
    l.set_limit(5);
    assert_eq!((l.free(), l.whole(), l.draw(1, 0, Second(111))), (0, 5, 0));
    l.give_back(1, Second(110));
    l.sweep(Second(171));
    assert_eq!((l.free(), l.whole()), (5, 5), "a minute later all of it is there");
    l.set_limit(50);
    assert_eq!(l.draw(50, 0, Second(171)), 50);
}

#[test]
fn shards_racing_for_the_last_tokens_take_one_too_many() {
    let l = limiter(Measure::Requests, 10_000);
    for round in 0..4u64 {
        let start = 100 + round * 61;
        let taken: i64 = std::thread::scope(|s| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    s.spawn(|| {
                        let mut taken = 0;
                        for step in 0u64.. {
                            let at = Second(start + step / 1000 % 3);
                            let got = l.draw(3, 5, at);
                            if got == 0 {
                                return taken;
                            }
                            let unused = got / 3;
                            l.give_back(unused, at);
                            taken += got - unused;
                        }
                        taken
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert!(taken <= 10_000 && taken > 9_990, "{taken} in round {round}");
        assert_eq!(l.whole(), 10_000);
        l.sweep(Second(start + 63));
        assert_eq!(l.free(), 10_000, "all of it has come back");
    }
}
