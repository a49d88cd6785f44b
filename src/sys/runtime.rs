//! The runtime of a shard: monoio, built on the thread that runs it, never dropped.

use std::{future::Future, io, pin::Pin, time::Duration};

/// How a shard waits for the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    /// io_uring, the real thing.
    #[default]
    IoUring,
    /// epoll, only when asked for by name.
    Epoll,
}

/// Submission queue entries of a shard's ring.
const RING_ENTRIES: u32 = 4096;

/// The two flags that pay, and that close monoio's races between a completion and a cancellation: completions are only
/// delivered when the shard itself enters the kernel.
pub(super) fn ring_flags() -> io_uring::Builder {
    let mut builder = io_uring::IoUring::builder();
    builder.setup_defer_taskrun().setup_single_issuer();
    builder
}

/// Runs a shard's main future on this thread. It returns only if the runtime cannot be built: when the future ends, the
/// process exits with the code it gave, since a runtime must not be dropped while the kernel may still write to its buffers.
pub fn run<F: Future<Output = i32> + 'static>(driver: Driver, main: impl FnOnce() -> F) -> io::Error {
    match driver {
        Driver::IoUring => {
            let built = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
                .uring_builder(ring_flags())
                .with_entries(RING_ENTRIES)
                .enable_timer()
                .build();
            match built {
                Ok(mut runtime) => leave(runtime.block_on(main())),
                Err(error) => error,
            }
        }
        Driver::Epoll => {
            let built = monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build();
            match built {
                Ok(mut runtime) => leave(runtime.block_on(main())),
                Err(error) => error,
            }
        }
    }
}

fn leave(code: i32) -> ! {
    std::process::exit(code)
}

/// A future on the heap, made where it is to stay: one that is made first and boxed then is copied whole, with all the room for what
/// it has not come to yet.
#[inline(always)]
pub fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}

/// Starts a task on this shard.
pub fn spawn(task: impl Future<Output = ()> + 'static) {
    drop(monoio::spawn(task));
}

/// Waits. The timer has a place of its own: it is large, and a task that might sleep would carry that room about all its life.
pub async fn sleep(duration: Duration) {
    Box::pin(monoio::time::sleep(duration)).await;
}

/// Never ends: what a shard awaits when its work is done and others decide about the process.
pub async fn forever() -> ! {
    loop {
        sleep(Duration::from_secs(3600)).await;
    }
}
