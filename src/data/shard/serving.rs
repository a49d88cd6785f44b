//! A snapshot as one shard serves it: with what the shard makes of it for itself, so that shards share nothing that changes.

use crate::{
    data::{
        gate::{
            prices::{PriceMemo, RatesMemo},
            queue::{Slots, part},
        },
        pool::watch::{TargetWatch, UpstreamWatch},
    },
    kernel::{
        ids::UpstreamIx,
        models::{Target, TargetIx},
        overload::fair::Room,
        pricing::Rates,
        snapshot::{Snapshot, Upstream},
    },
    link::gauges::ShardGauges,
};
use rustls::{ClientConfig, pki_types::ServerName};
use std::{collections::HashMap, rc::Rc, sync::Arc};

/// A snapshot, and this shard's TLS clients for it (each with its own session store).
pub struct Serving {
    snapshot: Arc<Snapshot>,
    tls: Vec<Option<TlsClient>>,
    watches: Vec<Rc<UpstreamWatch>>,
    waits: Vec<Rc<TargetWatch>>,
    slots: Vec<Option<Rc<Slots>>>,
    /// Prices over several targets, as far as they have been asked for.
    pub price_memo: PriceMemo,
    rates_memo: RatesMemo,
}

/// Which shard serves.
pub struct Place<'a> {
    /// Its number.
    pub shard: usize,
    /// How many there are.
    pub shards: usize,
    /// What it shows of itself.
    pub gauges: &'a Arc<ShardGauges>,
}

/// How to speak TLS with one upstream.
#[derive(Clone)]
pub struct TlsClient {
    /// Roots, versions, resumption.
    pub config: Arc<ClientConfig>,
    /// The name its certificate must carry.
    pub name: ServerName<'static>,
}

impl Serving {
    /// Prepares a snapshot. TLS sessions and the health of upstreams that stay as they were are kept.
    pub fn new(snapshot: Arc<Snapshot>, before: Option<&Self>, place: &Place<'_>) -> Self {
        let tls = snapshot.upstreams.iter().map(|upstream| client_for(upstream, before)).collect();
        let watches = snapshot.upstreams.iter().map(|upstream| watch_for(upstream, before)).collect();
        let waiting_max = snapshot.limits.queue_max;
        let slots = snapshot.upstreams.iter().map(|u| slots_for(u, before, place, waiting_max)).collect();
        let known: HashMap<u64, &Rc<TargetWatch>> =
            before.iter().flat_map(|b| b.models.all_targets().map(|t| t.identity).zip(&b.waits)).collect();
        let wait_for = |target: &Target| known.get(&target.identity).map(|wait| Rc::clone(wait)).unwrap_or_default();
        let waits = snapshot.models.all_targets().map(wait_for).collect();
        Self {
            snapshot,
            tls,
            watches,
            waits,
            slots,
            price_memo: PriceMemo::default(),
            rates_memo: RatesMemo::default(),
        }
    }

    /// The rates of a model at an upstream, as the price book finds them.
    pub fn rates(&self, upstream: &str, upstream_model: &str, requested: &str) -> Rates {
        self.rates_memo.rates(&self.prices, upstream, upstream_model, requested)
    }

    /// The health of an upstream.
    pub fn watch(&self, upstream: UpstreamIx) -> Option<&Rc<UpstreamWatch>> {
        self.watches.get(usize::from(upstream.0))
    }

    /// The health of all upstreams, in their order.
    pub fn watches(&self) -> impl Iterator<Item = (&Upstream, &Rc<UpstreamWatch>)> {
        self.upstreams.iter().zip(&self.watches)
    }

    /// Until when a target has asked to be left alone.
    pub fn wait(&self, target: TargetIx) -> Option<&TargetWatch> {
        self.waits.get(target.0 as usize).map(AsRef::as_ref)
    }

    /// The places at an upstream, if it takes so many requests at once.
    pub fn slots(&self, upstream: UpstreamIx) -> Option<&Rc<Slots>> {
        self.slots.get(usize::from(upstream.0)).and_then(Option::as_ref)
    }

    /// The places at all upstreams that have a number of them.
    pub fn slots_in_use(&self) -> impl Iterator<Item = &Rc<Slots>> {
        self.slots.iter().flatten()
    }

    /// The TLS client of an upstream; `None` for plain HTTP.
    pub fn tls(&self, upstream: UpstreamIx) -> Option<&TlsClient> {
        self.tls.get(usize::from(upstream.0)).and_then(Option::as_ref)
    }
}

impl std::ops::Deref for Serving {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// An upstream that has moved is a new one to its health.
fn watch_for(upstream: &Upstream, before: Option<&Serving>) -> Rc<UpstreamWatch> {
    let same = before.and_then(|before| before.watches().find(|(old, _)| old.name_id == upstream.name_id));
    match same {
        Some((old, watch)) if old.authority == upstream.authority && old.base_path == upstream.base_path => {
            watch.clone()
        }
        _ => Rc::default(),
    }
}

/// What runs there goes on counting over a reload.
fn slots_for(
    upstream: &Upstream,
    before: Option<&Serving>,
    place: &Place<'_>,
    waiting_max: usize,
) -> Option<Rc<Slots>> {
    let room = Room { slots: part(upstream.streams_max?, place.shard, place.shards), waiting_max };
    let same = before.and_then(|before| {
        let at = before.upstreams.iter().position(|old| old.name_id == upstream.name_id)?;
        before.slots.get(at)?.clone()
    });
    match same {
        Some(slots) => {
            slots.resize(room);
            Some(slots)
        }
        None => Some(Slots::new(room, place.gauges.clone())),
    }
}

fn client_for(upstream: &Upstream, before: Option<&Serving>) -> Option<TlsClient> {
    let roots = upstream.tls_roots.as_ref()?;
    if let Some(before) = before {
        let same = before.upstreams.iter().position(|old| {
            old.name_id == upstream.name_id
                && old.host == upstream.host
                && old.tls_roots.as_ref().is_some_and(|r| Arc::ptr_eq(r, roots))
        });
        if let Some(client) = same.and_then(|place| before.tls.get(place)).and_then(Option::as_ref) {
            return Some(client.clone());
        }
    }
    let name = ServerName::try_from(upstream.host.to_string()).ok()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Some(TlsClient { config: Arc::new(config), name })
}
