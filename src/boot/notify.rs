//! What the service manager is told (sd_notify(3)): a datagram of lines to the socket that `NOTIFY_SOCKET` names. Without one
//! nobody is told anything.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// This process serves; it is the one to be watched from now on.
pub(super) fn ready() {
    tell(&format!("READY=1\nMAINPID={}\nSTATUS=serving", std::process::id()));
}

/// The configuration is being read again; `ready` is to follow.
pub(super) fn reloading() {
    let usec = crate::sys::clock::system_monotonic_us();
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=reading the configuration again"));
}

/// This process ends, and no other one goes on.
pub(super) fn stopping() {
    tell("STOPPING=1\nSTATUS=draining");
}

fn tell(text: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, text) {
        tracing::warn!(%error, ?socket, "the service manager cannot be told");
    }
}

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str(), "READY=1").unwrap();
        let abstract_name = format!("@weir-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name.as_bytes()[1..]).unwrap();
        let other = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&abstract_name), "STOPPING=1").unwrap();
        for (socket, said) in [(&manager, "READY=1"), (&other, "STOPPING=1")] {
            let mut bytes = [0; 64];
            let count = socket.recv(&mut bytes).unwrap();
            assert_eq!(std::str::from_utf8(&bytes[..count]).unwrap(), said);
        }
    }
}
