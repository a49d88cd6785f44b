//! Can this host run the io_uring driver? Asked before a socket is bound, so that a missing feature is a clear message and
//! never a quiet fallback.

/// Tries a ring with the flags every shard uses. The error says what is missing and how to mend it.
pub fn io_uring() -> Result<(), String> {
    match super::runtime::ring_flags().build(8).map(drop) {
        Ok(()) => Ok(()),
        Err(error) => Err(explain(error.raw_os_error().unwrap_or(0), &error.to_string())),
    }
}

fn explain(errno: i32, text: &str) -> String {
    let why = match errno {
        libc::ENOSYS => "this kernel has no io_uring: weir needs Linux 6.1 or newer",
        libc::EPERM | libc::EACCES => {
            "io_uring is forbidden here: allow io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp \
             profile, and check that sysctl kernel.io_uring_disabled is 0"
        }
        libc::EINVAL => "this kernel's io_uring lacks DEFER_TASKRUN: weir needs Linux 6.1 or newer",
        libc::ENOMEM => "the locked-memory limit is too small for a ring: raise RLIMIT_MEMLOCK",
        _ => "a ring cannot be made",
    };
    format!("{why} ({text}). To run on epoll instead, slower, set shards.driver = \"epoll\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_of_lacking_io_uring_says_how_to_mend_it() {
        assert!(explain(libc::ENOSYS, "x").contains("6.1"));
        assert!(explain(libc::EPERM, "x").contains("seccomp"));
        assert!(explain(libc::EINVAL, "x").contains("DEFER_TASKRUN"));
        assert!(explain(0, "x").contains("epoll"));
    }
}
