use super::*;
use proptest::prelude::*;

const SECOND: u64 = 1_000_000;

fn at(seconds: u64) -> MonoUs {
    MonoUs(seconds * SECOND)
}

fn ip(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn found(last: &[u8], ttl: u64) -> Option<Found> {
    Some(Found { addresses: last.iter().map(|n| ip(*n)).collect(), ttl: Some(Duration::from_secs(ttl)) })
}

fn book(names: &[&str]) -> Book {
    let mut book = Book::new(Settings::default());
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    book.follow(&names, &Settings::default(), at(0));
    book
}

#[test]
fn an_answer_is_used_beyond_its_time_or_asked_for_before_it() {
    let mut book = book(&["a"]);
    assert_eq!((book.due(at(0)), book.is_complete()), (vec!["a".to_owned()], false));
    assert!(book.told("a", found(&[1, 2], 60), at(0), 0));
    assert!(book.is_complete() && book.due(at(59)).is_empty());
    assert_eq!(book.next(), Some(at(60)));
    assert_eq!(book.due(at(60)).len(), 1);
    // In another order they are the same.
    assert!(!book.told("a", found(&[2, 1], 60), at(60), 99));
    assert!(book.due(at(125)).is_empty(), "spread by up to a tenth");
    assert_eq!(book.due(at(126)).len(), 1);
    for (ttl, seconds) in [(0, 5), (86_400, 600)] {
        book.told("a", found(&[1, 2], ttl), at(1000), 0);
        assert_eq!(book.next(), Some(at(1000 + seconds)), "a time to live of {ttl} s");
    }
    book.told("a", Some(Found { addresses: vec![ip(1), ip(2)], ttl: None }), at(2000), 0);
    assert_eq!(book.next(), Some(at(2030)), "nobody said how long it lives");
}

#[test]
fn a_name_service_that_fails_takes_the_upstream_down() {
    let mut book = book(&["a"]);
    book.told("a", found(&[1], 60), at(0), 0);
    let mut now = 60;
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert!(!book.told("a", if now % 2 == 0 { None } else { found(&[], 60) }, at(now), 0));
        assert_eq!(book.addresses("a").now, [ip(1)], "the last good ones stay");
        assert_eq!(book.next(), Some(at(now + pause)));
        now += pause;
    }
    book.told("a", found(&[1], 60), at(now), 0);
    book.told("a", None, at(now + 60), 0);
    assert_eq!(book.next(), Some(at(now + 61)), "what came back is forgiven");
}

#[test]
fn an_address_that_is_gone_is_used_for_ever_or_dropped_at_once() {
    let mut book = book(&["a"]);
    book.told("a", found(&[1, 2], 600), at(0), 0);
    assert!(book.told("a", found(&[2, 3], 600), at(100), 0));
    assert_eq!(book.addresses("a"), Addresses { now: vec![ip(2), ip(3)], before: vec![ip(1)] });
    assert_eq!(book.next(), Some(at(160)));
    assert!(!book.tidy(at(159)) && book.tidy(at(160)));
    assert!(book.addresses("a").before.is_empty());
    // Handed out again before its time was over, it is no old one.
    book.told("a", found(&[4], 600), at(200), 0);
    book.told("a", found(&[2, 4], 600), at(210), 0);
    assert_eq!(book.addresses("a"), Addresses { now: vec![ip(2), ip(4)], before: vec![ip(3)] });
}

#[test]
fn a_name_nobody_needs_any_more_is_asked_for() {
    let mut book = book(&["a", "b"]);
    book.told("a", found(&[1], 600), at(0), 0);
    book.told("b", found(&[2], 600), at(0), 0);
    book.follow(&["b".to_owned(), "c".to_owned()], &Settings::default(), at(1));
    assert_eq!(book.due(at(1)), ["c"]);
    assert!(!book.told("a", found(&[7], 600), at(2), 0), "an answer that came too late");
    assert_eq!(book.addresses("a"), Addresses::default());
    let others = Settings { servers: vec!["127.0.0.1:53".parse().unwrap()], ..Settings::default() };
    book.follow(&["b".to_owned()], &others, at(3));
    assert_eq!(book.due(at(3)), ["b"], "other servers may know it otherwise");
    assert_eq!(book.addresses("b").now, [ip(2)], "and until they say so it stays");
}

proptest! {
    /// Whatever is answered when: no address is both new and old, a name that ever resolved always has one, and no address that
    /// was handed out within `keep_old` is forgotten.
    #[test]
    fn an_address_is_lost_or_kept_twice(steps in prop::collection::vec((0u64..90, prop::option::of(prop::collection::btree_set(0u8..6, 0..4))), 1..40)) {
        let mut book = book(&["a"]);
        let (mut now, mut last_seen, mut ever) = (0, HashMap::new(), false);
        for (pause, answer) in steps {
            now += pause;
            book.tidy(at(now));
            // An address counts as handed out for as long as it was in the newest answer.
            for old in book.addresses("a").now {
                last_seen.insert(old, now);
            }
            let some = answer.as_ref().is_some_and(|a| !a.is_empty());
            ever |= some;
            book.told("a", answer.map(|a| Found { addresses: a.into_iter().map(ip).collect(), ttl: None }), at(now), 0);
            let Addresses { now: new, before } = book.addresses("a");
            prop_assert_eq!(ever, !new.is_empty());
            prop_assert!(new.iter().all(|address| !before.contains(address)));
            for (address, seen) in &last_seen {
                if now - seen < 60 {
                    prop_assert!(new.contains(address) || before.contains(address), "{address} at {now}, seen {seen}");
                }
            }
        }
    }
}
