//! A wake-up inside one task: one side waits for a condition, the other says that something changed. No thread, no queue.

use std::{
    cell::RefCell,
    future::poll_fn,
    task::{Poll, Waker},
};

/// One place to wait at, for one waiter.
#[derive(Default)]
pub struct Signal {
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    /// Something changed.
    pub fn notify(&self) {
        if let Some(waiter) = self.waiter.borrow_mut().take() {
            waiter.wake();
        }
    }

    /// Waits until `ready` gives a value. It is asked again whenever the task runs; dropping the wait loses nothing.
    pub async fn until<T>(&self, mut ready: impl FnMut() -> Option<T>) -> T {
        poll_fn(|cx| match ready() {
            Some(value) => Poll::Ready(value),
            None => {
                let mut waiter = self.waiter.borrow_mut();
                if !waiter.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
                    *waiter = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}

/// Waits for either; the other is dropped, so neither may be an operation of the kernel's (law 10).
pub async fn first_of(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    poll_fn(|cx| if one.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { other.as_mut().poll(cx) }).await;
}
