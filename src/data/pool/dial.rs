//! Making a connection to an upstream: its addresses (or its proxy's), each a little after the one before (happy eyeballs,
//! RFC 8305), then the tunnel, then TLS. A dial ends when its client leaves, whatever it is waiting for.

use super::{
    idle::{Origin, UpstreamConnection},
    tunnel,
};
use crate::{
    data::{
        edge::incoming::{Exchange, Work},
        shard::deadlines::{Awaited, Deadlines},
    },
    kernel::{ids::UpstreamIx, keep_alive::Wear, snapshot::Upstream},
    sys::{runtime, socket::Socket, tls},
};
use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

/// How long an address has for itself before the next one is tried beside it (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Connects to an upstream.
pub async fn dial(cx: &Exchange<'_>, ix: UpstreamIx, upstream: &Upstream) -> io::Result<UpstreamConnection> {
    let timeout = upstream.connect_timeout.unwrap_or(cx.serving.limits.connect_timeout);
    let connect = |address| async move { Ok((Socket::connect(address, timeout).await?, address)) };
    let connecting = connect_any(&upstream.addresses, connect);
    let (socket, peer) = unless_gone(cx, connecting).await.map_err(|error| through(upstream, error))?;
    cx.shard.gauges.upstream_dials.add(1);
    let (reader, writer, kill) = socket.split();
    let deadlines = cx.shard.sweeper.watch(kill);
    let wear = Wear::new(cx.shard.sweeper.now(), cx.shard.chance());
    let connection = UpstreamConnection { origin: Origin::of(upstream, peer), reader, writer, deadlines, wear };
    if upstream.tls_roots.is_none() && upstream.tunnel.is_none() {
        return Ok(connection);
    }
    let deadlines = connection.deadlines.clone();
    deadlines.arm(Awaited::Whole, cx.shard.sweeper.in_(timeout));
    cx.link.works_for(Some(Work::Cancel(deadlines.kill().clone())));
    if cx.link.gone.get() {
        deadlines.kill().end();
    }
    let reached = reach(cx, ix, upstream, connection).await;
    cx.link.works_for(None);
    deadlines.disarm(Awaited::Whole);
    reached
}

/// Runs a connect for as long as its client waits; of all operations a connect alone may be dropped (law 10).
async fn unless_gone<T>(cx: &Exchange<'_>, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let (mut work, mut gone) = (pin!(work), pin!(cx.pipe.until(|| cx.link.gone.get().then_some(()))));
    poll_fn(|task| match work.as_mut().poll(task) {
        Poll::Pending if gone.as_mut().poll(task).is_ready() => {
            Poll::Ready(Err(io::Error::new(io::ErrorKind::Interrupted, "the client went away")))
        }
        polled => polled,
    })
    .await
}

type Connecting<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + 'a>>;

/// The first of the addresses that can be reached, each with a head start on the next.
async fn connect_any<'a, T, F>(addresses: &[SocketAddr], connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>> + 'a,
{
    if let [only] = addresses {
        return connect(*only).await;
    }
    let mut waiting = addresses.iter();
    let mut running: Vec<Connecting<'a, T>> = Vec::new();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the upstream's host name does not resolve");
    loop {
        match waiting.next() {
            Some(address) => running.push(Box::pin(connect(*address))),
            None if running.is_empty() => return Err(last),
            None => {}
        }
        let more = waiting.len() > 0;
        let mut head_start =
            pin!(async { if more { runtime::sleep(HEAD_START).await } else { std::future::pending().await } });
        let ended = poll_fn(|task| match poll_each(&mut running, task) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => head_start.as_mut().poll(task).map(|()| None),
        });
        match ended.await {
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(error)) => last = error,
            None => {}
        }
    }
}

fn poll_each<T>(running: &mut Vec<Connecting<'_, T>>, task: &mut Context<'_>) -> Poll<io::Result<T>> {
    for place in 0..running.len() {
        if let Poll::Ready(ended) = running[place].as_mut().poll(task) {
            drop(running.swap_remove(place));
            return Poll::Ready(ended);
        }
    }
    Poll::Pending
}

/// Makes a connection one that speaks with the upstream: the tunnel, where a proxy stands in between, then TLS.
async fn reach(
    cx: &Exchange<'_>,
    ix: UpstreamIx,
    upstream: &Upstream,
    mut connection: UpstreamConnection,
) -> io::Result<UpstreamConnection> {
    let deadlines = connection.deadlines.clone();
    if let Some(tunnel) = &upstream.tunnel {
        let late = || format!("the proxy {} did not answer in time", tunnel.proxy);
        let opened = tunnel::open(tunnel, &mut connection.reader, &mut connection.writer).await;
        opened.map_err(|error| in_time(&deadlines, late, error))?;
    }
    if upstream.tls_roots.is_none() {
        return Ok(connection);
    }
    let client = cx.serving.tls(ix).ok_or_else(|| io::Error::other("the upstream's host is no name TLS can check"))?;
    let UpstreamConnection { origin, reader, writer, wear, .. } = connection;
    let handshaking = tls::connect((reader, writer), client.config.clone(), client.name.clone())?;
    let late = || "the TLS handshake timed out".to_owned();
    let secured = handshaking.finish().await.map_err(|error| through(upstream, in_time(&deadlines, late, error)))?;
    let gauges = &cx.shard.gauges.connections_up;
    if secured.handshake.resumed { &gauges.handshakes_resumed } else { &gauges.handshakes_full }.add(1);
    Ok(UpstreamConnection { origin, reader: secured.reader, writer: secured.writer, deadlines, wear })
}

/// An error that came of a deadline says so.
fn in_time(deadlines: &Deadlines, late: impl Fn() -> String, error: io::Error) -> io::Error {
    if deadlines.passed().is_some() { io::Error::new(io::ErrorKind::TimedOut, late()) } else { error }
}

/// An error on a way that leads through a proxy names it.
fn through(upstream: &Upstream, error: io::Error) -> io::Error {
    match &upstream.tunnel {
        Some(tunnel) => io::Error::new(error.kind(), format!("through the proxy {}: {error}", tunnel.proxy)),
        None => error,
    }
}
