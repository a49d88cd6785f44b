//! Counters for tests: an allocator that counts what the calling thread and all shards allocate, and a count of how often
//! shards enter the kernel, through their rings and with a socket's bytes. The gateway itself uses neither.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    ffi::c_long,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What the names of shards' threads begin with.
const SHARD: &[u8] = b"weir-shard-";

static ALLOCATED_BY_SHARDS: AtomicU64 = AtomicU64::new(0);
static RING_ENTRIES: AtomicU64 = AtomicU64::new(0);
static SOCKET_CALLS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static ALLOCATED: Cell<u64> = const { Cell::new(0) };
    static IS_SHARD: Cell<bool> = const { Cell::new(false) };
}

/// The system's allocator, with a counter for each thread. Make it the `#[global_allocator]` of a test binary.
pub struct Counting;

/// How often this thread has allocated, or grown what it had.
pub fn allocations() -> u64 {
    ALLOCATED.with(Cell::get)
}

/// How often the threads of all shards of this process have allocated, or grown what they had.
pub fn shard_allocations() -> u64 {
    ALLOCATED_BY_SHARDS.load(Relaxed)
}

/// How often shards of this process have called `io_uring_enter`. Counted only where `count_system_calls!` stands in the
/// program, and where the shards run on io_uring.
pub fn shard_ring_entries() -> u64 {
    RING_ENTRIES.load(Relaxed)
}

/// How often shards of this process have sent to a socket, or looked at one, without their ring. Counted where
/// `count_system_calls!` stands in the program.
pub fn shard_socket_calls() -> u64 {
    SOCKET_CALLS.load(Relaxed)
}

fn count() {
    // A thread that is ending has no counter any more, and nobody to ask for it.
    let _ended = ALLOCATED.try_with(|count| count.set(count.get() + 1));
    if on_shard() {
        ALLOCATED_BY_SHARDS.fetch_add(1, Relaxed);
    }
}

/// Is this a shard's thread? Asks the kernel for the thread's name until it is, since threads are named after their start.
fn on_shard() -> bool {
    let known = IS_SHARD.try_with(Cell::get).unwrap_or(false);
    if known {
        return true;
    }
    let mut name = [0u8; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes, which `name` has and which outlive the call.
    #[allow(unsafe_code, reason = "a system call")]
    let answered = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let is_shard = answered == 0 && name.starts_with(SHARD);
    let _ended = IS_SHARD.try_with(|known| known.set(is_shard));
    is_shard
}

/// Makes a system call that a program has asked libc for, and counts it if a shard does and it is one of those that count.
///
/// # Safety
/// That of the system call.
#[doc(hidden)]
#[allow(unsafe_code, reason = "a system call")]
pub unsafe fn counted_syscall(number: c_long, with: [c_long; 6]) -> c_long {
    let counter = match number {
        libc::SYS_io_uring_enter => Some(&RING_ENTRIES),
        libc::SYS_sendto | libc::SYS_recvfrom => Some(&SOCKET_CALLS),
        _ => None,
    };
    if let Some(counter) = counter
        && on_shard()
    {
        counter.fetch_add(1, Relaxed);
    }
    // SAFETY: the caller's promises are passed on.
    let result = unsafe { raw_syscall(number, with) };
    // The kernel's own way to say that a call failed.
    if (-4095..0).contains(&result) {
        // SAFETY: this thread's own errno, which lives as long as the thread.
        unsafe { *libc::__errno_location() = -result as i32 };
        return -1;
    }
    result
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "a system call")]
unsafe fn raw_syscall(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    let result;
    // SAFETY: the system call convention of Linux on this processor; what the call does to memory is the caller's promise.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number => result, in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d,
            in("r8") e, in("r9") f, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "a system call")]
unsafe fn raw_syscall(number: c_long, [a, b, c, d, e, f]: [c_long; 6]) -> c_long {
    let result;
    // SAFETY: the system call convention of Linux on this processor; what the call does to memory is the caller's promise.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a => result, in("x1") b, in("x2") c, in("x3") d, in("x4") e,
            in("x5") f, options(nostack));
    }
    result
}

/// Puts counters in front of libc's `syscall`, `send` and `recv` in the program that says this once, at its top level. The ring
/// library enters the kernel through the first, a shard's sockets through the others; everything is passed on as it came.
#[macro_export]
macro_rules! count_system_calls {
    () => {
        /// libc's `syscall`, counted.
        ///
        /// # Safety
        /// That of the system call.
        #[allow(unsafe_code, reason = "stands in for libc's own function")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn syscall(
            number: std::ffi::c_long,
            a: std::ffi::c_long,
            b: std::ffi::c_long,
            c: std::ffi::c_long,
            d: std::ffi::c_long,
            e: std::ffi::c_long,
            f: std::ffi::c_long,
        ) -> std::ffi::c_long {
            // SAFETY: the caller's promises are passed on.
            unsafe { $crate::sys::counting::counted_syscall(number, [a, b, c, d, e, f]) }
        }

        /// libc's `send`, counted.
        ///
        /// # Safety
        /// That of the system call.
        #[allow(unsafe_code, reason = "stands in for libc's own function")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn send(
            socket: std::ffi::c_int,
            bytes: *const std::ffi::c_void,
            len: usize,
            flags: std::ffi::c_int,
        ) -> isize {
            // SAFETY: the caller's promises are passed on.
            unsafe { $crate::sys::counting::counted_socket_call(true, socket, bytes as usize, len, flags) }
        }

        /// libc's `recv`, counted.
        ///
        /// # Safety
        /// That of the system call.
        #[allow(unsafe_code, reason = "stands in for libc's own function")]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn recv(
            socket: std::ffi::c_int,
            bytes: *mut std::ffi::c_void,
            len: usize,
            flags: std::ffi::c_int,
        ) -> isize {
            // SAFETY: the caller's promises are passed on.
            unsafe { $crate::sys::counting::counted_socket_call(false, socket, bytes as usize, len, flags) }
        }
    };
}

/// A send to a connected socket, or a receive from one, counted like any other system call.
///
/// # Safety
/// That of the system call.
#[doc(hidden)]
#[allow(unsafe_code, reason = "a system call")]
pub unsafe fn counted_socket_call(sends: bool, socket: i32, bytes: usize, len: usize, flags: i32) -> isize {
    let number = if sends { libc::SYS_sendto } else { libc::SYS_recvfrom };
    // SAFETY: the caller's promises are passed on; no address goes with a connected socket's bytes.
    unsafe { counted_syscall(number, [socket.into(), bytes as c_long, len as c_long, flags.into(), 0, 0]) as isize }
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
