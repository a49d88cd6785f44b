//! An allocator that counts what the calling thread allocates, for tests that hold a path to none. The gateway itself does
//! not use it.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, with a counter for each thread. Make it the `#[global_allocator]` of a test binary.
pub struct Counting;

/// How often this thread has allocated, or grown what it had.
pub fn allocations() -> u64 {
    ALLOCATED.with(Cell::get)
}

fn count() {
    // A thread that is ending has no counter any more, and nobody to ask for it.
    let _ended = ALLOCATED.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: every call is passed on as it came to the system's allocator, whose promises are ours; counting allocates nothing.
#[allow(unsafe_code, reason = "an allocator is unsafe to be one")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises about `layout` are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` with this layout, since all of ours do.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as for `dealloc`; the caller's promise about `size` is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}
