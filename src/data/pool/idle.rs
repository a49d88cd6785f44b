//! Upstream connections between two requests: per upstream, last in first out, as long as `KeepAlive` allows.

use crate::{
    data::shard::{deadlines::Deadlines, serving::Serving},
    kernel::{
        ids::Mixing,
        keep_alive::{Retired, Wear},
        names::NameId,
        snapshot::Upstream,
        time::MonoUs,
        tunnel::Tunnel,
    },
    link::connections::ConnectionGauges,
    sys::socket::{Reader, Writer},
};
use rustls::RootCertStore;
use std::{collections::HashMap, net::SocketAddr, rc::Rc, sync::Arc};

/// Where a connection leads, whom it trusts and through whom. A reload that changes any of that makes it another origin.
#[derive(Clone)]
pub struct Origin {
    name: NameId,
    authority: Rc<str>,
    roots: Option<Arc<RootCertStore>>,
    tunnel: Option<Arc<Tunnel>>,
    peer: SocketAddr,
}

impl Origin {
    /// The origin of an upstream, reached at one of its addresses.
    pub fn of(upstream: &Upstream, peer: SocketAddr) -> Self {
        Self {
            name: upstream.name_id,
            authority: (&*upstream.authority).into(),
            roots: upstream.tls_roots.clone(),
            tunnel: upstream.tunnel.clone(),
            peer,
        }
    }

    /// Would a connection that is made to the upstream now be like this one? Trusted roots of the same content are the same
    /// object, whatever files they were read from.
    fn leads_to(&self, upstream: &Upstream) -> bool {
        self.name == upstream.name_id
            && *self.authority == *upstream.authority
            && (upstream.addresses.contains(&self.peer) || upstream.old_addresses.contains(&self.peer))
            && match (&self.roots, &upstream.tls_roots) {
                (Some(own), Some(new)) => Arc::ptr_eq(own, new),
                (None, None) => true,
                _ => false,
            }
            && match (&self.tunnel, &upstream.tunnel) {
                (Some(own), Some(new)) => Arc::ptr_eq(own, new) || own == new,
                (None, None) => true,
                _ => false,
            }
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
    /// Where it leads.
    pub origin: Origin,
    /// What it has behind it.
    pub wear: Wear,
}

impl UpstreamConnection {
    /// Why it is not used again; none if it may be. The socket itself is looked at last, as that takes a system call.
    fn retired(&self, upstream: Option<&Upstream>, now: MonoUs) -> Option<Retired> {
        let Some(upstream) = upstream.filter(|upstream| self.origin.leads_to(upstream)) else {
            return Some(Retired::Moved);
        };
        let worn = self.wear.retired(&upstream.keep_alive, now);
        worn.or_else(|| (!self.deadlines.kill().is_quiet()).then_some(Retired::Closed))
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
    pub fn take(&mut self, upstream: &Upstream, now: MonoUs, gauges: &ConnectionGauges) -> Option<UpstreamConnection> {
        let list = self.by_upstream.get_mut(&upstream.name_id)?;
        while let Some(connection) = list.pop() {
            match connection.retired(Some(upstream), now) {
                None => return Some(connection),
                Some(why) => gauges.retire(why),
            }
        }
        None
    }

    /// Takes a connection back, unless it holds bytes already that belong to no answer, or there are enough. What is too old
    /// goes when it would be used, or with the next look at all of them.
    pub fn put(
        &mut self,
        mut connection: UpstreamConnection,
        upstream: &Upstream,
        now: MonoUs,
        gauges: &ConnectionGauges,
    ) {
        if !connection.reader.is_drained() {
            return gauges.retire(Retired::Closed);
        }
        connection.wear.used(now);
        let list = self.by_upstream.entry(connection.origin.name).or_default();
        if list.len() >= upstream.keep_alive.connections {
            return gauges.retire(Retired::Full);
        }
        list.push(connection);
    }

    /// Closes what is too old, was closed by the upstream, or leads where nobody goes any more. Returns what is left.
    pub fn prune(&mut self, now: MonoUs, serving: &Serving, gauges: &ConnectionGauges) -> usize {
        let mut left = 0;
        self.by_upstream.retain(|name, list| {
            let upstream = serving.upstreams.iter().find(|upstream| upstream.name_id == *name);
            list.retain(|connection| {
                let why = connection.retired(upstream, now);
                why.into_iter().for_each(|why| gauges.retire(why));
                why.is_none()
            });
            left += list.len();
            !list.is_empty()
        });
        left
    }
}
