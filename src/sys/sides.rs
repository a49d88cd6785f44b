//! Two futures side by side in one task, each with a waker of its own: an event that is one side's wakes that side alone. With the
//! task's waker for both, each event of a stream would also look at the read that watches the client, and at all that lies
//! between: memory that is cold when thousands of streams take turns.
#![allow(unsafe_code, reason = "a waker that never leaves its thread")]

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    mem::ManuallyDrop,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
};

/// Sides that wake each other over and over give way to the rest of the shard after so many turns.
const TURNS_MAX: usize = 16;

/// Who of two sides is to be polled. Kept by its connection, for one pair of futures after the other.
#[derive(Default)]
pub struct Sides {
    woken: [Cell<bool>; 2],
    /// The pair is being polled: whoever is woken now has its turn without the task being scheduled anew.
    polling: Cell<bool>,
    parent: RefCell<Option<Waker>>,
}

impl Sides {
    /// Runs two futures side by side to the end of both; neither is ever dropped half way (law 10), each is let go when it has
    /// ended. They come pinned or boxed: as arguments by value they would take their place in memory twice. One pair at a time.
    pub async fn both<A, B>(
        self: &Rc<Self>,
        first: impl Future<Output = A> + Unpin,
        second: impl Future<Output = B> + Unpin,
    ) -> (A, B) {
        let (mut first, mut second) = (Some(first), Some(second));
        let (mut one, mut two) = (None, None);
        self.woken.iter().for_each(|woken| woken.set(true));
        poll_fn(move |cx| {
            self.follow(cx.waker());
            self.polling.set(true);
            for _ in 0..TURNS_MAX {
                if self.woken[0].replace(false) {
                    one = self.poll(&FIRST, &mut first).or(one.take());
                }
                if self.woken[1].replace(false) {
                    two = self.poll(&SECOND, &mut second).or(two.take());
                }
                if !self.is_woken() || (first.is_none() && second.is_none()) {
                    break;
                }
            }
            self.polling.set(false);
            match (one.take(), two.take()) {
                (Some(a), Some(b)) => Poll::Ready((a, b)),
                (a, b) => {
                    (one, two) = (a, b);
                    if self.is_woken() {
                        cx.waker().wake_by_ref();
                    }
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn is_woken(&self) -> bool {
        self.woken[0].get() || self.woken[1].get()
    }

    fn follow(&self, waker: &Waker) {
        let mut parent = self.parent.borrow_mut();
        if !parent.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *parent = Some(waker.clone());
        }
    }

    fn poll<T>(
        self: &Rc<Self>,
        side: &'static RawWakerVTable,
        running: &mut Option<impl Future<Output = T> + Unpin>,
    ) -> Option<T> {
        let future = Pin::new(running.as_mut()?);
        let raw = RawWaker::new(Rc::as_ptr(self).cast(), side);
        // SAFETY: the functions of the table keep RawWaker's contract (see there), but for threads: a shard's futures and whoever
        // they hand their wakers to live on the shard's thread. Nobody counts this waker, and it is never dropped; `self`
        // outlives it.
        let waker = ManuallyDrop::new(unsafe { Waker::from_raw(raw) });
        match future.poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => {
                *running = None;
                Some(value)
            }
            Poll::Pending => None,
        }
    }

    fn wake(&self, side: usize) {
        let already = self.woken[side].replace(true);
        if already || self.polling.get() {
            return;
        }
        if let Some(parent) = self.parent.borrow().as_ref() {
            parent.wake_by_ref();
        }
    }
}

static FIRST: RawWakerVTable = RawWakerVTable::new(clone::<0>, wake::<0>, wake_by_ref::<0>, forget);
static SECOND: RawWakerVTable = RawWakerVTable::new(clone::<1>, wake::<1>, wake_by_ref::<1>, forget);

// The pointer of each of these is that of an `Rc<Sides>`; a waker that was cloned owns one count of it.

unsafe fn clone<const SIDE: usize>(sides: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned keeps its `Sides` alive, so there is one to count.
    unsafe { Rc::increment_strong_count(sides.cast::<Sides>()) };
    RawWaker::new(sides, if SIDE == 0 { &FIRST } else { &SECOND })
}

unsafe fn wake<const SIDE: usize>(sides: *const ()) {
    // SAFETY: takes the count that this waker owns.
    unsafe { Rc::from_raw(sides.cast::<Sides>()) }.wake(SIDE);
}

unsafe fn wake_by_ref<const SIDE: usize>(sides: *const ()) {
    // SAFETY: the waker keeps its `Sides` alive.
    unsafe { &*sides.cast::<Sides>() }.wake(SIDE);
}

unsafe fn forget(sides: *const ()) {
    // SAFETY: takes the count that this waker owns.
    drop(unsafe { Rc::from_raw(sides.cast::<Sides>()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        pin::pin,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::Wake,
    };

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    /// A future that counts its polls, keeps its waker where the test finds it, and ends when it is told to.
    #[derive(Default)]
    struct Side {
        polls: Cell<usize>,
        done: Cell<bool>,
        waker: RefCell<Option<Waker>>,
    }

    impl Side {
        async fn run(&self) -> usize {
            poll_fn(|cx| {
                self.polls.set(self.polls.get() + 1);
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                if self.done.get() { Poll::Ready(self.polls.get()) } else { Poll::Pending }
            })
            .await
        }

        fn wake(&self) {
            self.waker.borrow_mut().take().expect("it waits").wake();
        }
    }

    #[test]
    fn an_event_of_one_side_does_not_look_at_the_other() {
        let (one, two, sides) = (Side::default(), Side::default(), Rc::<Sides>::default());
        let task = Arc::<Task>::default();
        let (waker, mut first, mut second) = (Waker::from(task.clone()), pin!(one.run()), pin!(two.run()));
        let mut both = pin!(sides.both(first.as_mut(), second.as_mut()));
        let mut poll = || both.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(poll().is_pending());
        for turn in 2..5 {
            two.wake();
            assert_eq!(task.0.load(Relaxed), turn - 1, "the task is scheduled once for each event");
            assert!(poll().is_pending());
            assert_eq!((one.polls.get(), two.polls.get()), (1, turn));
        }
        // A poll that nobody asked for looks at neither.
        assert!(poll().is_pending());
        assert_eq!((one.polls.get(), two.polls.get()), (1, 4));
        one.done.set(true);
        one.wake();
        assert!(poll().is_pending());
        two.done.set(true);
        two.wake();
        assert_eq!(poll(), Poll::Ready((2, 5)));
    }

    #[test]
    fn a_side_that_is_woken_by_the_other_has_its_turn_at_once() {
        let (told, sides, task) = (Side::default(), Rc::<Sides>::default(), Arc::<Task>::default());
        let mut first = pin!(told.run());
        let mut second = pin!(async {
            told.done.set(true);
            told.wake();
        });
        let mut both = pin!(sides.both(first.as_mut(), second.as_mut()));
        let polled = both.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone())));
        assert_eq!(polled, Poll::Ready((2, ())));
        assert_eq!(task.0.load(Relaxed), 0, "nothing had to be scheduled");
    }

    #[test]
    fn a_side_that_wakes_itself_for_ever_lets_the_shard_go_on() {
        let (sides, task) = (Rc::<Sides>::default(), Arc::<Task>::default());
        let mut restless = pin!(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let mut calm = pin!(std::future::pending::<()>());
        let mut both = pin!(sides.both(restless.as_mut(), calm.as_mut()));
        assert!(both.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone()))).is_pending());
        assert_eq!(task.0.load(Relaxed), 1, "it is scheduled again, behind the others");
    }

    #[test]
    fn a_waker_that_outlives_its_side_wakes_nobody_and_leaks_nothing() {
        let sides = Rc::<Sides>::default();
        let left = {
            let kept = Side::default();
            let mut first = pin!(kept.run());
            let mut second = pin!(std::future::ready(()));
            let mut both = pin!(sides.both(first.as_mut(), second.as_mut()));
            assert!(both.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            kept.waker.take().expect("it waited")
        };
        assert_eq!(Rc::strong_count(&sides), 2);
        left.wake_by_ref();
        drop(left);
        assert_eq!(Rc::strong_count(&sides), 1);
    }
}
