//! Memory that is free goes back to the system, and stays there. The allocator purges what is free only while it is asked for more,
//! so that a process which comes to rest after a burst would keep all of it; and where there are huge pages, the kernel fills the
//! gaps again.
#![allow(unsafe_code, reason = "one function of the allocator, which its crate does not show, and prctl")]

use std::io;

// Links the allocator into whatever links this library, be it in use there or not.
use mimalloc as _;

unsafe extern "C" {
    /// Takes the calling thread's empty pages out of use, and gives the system back what no thread uses. Where the allocator is not
    /// in use (tests), it finds nothing. Safe: it touches free memory alone.
    safe fn mi_collect(force: bool);
}

/// Gives back what is free: what this thread has freed, and what others have given up. To be called when a burst is over; it looks
/// at each page of this thread's memory, some tens of microseconds for a hundred megabytes.
pub fn give_back() {
    mi_collect(true);
}

/// Takes this process's memory in small pages alone, from now on and for the programs it starts. The allocator gives memory back in
/// pieces of 64 KiB, and the kernel makes huge pages of what is left around them: after each burst some megabytes more would stay, for
/// hours, and a process at rest has twice the memory it uses. They bought no CPU time here (tuning/README.md).
pub fn small_pages() -> io::Result<()> {
    let (on, unused): (libc::c_ulong, libc::c_ulong) = (1, 0);
    // SAFETY: this call takes numbers only, and changes how pages come to this process, not what is in them.
    match unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, on, unused, unused, unused) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn huge_pages_do_not_come_back() {
        super::small_pages().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let enabled = status.lines().find_map(|line| line.strip_prefix("THP_enabled:")).map(str::trim);
        assert_eq!(enabled, Some("0"), "{status}");
    }

    #[test]
    fn giving_back_takes_what_is_in_use() {
        let kept: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 4096]).collect();
        super::give_back();
        assert!(kept.iter().zip(0..).all(|(bytes, n)| bytes.iter().all(|byte| *byte == n)));
    }
}
