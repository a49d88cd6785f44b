//! Making a connection to an upstream: its addresses in turn, then TLS.

use super::idle::{Origin, UpstreamConnection};
use crate::{
    data::shard::{Shard, deadlines::Awaited, serving::Serving},
    kernel::{ids::UpstreamIx, snapshot::Upstream},
    sys::{socket::Socket, tls},
};
use std::io;

/// Connects to an upstream.
pub async fn dial(
    shard: &Shard,
    serving: &Serving,
    ix: UpstreamIx,
    upstream: &Upstream,
) -> io::Result<UpstreamConnection> {
    let timeout = upstream.connect_timeout.unwrap_or(serving.limits.connect_timeout);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the upstream's host name does not resolve");
    for address in &upstream.addresses {
        match Socket::connect(*address, timeout).await {
            Ok(socket) => {
                shard.gauges.upstream_dials.add(1);
                return secure(shard, serving, ix, upstream, socket, timeout).await;
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn secure(
    shard: &Shard,
    serving: &Serving,
    ix: UpstreamIx,
    upstream: &Upstream,
    socket: Socket,
    timeout: std::time::Duration,
) -> io::Result<UpstreamConnection> {
    let origin = Origin::of(upstream);
    if upstream.tls_roots.is_none() {
        let (reader, writer, kill) = socket.split();
        return Ok(UpstreamConnection::new(origin, reader, writer, shard.sweeper.watch(kill)));
    }
    let client = serving.tls(ix).ok_or_else(|| io::Error::other("the upstream's host is no name TLS can check"))?;
    let handshaking = tls::connect(socket, client.config.clone(), client.name.clone())?;
    let deadlines = shard.sweeper.watch(handshaking.kill.clone());
    deadlines.arm(Awaited::Whole, shard.sweeper.in_(timeout));
    let secured = handshaking.finish().await.map_err(|error| match deadlines.passed() {
        Some(_) => io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake timed out"),
        None => error,
    })?;
    deadlines.disarm(Awaited::Whole);
    Ok(UpstreamConnection::new(origin, secured.reader, secured.writer, deadlines))
}
