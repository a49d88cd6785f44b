//! The limit on open descriptors: a gateway needs two for each running stream.
#![allow(unsafe_code, reason = "getrlimit and setrlimit have no safe form in libc")]

use std::io;

/// Raises the soft limit to the hard one, as any process may, and returns what is in force now.
pub fn raise() -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit for the kernel to fill.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit that the kernel only reads.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_low_soft_limit_does_not_stay() {
        let first = super::raise().unwrap();
        assert!(first >= 256);
        assert_eq!(super::raise().unwrap(), first);
    }
}
