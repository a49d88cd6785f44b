//! Tests named after what they prevent.

use super::{
    class::{Class, Shedding},
    fair::{Entered, FairSlots, KEPT_BACK, Room, Ticket, Verdict},
};
use crate::kernel::time::MonoUs;
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

const START: MonoUs = MonoUs(1_000_000);
const LATER: MonoUs = MonoUs(9_000_000);

fn slots(slots: usize, waiting_max: usize) -> FairSlots {
    FairSlots::new(Room { slots, waiting_max })
}

fn ticket(entered: Entered) -> Ticket {
    match entered {
        Entered::Waits(ticket) => ticket,
        other => panic!("it should wait: {other:?}"),
    }
}

fn told(slots: &mut FairSlots) -> HashMap<Ticket, Verdict> {
    slots.verdicts().collect()
}

#[test]
fn a_label_raises_a_request_above_those_that_say_nothing() {
    for label in ["", "main", "compaction", "urgent", "MAIN", "something-new"] {
        assert_eq!(Class::of(label), Class::Main, "{label}");
    }
    for (label, class) in
        [("subagent", Class::Subagent), ("workflow", Class::Subagent), ("auxiliary", Class::Auxiliary)]
    {
        assert_eq!(Class::of(label), class);
        assert!(class > Class::of(""), "a label only ever lowers");
    }
    let shedding = Shedding::default();
    for used in 0..=100 {
        let sheds = Class::ALL.map(|class| shedding.sheds(class, used, 100));
        assert_eq!(sheds, [false, used >= 90, used >= 80], "{used} of 100");
    }
    let never = Shedding { subagent_percent: 100, auxiliary_percent: 100 };
    assert!(Class::ALL.iter().all(|class| !never.sheds(*class, 100, 100)));
}

#[test]
fn a_loop_that_came_first_is_served_before_somebody_who_holds_nothing() {
    let mut all = slots(4, 1000);
    let mut mine: Vec<_> = (0..4).map(|_| all.enter(1, Class::Main, LATER)).collect();
    assert_eq!(mine, [Entered::Granted; 4]);
    mine = (0..500).map(|_| all.enter(1, Class::Main, LATER)).collect();
    let other = ticket(all.enter(2, Class::Main, LATER));
    all.leave(1);
    assert_eq!(told(&mut all), HashMap::from([(other, Verdict::Granted)]), "500 came before");
    all.leave(2);
    assert_eq!(told(&mut all), HashMap::from([(ticket(mine[0]), Verdict::Granted)]));
}

#[test]
fn a_loop_of_long_streams_leaves_no_slot_to_whoever_comes_next() {
    let count = 4 * KEPT_BACK;
    let mut all = slots(count, 1000);
    let entered: Vec<_> = (0..count).map(|_| all.enter(1, Class::Main, LATER)).collect();
    let granted = entered.iter().filter(|entered| **entered == Entered::Granted).count();
    assert_eq!((granted, all.taken()), (count - 4, count - 4), "the last sixteenth is not for it");
    assert_eq!(all.enter(2, Class::Auxiliary, LATER), Entered::Granted, "at once, although others wait");
    assert_eq!(all.enter(3, Class::Main, LATER), Entered::Granted);
    assert_eq!(told(&mut all), HashMap::new());
}

#[test]
fn a_full_queue_refuses_a_newcomer_for_the_sake_of_a_loop() {
    let mut all = slots(1, 4);
    assert_eq!(all.enter(9, Class::Main, LATER), Entered::Granted);
    let first = ticket(all.enter(1, Class::Main, LATER));
    let lesser = ticket(all.enter(1, Class::Auxiliary, LATER));
    let third = ticket(all.enter(1, Class::Main, LATER));
    ticket(all.enter(2, Class::Main, LATER));
    // A newcomer takes the place of the longest line's least important request, then of its last.
    let newcomer = ticket(all.enter(3, Class::Auxiliary, LATER));
    assert_eq!(told(&mut all), HashMap::from([(lesser, Verdict::Displaced)]));
    ticket(all.enter(4, Class::Main, LATER));
    assert_eq!(told(&mut all), HashMap::from([(third, Verdict::Displaced)]));
    // Now everybody waits with one request, and nobody is worse than the next who comes.
    assert_eq!(all.enter(5, Class::Main, LATER), Entered::Refused);
    assert_eq!(all.enter(1, Class::Main, LATER), Entered::Refused);
    // But of its own a principal gives up what matters less.
    let own = ticket(all.enter(3, Class::Main, LATER));
    assert_eq!(told(&mut all), HashMap::from([(newcomer, Verdict::Displaced)]));
    assert!(all.cancel(1, first) && !all.cancel(1, first) && all.cancel(3, own));
    assert_eq!(all.waiting(), 2);
}

#[test]
fn a_wait_goes_on_after_its_time_or_comes_to_life_again() {
    let mut all = slots(1, 10);
    assert_eq!(all.enter(1, Class::Main, START), Entered::Granted);
    let short = ticket(all.enter(2, Class::Main, START.after(Duration::from_millis(5))));
    let long = ticket(all.enter(2, Class::Main, LATER));
    all.expire(START);
    assert_eq!(told(&mut all), HashMap::new());
    all.expire(START.after(Duration::from_millis(5)));
    assert_eq!(told(&mut all), HashMap::from([(short, Verdict::Expired)]));
    all.leave(1);
    assert_eq!(told(&mut all), HashMap::from([(long, Verdict::Granted)]));
    all.expire(LATER);
    assert_eq!((told(&mut all), all.waiting(), all.taken()), (HashMap::new(), 0, 1));
}

