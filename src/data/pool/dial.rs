//! Making a connection to an upstream: its addresses, each a little after the one before (happy eyeballs, RFC 8305), then TLS.
//! A dial ends when its client leaves.

use super::idle::{Origin, UpstreamConnection};
use crate::{
    data::{
        edge::incoming::{Exchange, Work},
        shard::deadlines::Awaited,
    },
    kernel::{ids::UpstreamIx, snapshot::Upstream},
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
    let connecting = connect_any(&upstream.addresses, |address| Socket::connect(address, timeout));
    let socket = unless_gone(cx, connecting).await?;
    cx.shard.gauges.upstream_dials.add(1);
    secure(cx, ix, upstream, socket, timeout).await
}

/// Runs a connect for as long as its client waits; of all operations a connect alone may be dropped (law 10).
async fn unless_gone(cx: &Exchange<'_>, work: impl Future<Output = io::Result<Socket>>) -> io::Result<Socket> {
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

async fn secure(
    cx: &Exchange<'_>,
    ix: UpstreamIx,
    upstream: &Upstream,
    socket: Socket,
    timeout: Duration,
) -> io::Result<UpstreamConnection> {
    let (origin, sweeper) = (Origin::of(upstream), &cx.shard.sweeper);
    if upstream.tls_roots.is_none() {
        let (reader, writer, kill) = socket.split();
        return Ok(UpstreamConnection::new(origin, reader, writer, sweeper.watch(kill)));
    }
    let client = cx.serving.tls(ix).ok_or_else(|| io::Error::other("the upstream's host is no name TLS can check"))?;
    let handshaking = tls::connect(socket, client.config.clone(), client.name.clone())?;
    let deadlines = sweeper.watch(handshaking.kill.clone());
    deadlines.arm(Awaited::Whole, sweeper.in_(timeout));
    cx.link.works_for(Some(Work::Cancel(deadlines.kill().clone())));
    if cx.link.gone.get() {
        deadlines.kill().end();
    }
    let secured = handshaking.finish().await;
    cx.link.works_for(None);
    let secured = secured.map_err(|error| match deadlines.passed() {
        Some(_) => io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake timed out"),
        None => error,
    })?;
    deadlines.disarm(Awaited::Whole);
    Ok(UpstreamConnection::new(origin, secured.reader, secured.writer, deadlines))
}
