//! Memory that is free goes back to the system. The allocator purges what is free only while it is asked for more, so that a
//! process which comes to rest after a burst would keep all of it.
#![allow(unsafe_code, reason = "one function of the allocator, which its crate does not show")]

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

#[cfg(test)]
mod tests {
    #[test]
    fn giving_back_takes_what_is_in_use() {
        let kept: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 4096]).collect();
        super::give_back();
        assert!(kept.iter().zip(0..).all(|(bytes, n)| bytes.iter().all(|byte| *byte == n)));
    }
}
