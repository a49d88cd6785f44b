//! One connection's panic ends that connection, not the shard (law 10): monoio lets a panic unwind through the whole runtime.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

/// Runs a task; `None` if it panicked. What the task owned has then been dropped. The task comes boxed: as an
/// argument of an async function it would be kept twice, and it is the largest thing a connection has.
pub fn guarded<F: Future + ?Sized>(task: Pin<Box<F>>) -> Guarded<F> {
    Guarded(Some(task))
}

/// A task that cannot take its shard with it.
pub struct Guarded<F: ?Sized>(Option<Pin<Box<F>>>);

impl<F: Future + ?Sized> Future for Guarded<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(task) = self.0.as_mut() else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(cx))) {
            Ok(Poll::Ready(value)) => Poll::Ready(Some(value)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_shown_by_the_hook) => {
                // Dropping what is left may panic too; once is enough.
                let rest = self.0.take();
                let _also_shown = catch_unwind(AssertUnwindSafe(|| drop(rest)));
                Poll::Ready(None)
            }
        }
    }
}