#[test]
fn a_reload_that_changes_the_slots_loses_one_or_leaves_somebody_waiting() {
    let mut all = slots(1, 10);
    all.enter(1, Class::Main, LATER);
    let second = ticket(all.enter(2, Class::Main, LATER));
    all.resize(Room { slots: 2, waiting_max: 10 });
    assert_eq!(told(&mut all), HashMap::from([(second, Verdict::Granted)]));
    all.resize(Room { slots: 1, waiting_max: 10 });
    let third = ticket(all.enter(3, Class::Main, LATER));
    all.leave(1);
    assert_eq!(told(&mut all), HashMap::new(), "one too many was out");
    all.leave(2);
    assert_eq!(told(&mut all), HashMap::from([(third, Verdict::Granted)]));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter(u32, Class),
    Leave(u32),
    Cancel(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![Just(Class::Main), Just(Class::Subagent), Just(Class::Auxiliary)];
    prop_oneof![
        5 => (0..5_u32, class).prop_map(|(who, class)| Step::Enter(who, class)),
        4 => (0..5_u32).prop_map(Step::Leave),
        1 => (0..100_usize).prop_map(Step::Cancel),
        1 => (0..3000_u64).prop_map(Step::Wait),
    ]
}

/// What somebody who only watches knows: who holds how many, and who waits since when.
#[derive(Default)]
struct Watched {
    held: BTreeMap<u32, usize>,
    waits: BTreeMap<u64, (u32, Class, MonoUs)>,
    /// How often each who waits and holds nothing was passed by others that held nothing either.
    passed: BTreeMap<u32, Vec<u32>>,
}

impl Watched {
    fn grant(&mut self, who: u32) {
        let idle = |held: &BTreeMap<u32, usize>, who: &u32| held.get(who).copied().unwrap_or(0) == 0;
        if idle(&self.held, &who) {
            let waiting: BTreeSet<u32> = self.waits.values().map(|(other, ..)| *other).collect();
            for other in waiting.into_iter().filter(|other| *other != who && idle(&self.held, other)) {
                self.passed.entry(other).or_default().push(who);
            }
        }
        self.passed.remove(&who);
        *self.held.entry(who).or_default() += 1;
    }

    fn hear(&mut self, slots: &mut FairSlots, now: MonoUs) -> Result<(), TestCaseError> {
        let mut verdicts: Vec<_> = slots.verdicts().collect();
        // Slots are given one after the other, in the order of the list.
        for (ticket, verdict) in verdicts.drain(..) {
            let Some((who, class, until)) = self.waits.remove(&ticket.0) else {
                return Err(TestCaseError::fail(format!("{ticket:?} is told twice, or never waited: {verdict:?}")));
            };
            match verdict {
                Verdict::Granted => {
                    let own = self.waits.iter().filter(|(_, (other, ..))| *other == who);
                    let before = own.filter(|(other, (_, theirs, _))| (*theirs, **other) < (class, ticket.0)).count();
                    prop_assert_eq!(before, 0, "classes in their order, requests in theirs");
                    self.grant(who);
                }
                Verdict::Expired => prop_assert!(until <= now),
                Verdict::Displaced => {}
            }
        }
        for who in self.passed.keys().copied().collect::<Vec<_>>() {
            if !self.waits.values().any(|(other, ..)| *other == who) {
                self.passed.remove(&who);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn somebody_starves_or_more_is_given_than_there_is(
        count in 1..40_usize, waiting_max in 0..12_usize, steps in proptest::collection::vec(step(), 1..300),
    ) {
        let mut all = slots(count, waiting_max);
        let mut watched = Watched::default();
        let mut now = START;
        for step in steps {
            match step {
                Step::Enter(who, class) => {
                    let until = now.after(Duration::from_micros(2000));
                    match all.enter(who, class, until) {
                        Entered::Granted => watched.grant(who),
                        Entered::Waits(ticket) => {
                            watched.waits.insert(ticket.0, (who, class, until));
                        }
                        Entered::Refused => prop_assert_eq!(all.waiting(), waiting_max),
                    }
                }
                Step::Leave(who) => {
                    if let Some(held) = watched.held.get_mut(&who).filter(|held| **held > 0) {
                        *held -= 1;
                        all.leave(who);
                    }
                }
                Step::Cancel(nth) => {
                    let found = watched.waits.iter().nth(nth).map(|(ticket, (who, ..))| (*ticket, *who));
                    if let Some((ticket, who)) = found {
                        prop_assert!(all.cancel(who, Ticket(ticket)));
                        watched.waits.remove(&ticket);
                    }
                }
                Step::Wait(us) => {
                    now = now.after(Duration::from_micros(us));
                    all.expire(now);
                }
            }
            watched.hear(&mut all, now)?;
            let held: usize = watched.held.values().sum();
            prop_assert_eq!(all.taken(), held);
            prop_assert!(held <= count);
            prop_assert_eq!(all.waiting(), watched.waits.len());
            prop_assert!(watched.waits.len() <= waiting_max);
            prop_assert!(watched.waits.values().all(|(.., until)| *until > now || now == START));
            // Nobody waits beside a slot that is free for it.
            for (who, ..) in watched.waits.values() {
                let own = watched.held.get(who).copied().unwrap_or(0);
                let kept = if own * 2 >= count { count / KEPT_BACK } else { 0 };
                prop_assert!(count - held <= kept, "{} of {} taken, and one with {} waits", held, count, own);
            }
            // Whoever holds nothing is passed once at most by each other that holds nothing.
            for (who, others) in &watched.passed {
                let mut once = others.clone();
                once.sort_unstable();
                once.dedup();
                prop_assert_eq!(once.len(), others.len(), "{} was passed by {:?}", who, others);
            }
        }
    }
}
