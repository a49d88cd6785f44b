//! What the kernel keeps of files in its memory.
#![allow(unsafe_code, reason = "posix_fadvise has no safe form in libc")]

use std::{fs::File, os::fd::AsRawFd};

/// No processor has larger pages: memory is given up in whole ones.
pub const PAGE_BYTES_MAX: u64 = 64 * 1024;

/// Lets the kernel forget the beginning of a file, which must be on disk (what is not stays). An advice: whoever reads it later
/// reads it from disk, and where it is not followed nothing is lost but memory.
pub fn forget(file: &File, bytes: u64) {
    let Ok(length) = libc::off_t::try_from(bytes) else { return };
    // To the kernel no length is the whole file.
    if length > 0 {
        // SAFETY: takes numbers alone, and the descriptor is open as long as `file` is.
        let _advice = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, length, libc::POSIX_FADV_DONTNEED) };
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, Write};

    #[test]
    fn what_is_forgotten_is_lost() {
        let mut file = tempfile::tempfile().unwrap();
        let text: Vec<u8> = (0..300_000u32).map(|n| (n / 7) as u8).collect();
        file.write_all(&text).unwrap();
        // Some of it is not on disk yet, and the second one ends within a page.
        for bytes in [0, 100_000, u64::MAX, super::PAGE_BYTES_MAX] {
            super::forget(&file, bytes);
            file.sync_data().unwrap();
        }
        super::forget(&file, text.len() as u64);
        let mut read = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut read).unwrap();
        assert!(read == text);
    }
}
