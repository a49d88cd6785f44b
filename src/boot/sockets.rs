//! The listening sockets: bound here, passed by systemd, or taken over from the process before this one.

use super::{BootError, other};
use crate::sys::{passing, socket};
use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// The name that `FileDescriptorName=` gives the admin socket.
const ADMIN_NAME: &str = "admin";

/// All listening sockets of a gateway.
pub(super) struct Sockets {
    /// Fleet traffic: they share one port.
    pub clients: Vec<TcpListener>,
    /// Admin API.
    pub admin: TcpListener,
}

impl Sockets {
    /// Takes what systemd has passed, and binds the rest.
    pub fn open(clients: SocketAddr, admin: SocketAddr, shards: usize) -> Result<Self, BootError> {
        let variable = |name: &str| std::env::var(name).ok();
        let passed = passing::inherited(variable("LISTEN_PID").as_deref(), variable("LISTEN_FDS").as_deref());
        if !passed.is_empty() {
            tracing::info!(sockets = passed.len(), "listening on sockets passed by the service manager");
        }
        let names = variable("LISTEN_FDNAMES").unwrap_or_default();
        let (passed_admin, passed_clients) = sort(passed, &names, admin);
        let admin = match passed_admin {
            Some(socket) => socket,
            None => {
                socket::bind(admin, false).map_err(|e| other(&format!("cannot listen on listen.admin = {admin}"), e))?
            }
        };
        let clients = if passed_clients.is_empty() { bind_clients(clients, shards)? } else { passed_clients };
        Ok(Self { clients, admin })
    }

    /// Where they listen: clients, admin.
    pub fn addresses(&self) -> Result<(SocketAddr, SocketAddr), BootError> {
        let first = self.clients.first().ok_or_else(|| BootError::Other("there is no socket for clients".into()))?;
        let clients = first.local_addr().map_err(|e| other("clients' address", e))?;
        Ok((clients, self.admin.local_addr().map_err(|e| other("admin address", e))?))
    }

    /// Copies that another process can be given: the sockets stay open as long as anybody has one.
    pub fn copies(&self) -> io::Result<Self> {
        let clients = self.clients.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { clients, admin: self.admin.try_clone()? })
    }
}

/// Which is the admin socket: by its name, else by its address.
fn sort(passed: Vec<TcpListener>, names: &str, admin: SocketAddr) -> (Option<TcpListener>, Vec<TcpListener>) {
    let names: Vec<&str> = names.split(':').collect();
    let (mut of_admin, mut of_clients) = (None, Vec::new());
    for (place, socket) in passed.into_iter().enumerate() {
        let by_name = names.get(place).is_some_and(|name| *name == ADMIN_NAME);
        if of_admin.is_none() && (by_name || socket.local_addr().is_ok_and(|at| at == admin)) {
            of_admin = Some(socket);
        } else {
            of_clients.push(socket);
        }
    }
    (of_admin, of_clients)
}

/// Which shard accepts from which sockets. Every socket has a shard, or connections in its queue would wait for ever; every shard
/// has a socket, which it shares with others if there are too few.
pub(super) fn share_out(sockets: &[TcpListener], shards: usize) -> Result<Vec<Vec<TcpListener>>, BootError> {
    let mut shares: Vec<Vec<TcpListener>> = (0..shards).map(|_| Vec::new()).collect();
    for place in 0..sockets.len().max(shards) {
        let copy = sockets[place % sockets.len()].try_clone().map_err(|e| other("cannot share a socket", e))?;
        // The runtime waits by itself; what comes from elsewhere may be set otherwise.
        copy.set_nonblocking(true).map_err(|e| other("cannot set up a socket", e))?;
        shares[place % shards].push(copy);
    }
    Ok(shares)
}

/// One listening socket per shard on one port; the first decides the port if it is 0.
fn bind_clients(address: SocketAddr, shards: usize) -> Result<Vec<TcpListener>, BootError> {
    let bind = |address| {
        socket::bind(address, true).map_err(|e| other(&format!("cannot listen on listen.clients = {address}"), e))
    };
    // A socket that shares its port would also share it with a stranger's; asking for it alone first finds that out.
    let mut listeners = Vec::with_capacity(shards);
    if address.port() != 0 {
        drop(
            socket::bind(address, false)
                .map_err(|e| other(&format!("cannot listen on listen.clients = {address}"), e))?,
        );
    }
    let first = bind(address)?;
    let bound = first.local_addr().map_err(|e| other("clients' address", e))?;
    listeners.push(first);
    for _ in 1..shards {
        listeners.push(bind(bound)?);
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> Vec<TcpListener> {
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect()
    }

    #[test]
    fn a_socket_without_a_shard_or_a_shard_without_a_socket() {
        for (count, shards) in [(1, 1), (1, 4), (4, 1), (4, 3), (3, 8)] {
            let sockets = sockets(count);
            let shares = share_out(&sockets, shards).unwrap_or_else(|_| panic!());
            assert!(shares.len() == shards && shares.iter().all(|share| !share.is_empty()));
            let port = |socket: &TcpListener| socket.local_addr().unwrap().port();
            let mut served: Vec<u16> = shares.iter().flatten().map(port).collect();
            served.sort_unstable();
            served.dedup();
            let mut all: Vec<u16> = sockets.iter().map(port).collect();
            all.sort_unstable();
            assert_eq!(served, all, "{count} sockets over {shards} shards");
        }
    }

    #[test]
    fn the_admin_api_is_served_to_the_fleet() {
        let passed = sockets(3);
        let ports: Vec<SocketAddr> = passed.iter().map(|socket| socket.local_addr().unwrap()).collect();
        let (admin, clients) = sort(passed, "clients:admin:clients", "127.0.0.1:1".parse().unwrap());
        assert_eq!((admin.unwrap().local_addr().unwrap(), clients.len()), (ports[1], 2));
        let passed = sockets(2);
        let second = passed[1].local_addr().unwrap();
        let (admin, clients) = sort(passed, "", second);
        assert_eq!((admin.unwrap().local_addr().unwrap(), clients.len()), (second, 1));
    }
}
