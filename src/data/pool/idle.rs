//! Upstream connections between two requests: per origin, last in first out, with caps on number and age.

use crate::{
    data::shard::{deadlines::Deadlines, serving::Serving},
    kernel::{
        ids::Mixing,
        limits::{IDLE_UPSTREAM_CONNECTIONS_MAX, IDLE_UPSTREAM_TIMEOUT},
        names::NameId,
        snapshot::Upstream,
        time::MonoUs,
    },
    sys::socket::{Reader, Writer},
};
use std::{collections::HashMap, rc::Rc};

/// Where a connection leads. A reload that moves an upstream makes it another origin.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    name: NameId,
    authority: Rc<str>,
    tls: bool,
}

impl Origin {
    /// The origin of an upstream.
    pub fn of(upstream: &Upstream) -> Self {
        Self { name: upstream.name_id, authority: (&*upstream.authority).into(), tls: upstream.tls_roots.is_some() }
    }

    fn leads_to(&self, upstream: &Upstream) -> bool {
        self.name == upstream.name_id
            && *self.authority == *upstream.authority
            && self.tls == upstream.tls_roots.is_some()
    }
}

/// A connection to an upstream.
pub struct UpstreamConnection {
    /// Reading half.
    pub reader: Reader,
    /// Writing half.
    pub writer: Writer,
    /// Deadlines and switch.
    pub deadlines: Rc<Deadlines>,
    origin: Origin,
    idle_since: MonoUs,
}

impl UpstreamConnection {
    /// A new connection.
    pub fn new(origin: Origin, reader: Reader, writer: Writer, deadlines: Rc<Deadlines>) -> Self {
        Self { origin, reader, writer, deadlines, idle_since: MonoUs(0) }
    }
}

/// The idle connections of a shard.
#[derive(Default)]
pub struct IdleConnections {
    by_upstream: HashMap<NameId, Vec<UpstreamConnection>, Mixing>,
}

impl IdleConnections {
    /// The connection used last, if it is still good. It is looked at, however short it lay: the upstream may have closed it,
    /// or said something nobody asked for, which would become another client's answer.
    pub fn take(&mut self, upstream: &Upstream, now: MonoUs) -> Option<UpstreamConnection> {
        let list = self.by_upstream.get_mut(&upstream.name_id)?;
        while let Some(connection) = list.pop() {
            let lay_us = now.since(connection.idle_since);
            let good = connection.deadlines.kill().is_quiet();
            if good && lay_us < IDLE_UPSTREAM_TIMEOUT.as_micros() as u64 && connection.origin.leads_to(upstream) {
                return Some(connection);
            }
        }
        None
    }

    /// Takes a connection back, unless it holds bytes already that belong to no answer.
    pub fn put(&mut self, mut connection: UpstreamConnection, now: MonoUs) {
        if !connection.reader.is_drained() {
            return;
        }
        connection.idle_since = now;
        let list = self.by_upstream.entry(connection.origin.name).or_default();
        if list.len() < IDLE_UPSTREAM_CONNECTIONS_MAX {
            list.push(connection);
        }
    }

    /// Closes what is too old, was closed by the upstream, or leads where nobody goes any more. Returns what is left.
    pub fn prune(&mut self, now: MonoUs, serving: &Serving) -> usize {
        let mut left = 0;
        self.by_upstream.retain(|_, list| {
            list.retain(|c| {
                now.since(c.idle_since) < IDLE_UPSTREAM_TIMEOUT.as_micros() as u64
                    && c.deadlines.kill().is_quiet()
                    && serving.upstreams.iter().any(|upstream| c.origin.leads_to(upstream))
            });
            left += list.len();
            !list.is_empty()
        });
        left
    }
}
