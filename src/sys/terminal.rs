//! How wide the terminal is.

#![allow(unsafe_code, reason = "the width of a terminal is asked by ioctl")]

/// Columns of the terminal that stdout is; `None` if it is none, or does not say.
pub fn columns() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes a `winsize` to the pointer, which is to one that lives until the call is over.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (answer == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
