//! Passing descriptors to another process over a unix socket, and taking over those that systemd passed.
#![allow(unsafe_code, reason = "control messages and inherited descriptors have no safe form in std")]

use std::{
    io,
    net::TcpListener,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::Command,
};

/// Descriptors in one message, at most; the kernel takes 253.
pub const PASSED_MAX: usize = 64;
/// Room for them in a control message. Bytes; words, so that it is aligned.
const CONTROL_WORDS: usize = 64;
/// The first descriptor of socket activation (sd_listen_fds(3)).
const INHERITED_FIRST: RawFd = 3;

/// Sends one byte with descriptors. The receiver gets descriptors of its own for the same open files.
pub fn send_descriptors(socket: &UnixStream, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = descriptors.iter().take(PASSED_MAX).map(AsRawFd::as_raw_fd).collect();
    let bytes = size_of_val(raw.as_slice());
    let mut byte = [0u8; 1];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: pure arithmetic on a length of at most PASSED_MAX descriptors, which fits CONTROL_WORDS.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(bytes as u32) } as usize;
    // SAFETY: the control buffer is aligned and at least one header and `bytes` long, so the first header and its data are in it.
    unsafe {
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        (*head).cmsg_level = libc::SOL_SOCKET;
        (*head).cmsg_type = libc::SCM_RIGHTS;
        (*head).cmsg_len = libc::CMSG_LEN(bytes as u32) as usize;
        std::ptr::copy_nonoverlapping(raw.as_ptr().cast::<u8>(), libc::CMSG_DATA(head), bytes);
    }
    loop {
        // SAFETY: the message and everything it points to outlives the call.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        match io::Error::last_os_error() {
            _ if sent == 1 => return Ok(()),
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    }
}

/// Takes what `send_descriptors` sent. They are closed in programs that this process starts.
pub fn receive_descriptors(socket: &UnixStream) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0u8; 1];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = [0u64; CONTROL_WORDS];
    // SAFETY: all zeroes is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    let got = loop {
        // SAFETY: the message and everything it points to outlives the call.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        match io::Error::last_os_error() {
            _ if got >= 0 => break got,
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error => return Err(error),
        }
    };
    let mut taken = Vec::new();
    // SAFETY: the kernel wrote headers and their lengths into the control buffer; only what they cover is read, and each
    // descriptor in it is new and nobody else's.
    unsafe {
        let mut head = libc::CMSG_FIRSTHDR(&raw const message);
        while !head.is_null() {
            if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*head).cmsg_len - libc::CMSG_LEN(0) as usize;
                for place in 0..bytes / size_of::<RawFd>() {
                    let raw = std::ptr::read_unaligned(libc::CMSG_DATA(head).cast::<RawFd>().add(place));
                    taken.push(OwnedFd::from_raw_fd(raw));
                }
            }
            head = libc::CMSG_NXTHDR(&raw const message, head);
        }
    }
    if got == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if message.msg_flags & libc::MSG_CTRUNC != 0 {
        return Err(io::Error::other("descriptors were lost on their way; raise RLIMIT_NOFILE"));
    }
    Ok(taken)
}

/// The user that the process at the other end runs as, and its id.
pub fn peer(socket: &UnixStream) -> io::Result<(u32, i32)> {
    let mut who = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: `who` is valid for `length` bytes and outlives the call.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut who).cast(),
            &raw mut length,
        )
    };
    if asked == 0 { Ok((who.uid, who.pid)) } else { Err(io::Error::last_os_error()) }
}

/// The user this process runs as.
pub fn own_user() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The listening sockets that systemd passed to this very process: `pid` and `count` are its `LISTEN_PID` and `LISTEN_FDS`. To be
/// called once, before anything else is opened.
pub fn inherited(pid: Option<&str>, count: Option<&str>) -> Vec<TcpListener> {
    let ours = pid.and_then(|pid| pid.parse().ok()) == Some(std::process::id());
    let count = count.filter(|_| ours).and_then(|count| count.parse::<usize>().ok()).unwrap_or(0);
    let numbers = (0..count.min(PASSED_MAX)).map(|place| INHERITED_FIRST + place as RawFd);
    numbers.filter(|number| is_listening(*number)).map(listener_of).collect()
}

fn is_listening(number: RawFd) -> bool {
    let mut listening: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: `listening` is valid for `length` bytes and outlives the call; a number that is no socket is an error.
    let asked = unsafe {
        libc::getsockopt(number, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, (&raw mut listening).cast(), &raw mut length)
    };
    asked == 0 && listening != 0
}

fn listener_of(number: RawFd) -> TcpListener {
    // SAFETY: the descriptor is open, and by the protocol of socket activation it was opened for this process alone.
    let owned = unsafe { OwnedFd::from_raw_fd(number) };
    // SAFETY: the descriptor is open. It is for this process, not for those that it starts.
    let _marked = unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    owned.into()
}

/// The program gets none of this process's descriptors but its three standard ones: the runtime opens sockets that would be passed on.
pub fn close_on_exec(command: &mut Command) -> &mut Command {
    let mark = || {
        // SAFETY: it only marks descriptors, and is allowed between fork and exec.
        let marked = unsafe { libc::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC as i32) };
        if marked == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(mark) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, os::fd::AsFd};

    #[test]
    fn a_descriptor_that_was_passed_is_another_file_or_is_lost() {
        let (here, there) = UnixStream::pair().unwrap();
        let listeners: Vec<_> = (0..PASSED_MAX).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let lent: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        send_descriptors(&here, &lent).unwrap();
        let taken = receive_descriptors(&there).unwrap();
        let ports = |all: &mut dyn Iterator<Item = TcpListener>| {
            all.map(|listener| listener.local_addr().unwrap().port()).collect::<Vec<_>>()
        };
        let passed = ports(&mut taken.into_iter().map(TcpListener::from));
        assert_eq!(passed, ports(&mut listeners.into_iter()));
        assert_eq!(peer(&there).unwrap(), (own_user(), std::process::id() as i32));
    }

    #[test]
    fn an_end_looks_like_a_message_without_descriptors() {
        let (here, mut there) = UnixStream::pair().unwrap();
        send_descriptors(&here, &[]).unwrap();
        assert!(receive_descriptors(&there).unwrap().is_empty());
        drop(here);
        assert_eq!(receive_descriptors(&there).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(there.read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn sockets_that_were_passed_to_another_process_are_taken() {
        assert!(inherited(Some("1"), Some("1")).is_empty());
        assert!(inherited(None, Some("1")).is_empty());
    }
}
